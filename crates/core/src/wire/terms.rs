//! A rate as the scripts take it, checked, and what they answer.

use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::clock::millis;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::options::{KEEP, OnMismatch, between};
use crate::types::rate::{Algorithm, Decision, MAX_PERIOD, MAX_WAIT, MIN_PERIOD, Rate};

/// Numbers of permits stay below it: sums of several fit 32 bits in the record.
const MOST: u32 = i32::MAX as u32;
/// In how many pieces a window is cut; the scripts have the same number.
const PIECES: u64 = 50;
/// How long a record outlives its last permit: clocks are read in milliseconds, and a copy of a call may be under way.
const MARGIN: Duration = Duration::from_secs(2);

/// A rate and an algorithm, as the scripts take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) rate: Rate,
    pub(crate) algorithm: Algorithm,
    /// They are the server's, by `set_rate`, and not those of a handle.
    pub(crate) set: bool,
    /// Of the numbers, if a handle sets them.
    version: Option<u16>,
    /// They are the server's, and not the handle's own: they are never written to a record that has none.
    pub(crate) borrowed: bool,
    /// What the record starts with.
    pub(crate) config: String,
    period_us: u64,
    /// How long they are remembered if they were set at the server.
    keep: Duration,
    /// How far ahead the handle reserves; `None`: as is usual.
    max_wait: Option<Duration>,
}

/// What becomes of a handle's own terms if the server has others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// These count.
    Theirs(Terms),
    /// The handle's are to be set.
    Ours,
    Mismatch,
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
            version: None,
            borrowed: false,
            config: format!("1:{letter}:{permits}:{period_us}:{burst}:{set_flag}|"),
            period_us,
            keep: KEEP,
            max_wait: None,
        };
        let (whole, rest) = terms.price(burst);
        if algorithm == Algorithm::Gcra && micros(whole + u64::from(rest > 0)) > MAX_PERIOD {
            return Err(Error::invalid(
                "the burst takes more than 366 days to come back: make it smaller, or the rate higher",
            ));
        }
        Ok(terms)
    }

    /// The same with what a handle says beside its rate.
    pub(crate) fn with(
        mut self,
        on_mismatch: OnMismatch,
        keep: Duration,
        max_wait: Option<Duration>,
    ) -> Result<Self> {
        if let Some(wait) = max_wait {
            let most = match self.algorithm {
                Algorithm::Gcra => MAX_WAIT,
                Algorithm::SlidingWindow => self.usual_reach(),
            };
            between("longest wait for a slot", wait, Duration::ZERO, most)?;
        }
        (self.keep, self.max_wait) = (keep, max_wait);
        if let OnMismatch::Set { version } = on_mismatch {
            self.set_version(version);
        }
        Ok(self)
    }

    fn set_version(&mut self, version: u16) {
        let numbers = self.config.trim_end_matches('|');
        self.config = format!("{numbers}.{version}|");
        self.version = Some(version);
    }

    /// The terms of a record, which begins with this.
    pub(crate) fn parse(config: &str) -> Option<Self> {
        let mut fields = config.strip_suffix('|')?.split(':');
        let mut next = || fields.next();
        let (_, letter) = (next()?, next()?);
        let permits: NonZeroU32 = next()?.parse().ok()?;
        let period = micros(next()?.parse().ok()?);
        let burst = next()?.parse().ok()?;
        let origin = next()?;
        let (set, version) = origin
            .split_once('.')
            .map_or((origin, None), |(set, version)| (set, Some(version)));
        let set = set == "1";
        let algorithm = match letter {
            "g" => Algorithm::Gcra,
            "w" => Algorithm::SlidingWindow,
            _ => return None,
        };
        let mut terms = Self::new(Rate::per(permits, period).burst(burst), algorithm, set).ok()?;
        if let Some(version) = version {
            terms.set_version(version.parse().ok()?);
        }
        Some(terms)
    }

    /// What counts if the handle has these terms, and the record begins with `config`.
    pub(crate) fn agree(&self, config: &str, on_mismatch: OnMismatch) -> Agreed {
        let Some(mut theirs) = Self::parse(config).filter(|terms| terms.algorithm == self.algorithm) else {
            return Agreed::Mismatch;
        };
        (theirs.borrowed, theirs.keep, theirs.max_wait) = (true, self.keep, self.max_wait);
        let adopts = match on_mismatch {
            OnMismatch::Error => theirs.set || theirs.version.is_some(),
            OnMismatch::Adopt => true,
            OnMismatch::Set { version } => match theirs.version.cmp(&Some(version)) {
                Ordering::Less => return Agreed::Ours,
                Ordering::Equal => theirs.set,
                Ordering::Greater => true,
            },
        };
        if adopts {
            Agreed::Theirs(theirs)
        } else {
            Agreed::Mismatch
        }
    }

    /// Another rate, which is set by hand.
    pub(crate) fn with_rate(&self, rate: Rate) -> Result<Self> {
        let terms = Self::new(rate, self.algorithm, true)?;
        Ok(Self {
            keep: self.keep,
            max_wait: self.max_wait,
            ..terms
        })
    }

    /// The same as the server's.
    pub(crate) fn borrowed(self, own: &Self) -> Self {
        Self {
            borrowed: true,
            keep: own.keep,
            max_wait: own.max_wait,
            ..self
        }
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
        let usual = self.usual_reach();
        match self.algorithm {
            Algorithm::Gcra => self.max_wait.unwrap_or(usual),
            // The record has no room for slots further ahead.
            Algorithm::SlidingWindow => self.max_wait.map_or(usual, |wait| wait.min(usual)),
        }
    }

    fn usual_reach(&self) -> Duration {
        micros(match self.algorithm {
            Algorithm::Gcra => {
                let (whole, rest) = self.price(self.limit());
                self.period_us.max(whole + u64::from(rest > 0))
            }
            // When a window's permits go at once, the next ones come that late.
            Algorithm::SlidingWindow => self.piece_us() * (PIECES + 1),
        })
    }

    /// How long the record is kept after its permits are back. Numbers that every handle says anyway need not be remembered.
    pub(super) fn keep_ms(&self) -> u64 {
        let is_set = self.set || self.version.is_some();
        millis(if is_set { self.keep.max(MARGIN) } else { MARGIN })
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
                "this handle says {self}, and the server has {has}: use one rate everywhere, or on_mismatch, set_rate or reset"
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
mod tests;
