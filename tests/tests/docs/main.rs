//! What the documents say is true: hazards, rules, access rights, and the tests and files that they name.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod safety;
