//! The countdown latch, against real servers, proxies and processes.

#[path = "latch/bad_days.rs"]
mod bad_days;
#[path = "latch/calls.rs"]
mod calls;
#[path = "latch/cancelled.rs"]
mod cancelled;
#[path = "latch/common.rs"]
mod common;
#[path = "latch/counted.rs"]
mod counted;
#[path = "latch/processes.rs"]
mod processes;
#[path = "latch/refused.rs"]
mod refused;
#[path = "latch/replays.rs"]
mod replays;
#[path = "latch/resets.rs"]
mod resets;
