//! What the scripts answer, against their headers and field by field.

mod contract;
mod fields;
