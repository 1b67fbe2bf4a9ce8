//! The rate limiter.
//!
//! - `limiter`: the handle;
//! - `acquire`: the future of one call;
//! - `ask`: what both send.

pub(crate) mod acquire;
mod ask;
pub(crate) mod limiter;
