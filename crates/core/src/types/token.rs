//! Fencing tokens.

use std::fmt;

/// A number that only grows, issued with every exclusive grant.
///
/// Give it to the resource that the lock guards, and let the resource refuse a token that is lower than the
/// highest it has seen: then a holder that was paused past its lease cannot overwrite the work of the next one.
/// [`Fence`](crate::Fence) does this for Redis; for SQL it is `UPDATE … WHERE token <= $1`.
///
/// A token is the server's time in microseconds, or one more than the last token where the clock is behind. It always
/// fits an `i64`. Below 2^53, which the server's time reaches in the year 2255, it is also exact as a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// What the scripts say; they say zero of shared holds.
    pub(crate) fn from_reply(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// A token from its number, as read back from where it was stored.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
