//! The answers of the scripts, against their headers, field by field, and spoiled.

mod contract;
mod fields;
mod mutations;
