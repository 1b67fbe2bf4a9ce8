//! What only the shells of primitives use.

pub(crate) mod shell;
