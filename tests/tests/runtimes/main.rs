//! Which runtime drives what: guards dropped where there is none, clients used from a second one, runtimes that end
//! or are blocked, and what is left when a client ends (H15 to H18, H23).
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod blocked;
mod closing;
mod dropped;
mod leaks;
mod second;
mod support;
