//! The rate limiter: its scripts against models in plain Rust, and its methods, one by one, against real servers.
//!
//! `LATCHWORK_SCRIPT_CASES` is the number of random requests per rate.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "limiter/bench.rs"]
mod bench;
#[path = "limiter/calls.rs"]
mod calls;
#[path = "limiter/clock.rs"]
mod clock;
#[path = "limiter/drops.rs"]
mod drops;
#[path = "limiter/errors.rs"]
mod errors;
#[path = "limiter/model.rs"]
mod model;
#[path = "limiter/network.rs"]
mod network;
#[path = "limiter/random.rs"]
mod random;
#[path = "limiter/rates.rs"]
mod rates;
#[path = "limiter/record.rs"]
mod record;
#[path = "limiter/windows.rs"]
mod windows;
