//! The Lua scripts against a real server: random requests compared with a model in plain Rust, and examples.
//!
//! `LATCHWORK_SCRIPT_CASES` is the number of random requests per world. Seeds that failed once are kept in
//! `scripts/proptest-regressions.txt` and run first.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::too_many_lines, reason = "a step of a model is a table")]

mod attempt;
mod bench;
mod borders;
mod cells;
mod changes;
mod clock;
mod compare;
mod counted;
mod crowds;
mod dump;
mod faults;
mod guarded;
mod histories;
mod invariants;
mod kept;
mod kin;
mod latch;
mod latch_model;
mod latch_random;
mod latch_steps;
mod lock;
mod model;
mod mutation;
mod order;
mod paced;
mod queue;
mod quick;
mod random;
mod recorded;
mod replies;
mod requests;
mod secured;
mod shortcuts;
mod sizes;
mod steal;
mod steps;
mod thrift;
mod ticking;
mod upgrades;
mod waiting;
mod world;
