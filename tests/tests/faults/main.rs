//! Locks survive failures of the network and the server as `docs/safety.md` promises.
//!
//! Every test has a server of its own.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod common;
mod failing_fast;
mod followed;
mod idle;
mod network;
mod outage;
mod refusals;
mod server;
mod silence;
