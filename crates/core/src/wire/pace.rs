//! The rate of a counted primitive: when a permit that is granted may start.

use std::sync::Arc;
use std::time::Duration;

use crate::types::error::{Error, Result};
use crate::types::options::between;
use crate::types::rate::{Algorithm, MIN_PERIOD, Rate};
use crate::wire::terms::Terms;

/// A rate as the scripts of the engine take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    /// `<interval> <burst> <window>`, times in µs. The interval is rounded up to a quarter, so it never runs ahead: a time of
    /// day in µs, as a double, is exact to a quarter.
    pub(crate) text: Arc<str>,
}

/// The longest period, and the furthest ahead that a start may be: a mark of the record has to stay below 10^11 µs.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time in which a burst comes back.
const MAX_BURST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Rounding may make an interval longer by one such part.
const LOSS: u64 = 100;

impl Pace {
    /// `max_wait`: how far ahead a start may be; `None`: a period.
    pub(crate) fn new(rate: Rate, max_wait: Option<Duration>) -> Result<Self> {
        let terms = Terms::new(rate, Algorithm::Gcra, false)?;
        between("period of a semaphore's rate", rate.period(), MIN_PERIOD, MOST)?;
        let window = match max_wait {
            None => terms.period_us(),
            Some(wait) => {
                between("longest wait for a start", wait, Duration::ZERO, MOST)?;
                u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
            }
        };
        let permits = u64::from(rate.permits().get());
        let exact = terms.period_us() * 4; // of all permits, in quarters
        let quarters = exact.div_ceil(permits);
        if quarters * permits - exact > exact / LOSS {
            return Err(Error::invalid(
                "a semaphore's rate has intervals in quarters of a microsecond, which would make this one more than 1 % slower",
            ));
        }
        if quarters * u64::from(rate.burst_size().get()) > 4 * 1_000_000 * MAX_BURST.as_secs() {
            return Err(Error::invalid(
                "the burst takes more than 30 days to come back: make it smaller, or the rate higher",
            ));
        }
        let (whole, rest) = (quarters / 4, quarters % 4 * 25);
        let text = format!("{whole}.{rest:02} {} {window}", rate.burst_size());
        Ok(Self { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const SECOND: Duration = Duration::from_secs(1);

    fn per(permits: u32, period: Duration, burst: u32, max_wait: Option<Duration>) -> Option<String> {
        let number = |of| NonZeroU32::new(of).expect("not zero");
        let rate = Rate::per(number(permits), period).burst(number(burst));
        let pace = Pace::new(rate, max_wait);
        pace.map(|pace| pace.text.to_string()).ok()
    }

    #[test]
    fn the_interval_is_rounded_up_to_a_quarter() {
        for (permits, period, text) in [
            (100, SECOND, "10000.00 1 1000000"),
            (3, SECOND, "333333.50 1 1000000"),
            (5, Duration::from_millis(1), "200.00 1 1000"),
            (1_000_000, SECOND, "1.00 1 1000000"),
            (4_000_000, SECOND, "0.25 1 1000000"),
        ] {
            assert_eq!(per(permits, period, 1, None).as_deref(), Some(text));
        }
        assert_eq!(per(1, Duration::ZERO, 1, None), None, "no period");
    }

    #[test]
    fn a_rate_that_rounding_would_change_is_refused() {
        assert_eq!(
            per(3_000_000, SECOND, 1, None),
            None,
            "a third of a microsecond would be a half"
        );
        // 39 999.75 permits in a second have an interval of 25.00016 µs, and 40 400 one of 24.7525 µs: 1.0 % less than 25.
        let loses = |permits| per(permits, SECOND, 1, None).is_none();
        assert!(!loses(40_001), "25.0 instead of 24.9994 µs");
        let most = (1..=4_000_000_u32)
            .step_by(997)
            .filter(|&permits| !loses(permits));
        for permits in most {
            let text = per(permits, SECOND, 1, None).expect("accepted");
            let interval: f64 = text.split(' ').next().expect("text").parse().expect("a number");
            let exact = 1e6 / f64::from(permits);
            assert!(
                interval >= exact && interval <= exact * 1.01,
                "{permits}: {interval}"
            );
        }
    }

    #[test]
    fn h62_a_semaphores_rate_has_bounds() {
        let hour = Duration::from_secs(3600);
        let tick = Duration::from_nanos(1);
        assert!(per(1, MOST, 30, None).is_some(), "exactly 30 days");
        assert_eq!(per(1, MOST, 31, None), None);
        assert_eq!(per(1, MOST + tick, 1, None), None);
        let text = per(1, hour, 1, Some(MOST));
        assert_eq!(
            text.as_deref(),
            Some("3600000000.00 1 86400000000"),
            "a day ahead"
        );
        assert_eq!(per(1, hour, 1, Some(MOST + tick)), None);
        assert!(
            per(1, hour, 1, Some(Duration::ZERO)).is_some(),
            "now or not at all"
        );
    }
}
