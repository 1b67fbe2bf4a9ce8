//! Requests, messages and the server's commands are counted, never timed.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod commands;
mod requests;
