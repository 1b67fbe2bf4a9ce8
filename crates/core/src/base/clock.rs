//! The one clock of the client, and its timers.
//!
//! Leases are measured with a clock that runs on while the machine sleeps: `Instant` stops in suspend on Linux,
//! and a guard would believe in a lease that ended long ago (H21). Nobody reads a wall clock (H22).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project::pin_project;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::base::real::{self, Alarm};

/// A point in time: nanoseconds since the machine (or, elsewhere than on Linux, the process) started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Later than any other.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Self(seconds * 1_000_000_000 + nanos)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Self {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        // An hour of head start, so that a moment minus a duration does not stick at zero.
        Self(3_600_000_000_000) + START.elapsed()
    }

    /// The moment at which `Instant::now()` will be `instant`.
    pub(crate) fn at(instant: Instant) -> Self {
        Self::now() + instant.saturating_duration_since(Instant::now())
    }

    /// How long it is from `earlier` to here; zero if it is the other way round.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

impl std::ops::Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(time)))
    }
}

/// Nanoseconds; what does not fit is cut.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, rounded up; what does not fit is cut.
pub(crate) fn millis(time: Duration) -> u64 {
    let below = u64::from(time.subsec_nanos().div_ceil(1_000_000));
    time.as_secs().saturating_mul(1000).saturating_add(below)
}

/// Sleeps in slices: tokio's clock stops in suspend, so a timer must look at ours now and then.
const SLICE: Duration = Duration::from_secs(1);

/// How much earlier than real time a timer of tokio may fire, by its resolution. One that fires earlier is of a clock that
/// does not show real time.
const EARLY: Duration = Duration::from_millis(5);

