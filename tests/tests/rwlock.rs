//! The read-write lock: what is special to it. What all primitives do alike (cancellation, loss, bad input) is tested for
//! all of them together.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

#[path = "rwlock/common.rs"]
mod common;
#[path = "rwlock/costs.rs"]
mod costs;
#[path = "rwlock/downgrade.rs"]
mod downgrade;
#[path = "rwlock/leases.rs"]
mod leases;
#[path = "rwlock/policies.rs"]
mod policies;
#[path = "rwlock/sharing.rs"]
mod sharing;
#[path = "rwlock/upgrade.rs"]
mod upgrade;
#[path = "rwlock/upgrade_faults.rs"]
mod upgrade_faults;
