//! Readers share, writers exclude, and holds change between the two as documented.
//!
//! What all primitives have in common is in `conformance` and `cancellation`.
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
