//! The rate limiter.
//!
//! - `limiter`: the handle;
//! - `acquire`: the future of one call.

pub(crate) mod acquire;
pub(crate) mod limiter;
