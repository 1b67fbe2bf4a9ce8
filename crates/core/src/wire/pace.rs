//! The rate of a counted primitive: when a permit that is granted may start.

use std::sync::Arc;

use crate::types::error::Result;
use crate::types::rate::{Algorithm, Rate};
use crate::wire::terms::Terms;

/// A rate as the scripts of the engine take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    /// `<interval> <burst> <window>`, times in µs. The interval is rounded up to a quarter, so it never runs ahead.
    pub(crate) text: Arc<str>,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Result<Self> {
        let terms = Terms::new(rate, Algorithm::Gcra, false)?;
        let permits = u64::from(rate.permits().get());
        let quarters = (terms.period_us() * 4).div_ceil(permits);
        let (whole, rest) = (quarters / 4, quarters % 4 * 25);
        let text = format!("{whole}.{rest:02} {} {}", rate.burst_size(), terms.period_us());
        Ok(Self { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    #[test]
    fn the_interval_is_rounded_up_to_a_quarter() {
        let per = |permits, period| {
            let rate = Rate::per(NonZeroU32::new(permits).expect("not zero"), period);
            Pace::new(rate).map(|pace| pace.text.to_string())
        };
        let second = Duration::from_secs(1);
        assert_eq!(
            per(100, second).ok().as_deref(),
            Some("10000.00 1 1000000"),
            "even"
        );
        assert_eq!(per(3, second).ok().as_deref(), Some("333333.50 1 1000000"), "up");
        assert_eq!(
            per(5, Duration::from_millis(1)).ok().as_deref(),
            Some("200.00 1 1000"),
            "short"
        );
        assert!(per(1, Duration::ZERO).is_err(), "no period");
    }
}
