//! The countdown latch, against real servers, proxies and processes.

mod calls;
mod cancelled;
mod common;
mod counted;
mod faults;
mod processes;
mod refused;
mod replays;
mod resets;