/// A timer that can be polled anywhere: inside any tokio runtime, or in another executor.
///
/// It is in real time, also where tokio's clock is paused.
///
/// It uses the runtime it is polled in, else the one that drives the client. Without either it never fires, and whoever
/// polls it relies on being woken otherwise. It never panics (with `panic = "abort"` a runtime without a timer does).
#[derive(Debug)]
#[pin_project]
pub(crate) struct Timer {
    #[pin]
    sleep: Option<Sleep>,
    /// In place of that, where tokio's clock is paused.
    alarm: Option<Alarm>,
    ends: Moment,
    /// The runtime that drives the client has ended.
    orphaned: bool,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self {
            sleep: None,
            alarm: None,
            ends: Moment::NEVER,
            orphaned: false,
        }
    }

    /// Ready when `when` has come. May be called with another `when` each time.
    pub(crate) fn poll_until(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        when: Moment,
        driver: Option<&Handle>,
    ) -> Poll<()> {
        let mut this = self.project();
        // Two rounds: a slice may be over, and a sleep whose runtime has ended is made anew.
        for _ in 0..3 {
            let now = Moment::now();
            if now >= when {
                this.sleep.set(None);
                *this.alarm = None;
                return Poll::Ready(());
            }
            if when == Moment::NEVER {
                return Poll::Pending;
            }
            if real::is_needed() {
                *this.alarm = Alarm::set(when.since(now).min(SLICE), cx.waker());
                if this.alarm.is_some() {
                    this.sleep.set(None);
                    return Poll::Pending;
                }
            }
            if this.sleep.is_none() || when < *this.ends {
                let slice = when.since(now).min(SLICE);
                *this.ends = now + slice;
                this.sleep.set(start(slice, driver.filter(|_| !*this.orphaned)));
            }
            let Some(sleep) = this.sleep.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            // Polling a sleep whose runtime was shut down panics inside tokio.
            match catch_unwind(AssertUnwindSafe(|| sleep.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {
                    this.sleep.set(None);
                    if Moment::now() + EARLY < *this.ends {
                        real::look(); // from now on
                    }
                }
                Err(_) => {
                    this.sleep.set(None);
                    *this.orphaned = true; // not made again in the runtime that has ended
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn start(time: Duration, driver: Option<&Handle>) -> Option<Sleep> {
    // A tokio runtime without a timer panics here, and so does a missing runtime.
    let make = || catch_unwind(|| tokio::time::sleep(time)).ok();
    if Handle::try_current().is_ok()
        && let Some(sleep) = make()
    {
        return Some(sleep);
    }
    let _context = driver?.enter();
    make()
}

/// A future that ends at a moment at the latest.
#[pin_project]
pub(crate) struct Until<'a, F> {
    #[pin]
    future: F,
    #[pin]
    timer: Timer,
    driver: Option<&'a Handle>,
    when: Moment,
}

/// `None`: the moment came first.
pub(crate) fn until<F: Future>(when: Moment, driver: Option<&Handle>, future: F) -> Until<'_, F> {
    Until {
        future,
        timer: Timer::new(),
        driver,
        when,
    }
}

impl<F: Future> Future for Until<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        this.timer.poll_until(cx, *this.when, *this.driver).map(|()| None)
    }
}

/// Sleeps until a moment.
pub(crate) async fn sleep_until(when: Moment, driver: Option<&Handle>) {
    until(when, driver, std::future::pending::<()>()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up_and_never_wrap() {
        for (nanos, whole) in [
            (0, 0),
            (1, 1),
            (1_000_000, 1),
            (999_999_999, 1000),
            (1_000_000_001, 1001),
        ] {
            assert_eq!(millis(Duration::from_nanos(nanos)), whole, "{nanos} ns");
        }
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_in_real_time_where_tokios_clock_is_paused() {
        let (theirs, start) = (tokio::time::Instant::now(), Instant::now());
        real::look();
        let time = Duration::from_millis(50);
        sleep_until(Moment::now() + time, None).await;
        assert!(start.elapsed() >= time, "not before its time");
        assert_eq!(theirs.elapsed(), Duration::ZERO, "tokio's clock is left alone");
    }

    #[tokio::test]
    async fn a_clock_that_is_paused_later_is_noticed() {
        let sleep = |time| sleep_until(Moment::now() + time, None);
        let mut first = std::pin::pin!(sleep(Duration::from_millis(80)));
        let armed = std::future::poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx)));
        assert!(armed.await.is_pending(), "armed");
        tokio::time::pause();
        let start = Instant::now();
        first.await;
        assert!(start.elapsed() >= Duration::from_millis(70), "in real time");
        let theirs = tokio::time::Instant::now();
        sleep(Duration::from_millis(50)).await;
        assert_eq!(theirs.elapsed(), Duration::ZERO, "and so are the next");
    }

    #[tokio::test]
    async fn a_timer_can_be_moved_to_an_earlier_and_a_later_moment() {
        let start = Moment::now();
        let mut timer = std::pin::pin!(Timer::new());
        let far = start + Duration::from_secs(3600);
        let soon = start + Duration::from_millis(5);
        std::future::poll_fn(|cx| {
            assert!(timer.as_mut().poll_until(cx, far, None).is_pending(), "far");
            timer.as_mut().poll_until(cx, soon, None)
        })
        .await;
        assert!(Moment::now() >= soon, "not before its time");
    }

    /// A waiter that sleeps has to see within a second that calls begin to fail.
    #[tokio::test]
    async fn a_timer_wakes_whoever_polls_it_once_a_second_at_least() {
        let second = Duration::from_secs(1);
        for asked in [Duration::from_millis(20), second, Duration::from_secs(3600)] {
            let mut timer = std::pin::pin!(Timer::new());
            let before = Moment::now();
            std::future::poll_fn(|cx| {
                let over = timer.as_mut().poll_until(cx, before + asked, None);
                assert!(over.is_pending(), "armed");
                Poll::Ready(())
            })
            .await;
            let wakes = timer.as_mut().project();
            let slice = wakes.ends.since(before);
            let spent = Moment::now().since(before);
            assert!(slice <= asked.min(second) + spent, "{asked:?}: after {slice:?}");
            let sleep = wakes.sleep.as_pin_mut().expect("a sleep");
            let left = sleep.deadline().duration_since(tokio::time::Instant::now());
            assert!(left <= slice, "{asked:?}: the sleep takes {left:?}");
        }
    }

    #[test]
    fn a_timer_outlives_its_runtime() {
        let build = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
        };
        let when = Moment::now() + Duration::from_millis(50);
        let mut timer = Box::pin(Timer::new());
        let first = build();
        first.block_on(async {
            std::future::poll_fn(|cx| {
                assert!(timer.as_mut().poll_until(cx, when, None).is_pending(), "armed");
                Poll::Ready(())
            })
            .await;
        });
        drop(first);
        build().block_on(std::future::poll_fn(|cx| {
            timer.as_mut().poll_until(cx, when, None)
        }));
        assert!(Moment::now() >= when, "fired in the second runtime");
    }
}
