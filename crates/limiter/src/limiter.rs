//! The rate limiter and its builder.

use std::time::{Duration, Instant};

use latchwork_core::kit::{Limiter, LimiterOptions, Wait};
use latchwork_core::{Algorithm, Client, Decision, Name, OnMismatch, Rate, RateAcquire, Result};

/// A rate limiter that all processes share which use the same server, prefix and name.
///
/// A handle: a client, a name, a rate. Cheap to clone, and without an identity of its own. Rate and algorithm are kept at the
/// server from the first call until two seconds after all permits have come back. A handle with another rate gets
/// [`Mismatch`](crate::ErrorKind::Mismatch), unless [`on_mismatch`](RateLimiterBuilder::on_mismatch) says otherwise, and until
/// somebody calls [`set_rate`](Self::set_rate). From then on the rate that was given there counts, and not that of any
/// handle. It is remembered for a day after the last use ([`keep`](RateLimiterBuilder::keep)).
///
/// **What is promised.** By the server's clock, with each call counted at its slot, which is the time of the call if it did
/// not have to wait: with [`Algorithm::Gcra`] at most `burst + rate * t` in any time *t*, to the microsecond; with
/// [`Algorithm::SlidingWindow`] at most the rate's permits in any window. A future resolves at its slot or later, never
/// earlier. Calls that wait are served in the order in which the server saw them, and nobody overtakes, however little it
/// asks for. What is refused consumes nothing.
///
/// **What is not.** If no answer comes, the call may have consumed its permits: it is not sent again, because a second run
/// could count twice; the error is [`Unavailable`](crate::ErrorKind::Unavailable), and the permits are given back if nobody
/// reserved behind them. A server that loses the record (a restart without persistence, eviction, `FLUSHALL`) starts
/// anew. If its clock is set back, no time has passed: nothing comes back sooner, and nothing later than a window after
/// it would have. If it is set forward, that looks like idle time: one burst (or one window's permits) more than the rate
/// may be admitted, beside those who wait, who keep their slots.
///
/// # Examples
///
/// ```no_run
/// # use std::num::NonZeroU32;
/// # use latchwork_limiter::{Client, Rate, RateLimiter};
/// # async fn example(client: Client, hundred: NonZeroU32) -> Result<(), latchwork_limiter::Error> {
/// let logins = RateLimiter::new(&client, "logins:alice", Rate::per_minute(hundred).burst(hundred))?;
/// let decision = logins.try_acquire().await?;
/// if !decision.allowed {
///     println!("429, Retry-After: {}", decision.retry_after_secs());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    limiter: Limiter,
}

