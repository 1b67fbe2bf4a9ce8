//! What only the shells of primitives use, and our own tests and tools.

pub(crate) mod shell;

pub use crate::wire::record;
pub use crate::wire::script::Joined;

/// All scripts as they are sent to servers.
pub fn scripts() -> Vec<Joined> {
    crate::wire::script::all()
}
