//! Options of a client and of a primitive, with their defaults and limits.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::types::durability::Durability;
use crate::types::error::{Error, Result};
use crate::types::inbox::Inbox;

/// The shortest lease.
pub const MIN_LEASE: Duration = Duration::from_millis(10);
/// The longest lease.
pub const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// What `max_waiters` may be.
pub(crate) const MAX_WAITERS: RangeInclusive<u32> = 1..=1_000_000;
pub(crate) const TOO_MANY_WAITERS: &str = "the maximum of waiters must be between 1 and 1 000 000";

/// Whether the keeper renews a hold by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Renew {
    /// At a third of the lease, until the guard is gone.
    #[default]
    Watchdog,
    /// Never: the hold ends with its lease unless `extend` is called. A hold that was handed over is still
    /// confirmed once, so that it has its full lease.
    Manual,
}

/// What a handle does if the server has another number than it: of permits, a rate, or the count of a latch.
///
/// The numbers of a program change with its releases, and for some time both releases run. The server has one number at a
/// time: that of the handle that came first, or one that was set there.
///
/// | | if the numbers differ |
/// |---|---|
/// | [`Error`](Self::Error) | the call returns [`Mismatch`](crate::ErrorKind::Mismatch), unless the number was set at the server |
/// | [`Adopt`](Self::Adopt) | the server's number counts |
/// | [`Set`](Self::Set) | the number with the higher version counts, and is set at the server |
///
/// A number is *set at the server* by `resize`, `set_rate` or `reset`, or by a handle with [`Set`](Self::Set). All handles
/// accept it. So a fleet can go from `Error` to `Set` without a call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnMismatch {
    /// Returns [`Mismatch`](crate::ErrorKind::Mismatch), and changes nothing.
    #[default]
    Error,
    /// Uses the server's number for as long as the server has one.
    Adopt,
    /// Sets the handle's number if its version is higher than that of the server's number, which has none if no handle with a
    /// version has set it. If the version is lower, uses the server's number. Equal versions with different numbers are a
    /// [`Mismatch`](crate::ErrorKind::Mismatch), unless `resize` or `set_rate` have changed the number since: what was set by
    /// hand counts until a higher version comes.
    ///
    /// A latch has no such mode: `build` returns [`Invalid`](crate::ErrorKind::Invalid). What was counted was counted towards
    /// the number that it has; call `reset` for a new one.
    Set {
        /// The version of the number in the code. Raise it by one whenever you change the number.
        version: u16,
    },
}

/// How much earlier than the server we believe a lease to end: rates of clocks differ, and milliseconds are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Drift {
    pub(crate) parts_per_million: u32,
}

impl Drift {
    pub(crate) fn margin(self, lease: Duration) -> Duration {
        lease.saturating_mul(self.parts_per_million) / 1_000_000 + Duration::from_millis(2)
    }
}

/// Everything that a `ClientBuilder` sets, checked.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) prefix: Arc<str>,
    /// The number of the server's database, which is that of the URL.
    pub(crate) database: i64,
    pub(crate) lease: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) unavailable_after: Duration,
    pub(crate) fail_fast_after: Option<Duration>,
    /// `None`: what fits the lease.
    pub(crate) claim_window: Option<Duration>,
    pub(crate) retention: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) drift: Drift,
    pub(crate) reconnect_backoff: (Duration, Duration),
    pub(crate) max_waiters: u32,
    pub(crate) label: String,
    pub(crate) keeper_thread: bool,
    /// What handles ask for unless they say otherwise.
    pub(crate) durability: Durability,
    /// No acquire is sent to a server that may have lost holds, until they are over.
    pub(crate) start_delay: bool,
    /// In a cluster.
    pub(crate) inbox: Inbox,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "latchwork".into(),
            database: 0,
            lease: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(1),
            unavailable_after: Duration::from_secs(10),
            fail_fast_after: None,
            claim_window: None,
            retention: Duration::from_secs(5 * 60),
            heartbeat: Duration::from_secs(3),
            drift: Drift {
                parts_per_million: 10_000,
            },
            reconnect_backoff: (Duration::from_millis(20), Duration::from_secs(1)),
            max_waiters: 10_000,
            label: default_label(),
            keeper_thread: false,
            durability: Durability::Primary,
            start_delay: false,
            inbox: Inbox::Classic,
        }
    }
}

fn default_label() -> String {
    #[cfg(unix)]
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let host = std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown-host".into());
    format!("{host}:{}", std::process::id())
}

/// How long a number that was set at the server, or an unfinished latch, is remembered after its last use.
pub(crate) const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn check_keep(keep: Duration) -> Result<()> {
    let most = 366 * MAX_LEASE;
    between(
        "memory of a number that was set",
        keep,
        Duration::from_secs(1),
        most,
    )
}

pub(crate) fn check_lease(lease: Duration) -> Result<()> {
    between("lease", lease, MIN_LEASE, MAX_LEASE)
}

/// The most replicas that a grant can wait for.
const REPLICAS: u32 = 1000;

pub(crate) fn check_durability(durability: Durability) -> Result<()> {
    let within = match durability {
        Durability::Primary => return Ok(()),
        Durability::Replicas { n, .. } if n == 0 || n > REPLICAS => {
            return Err(Error::invalid(format!(
                "a grant can wait for 1 to {REPLICAS} replicas, not for {n}"
            )));
        }
        Durability::Replicas { within, .. } | Durability::Fsync { within } => within,
    };
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(60));
    between("time for a grant to be replicated or saved", within, least, most)
}

