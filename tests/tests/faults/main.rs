//! Bad days: the server, the network or another process fails while locks are held and waited for.
//!
//! Every test names its hazard (`docs/safety.md`) and has a server of its own.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod common;
mod network;
mod refusals;
mod server;
mod silence;
