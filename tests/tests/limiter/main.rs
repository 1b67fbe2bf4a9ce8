//! The rate limiter: its scripts against models in plain Rust, and its methods, one by one, against real servers.
//!
//! `LATCHWORK_SCRIPT_CASES` is the number of random requests per rate.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bench;
mod calls;
mod clock;
mod drops;
mod errors;
mod model;
mod network;
mod random;
mod rates;
mod record;
mod windows;
