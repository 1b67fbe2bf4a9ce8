//! How far away the server is.

use std::time::Duration;

use crate::base::clock::Moment;

/// The shortest round trip of the last few seconds. That is the distance to the server, in which the
/// time that requests spend behind our own does not count: a window that grew with it would keep
/// growing.
#[derive(Debug)]
pub(super) struct Trip {
    now: Duration,
    before: Duration,
    since: Moment,
}

/// A round trip is remembered at least this long.
const REMEMBERED: Duration = Duration::from_secs(3);

impl Trip {
    pub(super) const fn new() -> Self {
        Self {
            now: Duration::MAX,
            before: Duration::MAX,
            since: Moment::from_nanos(0),
        }
    }

    /// An answer came at `now`, a round trip after its request was sent.
    pub(super) fn note(&mut self, trip: Duration, now: Moment) {
        if now.since(self.since) >= REMEMBERED {
            self.since = now;
            self.before = std::mem::replace(&mut self.now, Duration::MAX);
        }
        self.now = self.now.min(trip);
    }

    /// The shortest one; `average` before the first.
    pub(super) fn least(&self, average: Duration) -> Duration {
        self.now.min(self.before).min(average)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn a_trip_is_the_shortest_of_the_last_few_seconds() {
        let at = |number| Moment::from_nanos(10_000_000_000) + ms(number);
        let mut trip = Trip::new();
        assert_eq!(trip.least(ms(7)), ms(7), "what the connection knows");
        for (took, answered, least) in [
            (5, 5, 5),
            (2, 12, 2),
            (70, 90, 2),   // behind many others
            (90, 3190, 2), // the first after a while
            (40, 6340, 40),
        ] {
            trip.note(ms(took), at(answered));
            assert_eq!(trip.least(ms(100)), ms(least), "after {answered}");
        }
    }
}