impl RateLimiter {
    /// A limiter with this rate, by GCRA. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes, or for a rate that cannot work: see [`Rate`].
    ///
    /// # Examples
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use latchwork_limiter::{Client, Rate, RateLimiter};
    /// # fn example(client: &Client, ten: NonZeroU32) -> Result<(), latchwork_limiter::Error> {
    /// let calls = RateLimiter::new(client, "calls-to-the-bank", Rate::per_second(ten))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>, rate: Rate) -> Result<Self> {
        Self::builder(client, name, rate).build()
    }

    /// A limiter with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use latchwork_limiter::{Algorithm, Client, Rate, RateLimiter};
    /// # fn example(client: &Client, ten: NonZeroU32) -> Result<(), latchwork_limiter::Error> {
    /// let calls = RateLimiter::builder(client, "calls-to-the-bank", Rate::per_minute(ten))
    ///     .algorithm(Algorithm::SlidingWindow)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>, rate: Rate) -> RateLimiterBuilder {
        RateLimiterBuilder {
            client: client.clone(),
            name: name.as_ref().to_vec(),
            options: LimiterOptions::new(rate),
        }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        self.limiter.name()
    }

    /// Waits for the next slot, at most one window ahead unless [`max_wait`](RateLimiterBuilder::max_wait) says otherwise.
    ///
    /// One request, one sleep. A window is the rate's period, or the time in which a burst comes back, if that is longer; with
    /// a sliding window, its length and a fiftieth. A call whose slot would be further ahead is refused at once. So of 100
    /// calls at once at 10 per second, 11 get a slot by default. The decision is as of the reservation.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if no usable answer
    /// comes within the operation timeout; the permit may be consumed. `Mismatch` if the limiter
    /// was made with another rate or algorithm. `TooLate` if the next slot is further ahead than
    /// that. After `Mismatch` and `TooLate`, nothing was consumed.
    ///
    /// # Cancel safety
    /// Dropping the future gives the reservation back, in the background, if nobody reserved behind it. Otherwise it stays
    /// consumed: the others have their slots already. Of many that are dropped together all go back that are at the end.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(calls: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// calls.acquire().await?;
    /// // go on
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self) -> RateAcquire {
        self.acquire_many(1)
    }

    /// Waits for a slot for `n` permits, which are had together. See [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire). `Invalid` for zero. `TooLarge` for more than can ever be
    /// granted at once: the burst, or the permits of a window.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(bytes: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// bytes.acquire_many(4096).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many(&self, n: u32) -> RateAcquire {
        self.limiter.acquire(n, Wait::Forever)
    }

    /// Waits for the next slot if it comes within this time, and is refused at once if not. Zero is now or not at all.
    ///
    /// The time runs from this call. The future may resolve a round trip after it at the latest.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire). `TooLate` also if the slot would come later than that.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # use latchwork_limiter::ErrorKind;
    /// # async fn example(calls: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// match calls.acquire_for(Duration::from_millis(200)).await {
    ///     Ok(_) => println!("go on"),
    ///     Err(error) if error.kind() == ErrorKind::TooLate => println!("not in time: {error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_for(&self, wait: Duration) -> RateAcquire {
        self.acquire_many_for(1, wait)
    }

    /// Waits for the next slot if it comes until `deadline`. See [`acquire_for`](Self::acquire_for).
    ///
    /// # Errors
    /// As [`acquire_for`](Self::acquire_for).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(calls: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// calls.acquire_until(Instant::now() + Duration::from_millis(200)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_until(&self, deadline: Instant) -> RateAcquire {
        self.acquire_many_until(1, deadline)
    }

    /// Waits for a slot for `n` permits if it comes within this time. See [`acquire_for`](Self::acquire_for).
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many). `TooLate` also if the slot would come later than
    /// that.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(bytes: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// bytes.acquire_many_for(4096, Duration::from_millis(200)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many_for(&self, n: u32, wait: Duration) -> RateAcquire {
        self.limiter.acquire(n, Wait::for_duration(wait))
    }

    /// Waits for a slot for `n` permits if it comes until `deadline`. See [`acquire_for`](Self::acquire_for).
    ///
    /// # Errors
    /// As [`acquire_many_for`](Self::acquire_many_for).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(bytes: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// bytes.acquire_many_until(4096, Instant::now() + Duration::from_millis(200)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many_until(&self, n: u32, deadline: Instant) -> RateAcquire {
        self.limiter.acquire(n, Wait::Until(deadline))
    }

    /// Takes a permit if there is one now, and nobody waits; otherwise the decision says when to come back.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), but never `TooLate`.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(calls: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// let decision = calls.try_acquire().await?;
    /// if decision.allowed {
    ///     println!("{} of {} left", decision.remaining, decision.limit);
    /// } else {
    ///     println!("again in {:?}", decision.retry_after);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self) -> RateAcquire {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if they are there now. See [`try_acquire`](Self::try_acquire).
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many), but never `TooLate`.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(bytes: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// let decision = bytes.try_acquire_many(4096).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_many(&self, n: u32) -> RateAcquire {
        self.limiter.try_acquire(n)
    }

    /// What [`try_acquire`](Self::try_acquire) would say now, without taking anything. By the time you read it, it may be
    /// otherwise: to decide, use [`try_acquire`](Self::try_acquire).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `Mismatch` if the limiter was
    /// made with another rate or algorithm.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(calls: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// println!("{} left", calls.peek().await?.remaining);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn peek(&self) -> Result<Decision> {
        self.limiter.peek().await
    }

    /// The rate that counts: what [`set_rate`](Self::set_rate) set, or what this handle says.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(calls: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// println!("{} permits", calls.rate().await?.permits());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rate(&self) -> Result<Rate> {
        self.limiter.rate().await
    }

    /// Sets the rate, for everybody: from now on the rates of the handles do not matter. The algorithm stays.
    ///
    /// What was admitted stays counted. With GCRA, used permits of the burst stay used; if somebody waits, the burst counts as
    /// used up. With a sliding window, what was admitted counts as far as the old window reached, at the latest time at
    /// which it can have been. Who waits keeps its slot and cannot give it back any more, and nobody gets an
    /// earlier one (with a sliding window: none in a window in which those are already too many). So for one window after
    /// the change, what those slots allow under the old rate may be above the new one. To forget what was admitted, call
    /// [`reset`](Self::reset) first.
    ///
    /// It is forgotten a day after the last use of the limiter, unless [`keep`](RateLimiterBuilder::keep) says otherwise.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` for a rate that cannot
    /// work. `Mismatch` if the limiter was made with another algorithm. After `Unavailable`, it may
    /// or may not have happened.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use latchwork_limiter::Rate;
    /// # async fn example(
    /// #     calls: latchwork_limiter::RateLimiter,
    /// #     twenty: NonZeroU32,
    /// # ) -> Result<(), latchwork_limiter::Error> {
    /// calls.set_rate(Rate::per_second(twenty)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_rate(&self, rate: Rate) -> Result<()> {
        self.limiter.set_rate(rate).await
    }

    /// Forgets everything, as if the limiter had never been used: what was admitted, what is reserved, its algorithm, and
    /// the rate that [`set_rate`](Self::set_rate) set. Whoever waits goes at its slot all the same.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). After `Unavailable`, it may or may
    /// not have happened.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(logins: latchwork_limiter::RateLimiter) -> Result<(), latchwork_limiter::Error> {
    /// logins.reset().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reset(&self) -> Result<()> {
        self.limiter.reset().await
    }
}

