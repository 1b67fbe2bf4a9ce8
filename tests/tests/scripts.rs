//! The Lua scripts against a real server: random requests compared with a model in plain Rust, and examples.
//!
//! `LATCHWORK_SCRIPT_CASES` is the number of random requests per world. Seeds that failed once are kept in
//! `scripts/proptest-regressions.txt` and run first.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "scripts/attempt.rs"]
mod attempt;
#[path = "scripts/bench.rs"]
mod bench;
#[path = "scripts/changes.rs"]
mod changes;
#[path = "scripts/clock.rs"]
mod clock;
#[path = "scripts/compare.rs"]
mod compare;
#[path = "scripts/counted.rs"]
mod counted;
#[path = "scripts/crowds.rs"]
mod crowds;
#[path = "scripts/dump.rs"]
mod dump;
#[path = "scripts/faults.rs"]
mod faults;
#[path = "scripts/invariants.rs"]
mod invariants;
#[path = "scripts/kin.rs"]
mod kin;
#[path = "scripts/latch.rs"]
mod latch;
#[path = "scripts/latch_model.rs"]
mod latch_model;
#[path = "scripts/latch_random.rs"]
mod latch_random;
#[path = "scripts/lock.rs"]
mod lock;
#[path = "scripts/model.rs"]
mod model;
#[path = "scripts/paced.rs"]
mod paced;
#[path = "scripts/queue.rs"]
mod queue;
#[path = "scripts/quick.rs"]
mod quick;
#[path = "scripts/random.rs"]
mod random;
#[path = "scripts/replies.rs"]
mod replies;
#[path = "scripts/requests.rs"]
mod requests;
#[path = "scripts/steps.rs"]
mod steps;
#[path = "scripts/ticking.rs"]
mod ticking;
#[path = "scripts/upgrades.rs"]
mod upgrades;
#[path = "scripts/waiting.rs"]
mod waiting;
#[path = "scripts/world.rs"]
mod world;
