//! The mutex locks, hands on, and gives its guards everything they need.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod guards;
mod handing_on;
mod locking;
mod own_holds;
mod stealing;
