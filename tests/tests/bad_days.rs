//! Bad days: the server, the network or another process fails while locks are held and waited for.
//!
//! Every test names its hazard (`docs/safety.md`) and has a server of its own.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

#[path = "bad_days/common.rs"]
mod common;
#[path = "bad_days/network.rs"]
mod network;
#[path = "bad_days/refusals.rs"]
mod refusals;
#[path = "bad_days/server.rs"]
mod server;
#[path = "bad_days/silence.rs"]
mod silence;
