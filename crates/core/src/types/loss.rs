//! Why a hold ended under its guard.

use std::fmt;

/// Why a hold ended under its guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Its lease ran out: no renewal came through in time, or the process was paused.
    Expired,
    /// It was held for the maximum hold, which the handle's builder sets (`max_hold`).
    MaxHold,
    /// Somebody else has had the lock since.
    Taken,
    /// Somebody called `force_unlock`.
    Forced,
    /// The server's clock was set forward.
    ClockStep,
    /// The server has forgotten it: `FLUSHALL`, eviction, a failover, a restart without persistence.
    Vanished,
    /// The client was closed.
    Closed,
}

impl Loss {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Expired => {
                "the hold was lost: its lease ran out before it was renewed; stop what it guards"
            }
            Self::MaxHold => {
                "the hold was lost: it reached the maximum hold (`max_hold`) and was not renewed; stop what it guards"
            }
            Self::Taken => "the hold was lost: somebody else has had the lock since; stop what it guards",
            Self::Forced => "the hold was lost: it was forced open; stop what it guards",
            Self::ClockStep => "the hold was lost: the server's clock was set forward; stop what it guards",
            Self::Vanished => {
                "the hold was lost: the server has forgotten it (flushed, evicted, failed over or restarted); stop what it guards"
            }
            Self::Closed => "the hold was lost: the client was closed; stop what it guards",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::MaxHold => "maximum hold",
            Self::Taken => "taken",
            Self::Forced => "forced",
            Self::ClockStep => "clock step",
            Self::Vanished => "vanished",
            Self::Closed => "closed",
        })
    }
}
