//! A rate as the scripts take it, checked, and what they answer.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::clock::millis;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::options::KEEP;
use crate::types::options::between;
use crate::types::rate::{Algorithm, Decision, MAX_PERIOD, MIN_PERIOD, Rate};

/// Numbers of permits stay below it: sums of several fit 32 bits in the record.
const MOST: u32 = i32::MAX as u32;
/// In how many pieces a window is cut; the scripts have the same number.
const PIECES: u64 = 50;
/// The longest time in which a burst comes back.
const MAX_BURST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A rate and an algorithm, as the scripts take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) rate: Rate,
    pub(crate) algorithm: Algorithm,
    /// They are the server's, by `set_rate`, and not those of a handle.
    pub(crate) set: bool,
    /// What the record starts with.
    pub(crate) config: String,
    period_us: u64,
}

const fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

impl Terms {
    pub(crate) const fn period_us(&self) -> u64 {
        self.period_us
    }

    pub(crate) fn new(rate: Rate, algorithm: Algorithm, set: bool) -> Result<Self> {
        let (permits, burst) = (rate.permits().get(), rate.burst_size().get());
        between("period of the rate", rate.period(), MIN_PERIOD, MAX_PERIOD)?;
        if permits > MOST || burst > MOST {
            return Err(Error::invalid(
                "a rate and its burst have at most 2^31 - 1 permits",
            ));
        }
        let period_us = u64::try_from(rate.period().as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let letter = match algorithm {
            Algorithm::Gcra => 'g',
            Algorithm::SlidingWindow => 'w',
        };
        if algorithm == Algorithm::SlidingWindow && burst != 1 {
            return Err(Error::invalid(
                "a sliding window has no burst: all permits of a window may be had at once",
            ));
        }
        let set_flag = u8::from(set);
        let terms = Self {
            rate,
            algorithm,
            set,
            config: format!("1:{letter}:{permits}:{period_us}:{burst}:{set_flag}|"),
            period_us,
        };
        let (whole, _) = terms.price(burst);
        if algorithm == Algorithm::Gcra && micros(whole) >= MAX_BURST {
            return Err(Error::invalid(
                "the burst takes more than 30 days to come back: make it smaller, or the rate higher",
            ));
        }
        Ok(terms)
    }

    /// The terms of a record, which begins with this.
    fn parse(config: &str) -> Option<Self> {
        let mut fields = config.strip_suffix('|')?.split(':');
        let mut next = || fields.next();
        let (_, letter) = (next()?, next()?);
        let permits: NonZeroU32 = next()?.parse().ok()?;
        let period = micros(next()?.parse().ok()?);
        let burst = next()?.parse().ok()?;
        let set = next()? == "1";
        let algorithm = match letter {
            "g" => Algorithm::Gcra,
            "w" => Algorithm::SlidingWindow,
            _ => return None,
        };
        Self::new(Rate::per(permits, period).burst(burst), algorithm, set).ok()
    }

    /// The terms of a record that were set at the server; `None`: they are those of another handle.
    pub(crate) fn adopt(&self, config: &str) -> Option<Self> {
        Self::parse(config).filter(|terms| terms.set && terms.algorithm == self.algorithm)
    }

    /// The time in which so many permits come back: whole microseconds, and so many `permits`-ths of one.
    pub(super) fn price(&self, weight: u32) -> (u64, u64) {
        let permits = u64::from(self.rate.permits().get());
        let parts = u128::from(weight) * u128::from(self.period_us);
        let whole = u64::try_from(parts / u128::from(permits)).unwrap_or(u64::MAX);
        let rest = u64::try_from(parts % u128::from(permits)).unwrap_or(0);
        (whole, rest)
    }

    pub(super) const fn piece_us(&self) -> u64 {
        self.period_us.div_ceil(PIECES)
    }

    /// What may be had at once at most.
    pub(crate) const fn limit(&self) -> u32 {
        match self.algorithm {
            Algorithm::Gcra => self.rate.burst_size().get(),
            Algorithm::SlidingWindow => self.rate.permits().get(),
        }
    }

    /// How far ahead a slot may be reserved.
    pub(crate) fn reach(&self) -> Duration {
        micros(match self.algorithm {
            Algorithm::Gcra => {
                let (whole, rest) = self.price(self.limit());
                self.period_us.max(whole + u64::from(rest > 0))
            }
            // When a window's permits go at once, the next ones come that late.
            Algorithm::SlidingWindow => self.piece_us() * (PIECES + 1),
        })
    }

    /// How long the record is kept after its last use: as long as it can matter, and a day for its rate.
    pub(super) fn life_ms(&self) -> u64 {
        millis(KEEP.max(self.reach() * 3))
    }

    /// The decision that the script's answer stands for; `state` as in [`ReserveReply`](super::reply::ReserveReply).
    pub(crate) fn decision(&self, allowed: bool, wait: Duration, state: (u64, u64)) -> Decision {
        let (first, second) = state;
        let (remaining, reset) = match self.algorithm {
            Algorithm::Gcra => {
                let permits = u128::from(self.rate.permits().get());
                let period = u128::from(self.period_us);
                let debt = u128::from(first) * permits + u128::from(second);
                let all = u128::from(self.limit()) * period;
                (
                    u64::try_from(all.saturating_sub(debt) / period).unwrap_or(0),
                    first + u64::from(second > 0),
                )
            }
            Algorithm::SlidingWindow => (first, second),
        };
        Decision {
            allowed,
            limit: self.limit(),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            retry_after: if allowed { Duration::ZERO } else { wait },
            reset_after: micros(reset),
        }
    }

    /// A handle and the server disagree.
    pub(crate) fn mismatch(&self, theirs: &str) -> Error {
        let has = Self::parse(theirs).map_or_else(|| theirs.to_owned(), |terms| terms.to_string());
        Error::new(
            ErrorKind::Mismatch,
            format!(
                "this handle says {self}, and the server has {has}: use one rate everywhere, or set_rate, or reset"
            ),
        )
    }
}

impl std::fmt::Display for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = &self.rate;
        write!(f, "{} per {:?}", rate.permits(), rate.period())?;
        match self.algorithm {
            Algorithm::Gcra => write!(f, " with a burst of {}", rate.burst_size()),
            Algorithm::SlidingWindow => write!(f, " in a sliding window"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(of: u32) -> NonZeroU32 {
        NonZeroU32::new(of).expect("not zero")
    }

    fn gcra(permits: u32, period: Duration, burst: u32) -> Result<Terms> {
        let rate = Rate::per(number(permits), period).burst(number(burst));
        Terms::new(rate, Algorithm::Gcra, false)
    }

    const DAY: Duration = MAX_PERIOD;

    #[test]
    fn prices_are_exact_at_both_ends() {
        let price = |permits, period, weight| gcra(permits, period, 1).expect("terms").price(weight);
        let second = Duration::from_secs(1);
        assert_eq!(price(1_000_000, second, 1), (1, 0), "a microsecond each");
        assert_eq!(price(3_000_000, second, 1), (0, 1_000_000), "a third of one");
        assert_eq!(price(7, second, 3), (428_571, 3), "3/7 s");
        assert_eq!(price(1, DAY, 1), (86_400_000_000, 0), "a day");
        assert_eq!(
            price(MOST, DAY, MOST),
            (86_400_000_000, 0),
            "all of the most, in the longest time"
        );
    }

    #[test]
    fn h62_absurd_rates_are_refused() {
        assert!(
            gcra(1, MIN_PERIOD, 1).is_ok() && gcra(MOST, DAY, MOST).is_ok(),
            "the bounds"
        );
        assert!(gcra(1, DAY, 29).is_ok(), "29 days");
        for bad in [
            gcra(1, Duration::ZERO, 1),
            gcra(1, Duration::from_nanos(999_999), 1),
            gcra(1, DAY + Duration::from_nanos(1), 1),
            gcra(MOST + 1, DAY, 1),
            gcra(1, MIN_PERIOD, MOST + 1),
            gcra(1, DAY, 30),
            Terms::new(
                Rate::per_second(number(5)).burst(number(2)),
                Algorithm::SlidingWindow,
                false,
            ),
        ] {
            assert_eq!(bad.expect_err("refused").kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn a_record_says_its_terms() {
        for terms in [
            gcra(7, Duration::from_millis(300), 3),
            Terms::new(Rate::per_minute(number(9)), Algorithm::SlidingWindow, true),
        ] {
            let terms = terms.expect("terms");
            assert_eq!(
                Terms::parse(&terms.config).as_ref(),
                Some(&terms),
                "there and back"
            );
        }
        for text in [
            "",
            "1:g:0:1000:1:0|",
            "1:x:1:1000:1:0|",
            "1:g:1:1:1:0|",
            "1:g:1:1000:1:0",
        ] {
            assert_eq!(Terms::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_period_is_rounded_up() {
        let rate = Rate::per(number(1), Duration::from_nanos(1_000_001));
        let terms = Terms::new(rate, Algorithm::Gcra, false).expect("terms");
        assert_eq!(terms.config, "1:g:1:1001:1:0|");
    }

    fn window(permits: u32, set: bool) -> Terms {
        let rate = Rate::per_second(number(permits));
        Terms::new(rate, Algorithm::SlidingWindow, set).expect("terms")
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_handle_adopts_only_a_rate_set_for_its_algorithm() {
        let (own, set, other) = (window(5, false), window(6, true), window(7, false));
        assert_eq!(own.adopt(&set.config), Some(set.clone()), "by `set_rate`");
        assert_eq!(own.adopt(&other.config), None, "another handle's");
        let gcra = gcra(5, SECOND, 1).expect("terms");
        assert_eq!(gcra.adopt(&set.config), None, "another algorithm");
        assert_eq!(own.adopt("1:w"), None, "not readable");
    }

    #[test]
    fn a_mismatch_names_both_rates() {
        let gcra = gcra(7, SECOND, 3).expect("terms");
        let error = gcra.mismatch(&window(5, false).config);
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        let text = error.to_string();
        assert!(text.contains("7 per 1s with a burst of 3"), "{text}");
        assert!(text.contains("5 per 1s in a sliding window"), "{text}");
        assert!(gcra.mismatch("1:?").to_string().contains("1:?"), "as it stands");
    }

    #[test]
    fn a_slot_can_be_as_far_ahead_as_the_burst_or_the_period() {
        let reach = |permits, period, burst| gcra(permits, period, burst).expect("terms").reach();
        assert_eq!(reach(10, SECOND, 1), SECOND, "the period");
        assert_eq!(reach(10, SECOND, 30), 3 * SECOND, "the burst");
        let third = Duration::from_micros(1_333_334);
        assert_eq!(reach(3, SECOND, 4), third, "rounded up");
        assert_eq!(
            window(5, false).reach(),
            Duration::from_millis(1020),
            "and a piece"
        );
    }

    #[test]
    fn a_record_outlives_its_rate_threefold_and_a_day() {
        let life = |period, burst| gcra(1, period, burst).expect("terms").life_ms();
        assert_eq!(life(SECOND, 1), 86_400_000, "a day");
        assert_eq!(life(DAY, 2), 6 * 86_400_000, "three bursts of two days");
    }

    #[test]
    fn a_decision_counts_what_is_left() {
        let gcra = gcra(3, SECOND, 5).expect("terms");
        let wait = Duration::from_millis(5);
        // Two permits are gone: 2/3 s, which is 666 666 µs and two thirds of one.
        let decision = gcra.decision(true, wait, (666_666, 2));
        assert_eq!((decision.limit, decision.remaining), (5, 3));
        assert_eq!(decision.retry_after, Duration::ZERO, "it was allowed");
        assert_eq!(decision.reset_after, Duration::from_micros(666_667), "rounded up");
        let more = gcra.decision(true, wait, (333_333, 2)).remaining;
        assert_eq!(more, 3, "a third of a microsecond more than one permit is gone");
        let decision = gcra.decision(false, wait, (1_666_667, 0));
        assert_eq!(
            (decision.allowed, decision.remaining),
            (false, 0),
            "a permit less a bit"
        );
        assert_eq!(decision.retry_after, wait);
        assert_eq!(decision.reset_after, Duration::from_micros(1_666_667), "exact");
        let decision = window(5, false).decision(true, wait, (4, 900));
        assert_eq!((decision.limit, decision.remaining), (5, 4));
        assert_eq!(decision.reset_after, Duration::from_micros(900), "as it is told");
    }
}