pub(crate) fn between(what: &str, value: Duration, least: Duration, most: Duration) -> Result<()> {
    if value < least || value > most {
        return Err(Error::invalid(format!(
            "the {what} is {value:?}: it must be between {least:?} and {most:?}"
        )));
    }
    Ok(())
}

/// The claim window that fits a lease: half of it, so that a hold that was handed over a moment ago survives a pause of
/// three seconds with the default lease. Between 1 s and 10 s, because a shorter one leaves too little for a pause, and a
/// longer one lets others wait too long for a process that is frozen.
fn usual_claim_window(lease: Duration) -> Duration {
    (lease / 2).clamp(Duration::from_secs(1), Duration::from_secs(10))
}

impl Options {
    /// How long a hand-off is kept for a waiter with this lease, before its connection and its lease are considered.
    pub(crate) fn claim_window(&self, lease: Duration) -> Duration {
        self.claim_window.unwrap_or_else(|| usual_claim_window(lease))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let second = Duration::from_secs(1);
        let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.prefix.is_empty()
            || self.prefix.len() > 64
            || !graphic(&self.prefix)
            || self.prefix.contains(['{', '}', '*', '?', '[', ']', '\\'])
        {
            return Err(Error::invalid(
                "the key prefix must be 1 to 64 printable ASCII characters without spaces, braces and glob characters",
            ));
        }
        if self.label.len() > 256 {
            return Err(Error::invalid("the label must have at most 256 bytes"));
        }
        check_lease(self.lease)?;
        check_durability(self.durability)?;
        between(
            "operation timeout",
            self.operation_timeout,
            MIN_LEASE,
            60 * second,
        )?;
        between(
            "time after which the server counts as unavailable",
            self.unavailable_after,
            MIN_LEASE,
            MAX_LEASE,
        )?;
        if let Some(time) = self.fail_fast_after {
            between(
                "time after which calls fail fast",
                time,
                Duration::ZERO,
                MAX_LEASE,
            )?;
        }
        if let Some(window) = self.claim_window {
            between("claim window", window, MIN_LEASE, 60 * second)?;
        }
        between("retention", self.retention, second, 7 * MAX_LEASE)?;
        between("heartbeat", self.heartbeat, MIN_LEASE, 60 * second)?;
        let (least, most) = self.reconnect_backoff;
        between("first reconnect pause", least, Duration::from_millis(1), most)?;
        between("longest reconnect pause", most, least, 60 * second)?;
        if self.drift.parts_per_million > 100_000 {
            return Err(Error::invalid(
                "the drift margin must be at most 100 000 parts per million (10 %)",
            ));
        }
        if !MAX_WAITERS.contains(&self.max_waiters) {
            return Err(Error::invalid(TOO_MANY_WAITERS));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drift_margin_is_a_share_of_the_lease_and_two_milliseconds() {
        let ms = Duration::from_millis;
        for (parts_per_million, lease, margin) in [
            (0, ms(10), ms(2)),
            (0, MAX_LEASE, ms(2)),
            (10_000, ms(10_000), ms(102)),
            (100_000, ms(10), ms(3)),
            (100_000, MAX_LEASE, MAX_LEASE / 10 + ms(2)),
        ] {
            let drift = Drift { parts_per_million };
            assert_eq!(drift.margin(lease), margin, "{parts_per_million} of {lease:?}");
        }
    }

    #[test]
    fn h62_absurd_options_are_refused() {
        assert!(Options::default().check().is_ok(), "the defaults");
        let bad: [fn(&mut Options); 14] = [
            |o| o.lease = Duration::ZERO,
            |o| o.lease = Duration::MAX,
            |o| o.operation_timeout = Duration::ZERO,
            |o| o.unavailable_after = Duration::ZERO,
            |o| o.fail_fast_after = Some(Duration::MAX),
            |o| o.claim_window = Some(Duration::ZERO),
            |o| o.retention = Duration::ZERO,
            |o| o.heartbeat = Duration::ZERO,
            |o| o.reconnect_backoff = (Duration::from_secs(2), Duration::from_secs(1)),
            |o| o.drift.parts_per_million = 1_000_000,
            |o| o.max_waiters = 0,
            |o| o.prefix = "a{b".into(),
            |o| o.label = "x".repeat(257),
            |o| {
                o.durability = Durability::Fsync {
                    within: Duration::ZERO,
                };
            },
        ];
        for (index, spoil) in bad.iter().enumerate() {
            let mut options = Options::default();
            spoil(&mut options);
            assert!(options.check().is_err(), "number {index}");
        }
    }

    #[test]
    fn durabilities_that_cannot_work_are_refused() {
        let (short, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let replicas = |n, within| Durability::Replicas { n, within };
        let fsync = |within| Durability::Fsync { within };
        for fine in [
            Durability::Primary,
            replicas(1, short),
            replicas(1000, 60 * second),
            fsync(second),
        ] {
            assert!(check_durability(fine).is_ok(), "{fine:?}");
        }
        for bad in [
            replicas(0, second),
            replicas(1001, second),
            replicas(1, Duration::ZERO),
            replicas(1, 61 * second),
            fsync(short / 2),
        ] {
            assert!(check_durability(bad).is_err(), "{bad:?}");
        }
    }
}
