//! Limits of requests. Each time limit leaves room for a round trip, for any lease and any distance
//! to the server.

use std::time::Duration;

/// How many average round trips there have to be in a limit: a single one may take longer than the average.
pub(crate) const TRIPS: u32 = 4;

/// How often a request is repeated because its reply says that there is more to do. A step does at least a hundred of
/// what there is, which is less than a million.
pub(crate) const MORE: usize = 10_000;

/// How long one request about a hold or place may take: the operation timeout; a third of the lease if that is shorter,
/// so that what is lost is sent again in time, but not less than a few round trips, as long as an answer after that is
/// worth something.
pub(crate) fn request(timeout: Duration, lease: Duration, trip: Duration) -> Duration {
    let third = lease / 3;
    if timeout <= third {
        return timeout;
    }
    (trip * TRIPS).clamp(third, lease * 2 / 3).min(timeout)
}

/// The maximum number of batches of one kind that are under way in time.
const BATCHES: usize = 64;

/// How many batches have to be under way together for `batches` to be sent within `time`, each of
/// which takes one `trip`.
pub(crate) fn window(batches: usize, trip: Duration, time: Duration) -> usize {
    let batches = u128::try_from(batches).unwrap_or(u128::MAX);
    let together = batches.saturating_mul(trip.as_nanos()) / time.as_nanos().max(1);
    usize::try_from(together).unwrap_or(BATCHES).min(BATCHES)
}

/// When a renewal or confirmation of a hold that lasts for `left` is sent again if there is no answer: a second one is to
/// have a chance, but not before the answer to the first is overdue. Until the hold ends, an answer to either counts.
pub(crate) fn renewal(timeout: Duration, lease: Duration, left: Duration, trip: Duration) -> Duration {
    let usual = (trip * TRIPS).clamp(lease / 6, lease / 3).min(left / 2);
    let overdue = trip + trip / 2;
    usual
        .max(overdue)
        .min(left)
        .min(timeout)
        .max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const LEASE: Duration = Duration::from_secs(10);

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn near_a_server_the_lease_decides() {
        assert_eq!(request(TIMEOUT, ms(300), ms(1)), ms(100), "a third");
        assert_eq!(request(TIMEOUT, LEASE, ms(1)), TIMEOUT, "however long the lease");
        assert_eq!(renewal(TIMEOUT, ms(300), ms(200), ms(1)), ms(50), "a sixth");
        assert_eq!(
            renewal(TIMEOUT, LEASE, ms(6600), ms(1)),
            TIMEOUT,
            "however long the lease"
        );
        assert_eq!(
            renewal(TIMEOUT, LEASE, ms(500), ms(1)),
            ms(250),
            "half of what a claim has left"
        );
    }

    #[test]
    fn far_from_a_server_the_round_trip_decides() {
        assert_eq!(request(TIMEOUT, ms(600), ms(80)), ms(320), "four round trips");
        assert_eq!(
            request(TIMEOUT, ms(600), ms(250)),
            ms(400),
            "while the answer can be used"
        );
        assert_eq!(request(TIMEOUT, LEASE, ms(500)), TIMEOUT, "what was set");
        // A claim window of 2 s, half of it over.
        assert_eq!(renewal(TIMEOUT, LEASE, ms(1000), ms(500)), ms(750), "overdue");
        assert_eq!(
            renewal(TIMEOUT, LEASE, ms(600), ms(500)),
            ms(600),
            "all that is left"
        );
    }

    #[test]
    fn an_answer_is_never_given_up_before_it_can_be_there() {
        for trip in (1..=900).map(ms) {
            for lease in [ms(300), ms(1000), ms(5000), LEASE] {
                assert!(
                    request(TIMEOUT, lease, trip) >= trip.min(lease * 2 / 3),
                    "{trip:?} of {lease:?}"
                );
                for left in [lease, lease / 2, lease / 10] {
                    let after = renewal(TIMEOUT, lease, left, trip);
                    assert!(after >= trip.min(left), "{trip:?} with {left:?} of {lease:?}");
                    assert!(after <= left.min(TIMEOUT), "no later than the end");
                }
            }
        }
    }
}
