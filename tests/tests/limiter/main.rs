//! The rate limiter admits what its rate allows, in scripts and in calls.
//!
//! The scripts are compared with models in plain Rust. `LATCHWORK_SCRIPT_CASES` is the number of
//! random requests per rate.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bench;
mod calls;
mod clock;
mod deployments;
mod drops;
mod errors;
mod lives;
mod model;
mod network;
mod random;
mod rates;
mod record;
mod windows;
