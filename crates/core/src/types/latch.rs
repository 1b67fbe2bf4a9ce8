//! Options of a countdown latch.

use std::time::Duration;

use crate::types::options::{KEEP, OnMismatch};

/// What a call finds if nobody has made the latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnMissing {
    /// It makes it, with this count.
    Create(u32),
    /// It says so: `NoSuchLatch`.
    Fail,
    /// A wait waits until it is made, and then for zero; the others say `NoSuchLatch`.
    Wait,
}

/// Options of a latch, before they are checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LatchOptions {
    /// What happens if there is none.
    pub on_missing: OnMissing,
    /// How long a finished latch is remembered.
    pub keep: Duration,
    /// What happens if it was made with another count.
    pub on_mismatch: OnMismatch,
}

impl LatchOptions {
    /// Remembered for a day.
    pub const fn new(on_missing: OnMissing) -> Self {
        Self {
            on_missing,
            keep: KEEP,
            on_mismatch: OnMismatch::Error,
        }
    }
}
