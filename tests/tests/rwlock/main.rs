//! The read-write lock: what is special to it. What all primitives do alike (cancellation, loss, bad input) is tested for
//! all of them together.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

mod common;
mod conversions;
mod costs;
mod downgrade;
mod leases;
mod policies;
mod sharing;
mod upgrade;
mod upgrade_faults;
