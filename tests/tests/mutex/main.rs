//! The mutex: what only it does, and what its guards can do.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod guards;
mod handing_on;
mod locking;
