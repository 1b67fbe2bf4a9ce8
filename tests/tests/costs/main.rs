//! What the client sends and what the server runs, counted at the socket and in the server.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod commands;
mod requests;
