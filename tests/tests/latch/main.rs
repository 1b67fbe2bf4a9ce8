//! The countdown latch keeps its contract under failures, cancellation and repeated requests.

mod calls;
mod cancelled;
mod common;
mod counted;
mod deployments;
mod faults;
mod processes;
mod refused;
mod replays;
mod resets;
mod steps;
