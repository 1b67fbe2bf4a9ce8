//! What the guard types of primitives have in common.

use std::fmt;

use super::guard::Guard;

/// The guard type of a primitive; [`guard_type`](crate::guard_type) implements it.
pub trait Shell: fmt::Debug + Sized + Send + Sync + Unpin + 'static {
    /// Puts the hold into its shell.
    fn from_guard(guard: Guard) -> Self;
    /// The hold.
    fn guard(&self) -> &Guard;
    /// Takes the hold out again.
    fn into_guard(self) -> Guard;
}
