//! The answers of the scripts, against their headers and field by field.

mod contract;
mod fields;
