//! Permits that come back by time: what users name.

use std::num::NonZeroU32;
use std::time::Duration;

/// The shortest period of a [`Rate`].
pub const MIN_PERIOD: Duration = Duration::from_millis(1);
/// The longest period of a [`Rate`], and the longest time in which its burst comes back: 366 days.
pub const MAX_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The furthest ahead that a limiter may reserve.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many permits come back in which time, and how many may be had at once.
///
/// A rate limiter keeps it exactly, however fast or slow. A semaphore keeps the interval between two permits in quarters of
/// a microsecond, rounded up, and refuses a rate of which that would cost more than 1 %. A rate that cannot work is refused
/// when a limiter or semaphore is built.
///
/// # Examples
/// ```
/// # use std::num::NonZeroU32;
/// # use std::time::Duration;
/// # use latchwork_core::Rate;
/// let ten = NonZeroU32::new(10).ok_or("not zero")?;
/// let calls = Rate::per_second(ten); // one every 100 ms
/// let bursts = Rate::per_second(ten).burst(ten); // or ten at once after a second of silence
/// let quota = Rate::per(ten, Duration::from_secs(7 * 24 * 60 * 60)).burst(ten); // ten a week
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Rate {
    permits: NonZeroU32,
    period: Duration,
    burst: NonZeroU32,
}

impl Rate {
    /// So many per second.
    pub const fn per_second(permits: NonZeroU32) -> Self {
        Self::per(permits, Duration::from_secs(1))
    }

    /// So many per minute.
    pub const fn per_minute(permits: NonZeroU32) -> Self {
        Self::per(permits, Duration::from_secs(60))
    }

    /// So many per period: 1 to 2^31 - 1 per 1 ms to 366 days (a semaphore: to 24 h). A period is taken in whole
    /// microseconds, rounded up.
    pub const fn per(permits: NonZeroU32, period: Duration) -> Self {
        Self {
            permits,
            period,
            burst: NonZeroU32::MIN,
        }
    }

    /// How many may be had at once if none was had before; defaults to 1, which spreads them evenly. They have to come back
    /// within 366 days (of a semaphore: 30 days). For [`Algorithm::Gcra`] only: a sliding window allows all of its permits at once.
    pub const fn burst(mut self, permits: NonZeroU32) -> Self {
        self.burst = permits;
        self
    }

    /// Permits per period.
    pub const fn permits(&self) -> NonZeroU32 {
        self.permits
    }

    /// The period.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// What [`burst`](Self::burst) set.
    pub const fn burst_size(&self) -> NonZeroU32 {
        self.burst
    }
}

/// How permits are counted. Both need the same small space at the server, whatever the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// Generic cell rate algorithm (a leaky bucket as a meter): in any time *t* at most `burst + rate * t`. Permits come back
    /// one by one.
    #[default]
    Gcra,
    /// At most the rate's permits in *any* window as long as its period. They come back as the window moves on, in steps of a
    /// fiftieth of it: so of a full window's permits the last ones come back up to 2 % late, and in the long run up to
    /// 2 % fewer are admitted. A fiftieth is rounded up to a microsecond, which costs more only if the period is shorter
    /// than 125 ms and no multiple of 50 µs.
    SlidingWindow,
}

/// What a limiter says about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it may go on. If not, nothing was consumed.
    pub allowed: bool,
    /// What may be had at once if none was had before: the burst, or the permits of a window.
    pub limit: u32,
    /// What could be had at once after this call.
    pub remaining: u32,
    /// How long to wait before the same call is allowed if nobody else comes, rounded up to a microsecond; zero if it was
    /// allowed.
    pub retry_after: Duration,
    /// How long until all of [`limit`](Self::limit) could be had, if nobody else comes; rounded up to a microsecond.
    pub reset_after: Duration,
}

impl Decision {
    /// [`retry_after`](Self::retry_after) in whole seconds, rounded up, as in the HTTP header `Retry-After`: rounded down
    /// it would send the caller back too early.
    pub const fn retry_after_secs(&self) -> u64 {
        let more = self.retry_after.subsec_nanos() > 0;
        self.retry_after.as_secs() + if more { 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_to_wait_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            let decision = Decision {
                allowed: millis == 0,
                limit: 1,
                remaining: 0,
                retry_after: Duration::from_millis(millis),
                reset_after: Duration::ZERO,
            };
            assert_eq!(decision.retry_after_secs(), seconds, "{millis} ms");
        }
    }
}