/// Options of a [`RateLimiter`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct RateLimiterBuilder {
    client: Client,
    name: Vec<u8>,
    options: LimiterOptions,
}

impl RateLimiterBuilder {
    /// How permits are counted. Defaults to [`Algorithm::Gcra`].
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.options.algorithm = algorithm;
        self
    }

    /// What a call does if the server has another rate: see [`OnMismatch`]. Defaults to [`OnMismatch::Error`].
    ///
    /// Another algorithm is always a [`Mismatch`](crate::ErrorKind::Mismatch).
    ///
    /// # Examples
    /// A new release with another rate, while the old one still runs:
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use latchwork_limiter::{Client, OnMismatch, Rate, RateLimiter};
    /// # fn example(client: &Client, twenty: NonZeroU32) -> Result<(), latchwork_limiter::Error> {
    /// let calls = RateLimiter::builder(client, "calls-to-the-bank", Rate::per_second(twenty))
    ///     .on_mismatch(OnMismatch::Set { version: 2 }) // was 10 per second in version 1
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.options.on_mismatch = on_mismatch;
        self
    }

    /// How far ahead a call may reserve a slot, and therefore the longest that it waits: up to 30 days; with a sliding window, up
    /// to its length and a fiftieth. Defaults to one window: the rate's period, or the time in which a burst comes back, if
    /// that is longer; with a sliding window, its length and a fiftieth.
    ///
    /// It is the handle's alone: others may reserve further ahead, and keep their slots.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use std::time::Duration;
    /// # use latchwork_limiter::{Client, Rate, RateLimiter};
    /// # fn example(client: &Client, ten: NonZeroU32) -> Result<(), latchwork_limiter::Error> {
    /// let calls = RateLimiter::builder(client, "calls-to-the-bank", Rate::per_second(ten))
    ///     .max_wait(Duration::from_secs(60)) // 600 calls at once all get a slot
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.options.max_wait = Some(wait);
        self
    }

    /// How long a rate that was set at the server is remembered after the last use: 1 s to 366 days. Defaults to 24 h.
    ///
    /// A rate is set by [`set_rate`](RateLimiter::set_rate), or by a handle with [`OnMismatch::Set`]. What the handles say
    /// themselves need not be remembered: such a limiter is gone from the server two seconds after its permits are back.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.options.keep = keep;
        self
    }

    /// The limiter. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or rate that cannot work.
    pub fn build(self) -> Result<RateLimiter> {
        let limiter = Limiter::new(&self.client, &self.name, &self.options)?;
        Ok(RateLimiter { limiter })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<RateLimiter>();
    handle::<RateLimiterBuilder>();
}
