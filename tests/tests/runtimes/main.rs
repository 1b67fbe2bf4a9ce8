//! Clients and guards work from any runtime or none, and leave nothing when they end.
//!
//! H15 to H18 and H23.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod blocked;
mod closing;
mod draining;
mod dropped;
mod leaks;
mod losses;
mod paused;
mod second;
mod support;
