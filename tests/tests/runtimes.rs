//! Which runtime drives what: guards dropped where there is none, clients used from a second one, runtimes that end
//! or are blocked, and what is left when a client ends (H15 to H18, H23, T18).
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

#[path = "runtimes/blocked.rs"]
mod blocked;
#[path = "runtimes/closing.rs"]
mod closing;
#[path = "runtimes/dropped.rs"]
mod dropped;
#[path = "runtimes/leaks.rs"]
mod leaks;
#[path = "runtimes/second.rs"]
mod second;
#[path = "runtimes/support.rs"]
mod support;
