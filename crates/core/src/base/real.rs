//! Timers in real time, for runtimes whose clock does not show it.
//!
//! A paused clock of tokio (`start_paused`, for tests) jumps to the next timer as soon as nothing
//! else is to be done, as while a request is under way. Leases and requests take real time, so
//! their timers must not be tokio's then: they would fire at once, or be armed again and again. One
//! thread for the whole process wakes their tasks; it ends when there is none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// A runtime with a paused clock was seen in this process: the others need not be looked at.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Looks whether the clock of the current runtime is paused, from now on for every timer.
pub(crate) fn look() {
    if is_paused() {
        SEEN.store(true, Ordering::Relaxed);
    }
}

/// Whether timers of the current runtime are not in real time.
pub(crate) fn is_needed() -> bool {
    SEEN.load(Ordering::Relaxed) && is_paused()
}

/// Whether the clock of the current runtime stands still while time passes.
fn is_paused() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let theirs = tokio::time::Instant::now();
    let ours = Instant::now();
    while Instant::now() == ours {
        std::hint::spin_loop(); // for the resolution of the clock
    }
    tokio::time::Instant::now() == theirs
}

/// Who is to be woken when.
struct Alarms {
    due: BTreeMap<(Instant, u64), Waker>,
    has_thread: bool,
}

static ALARMS: Mutex<Alarms> = Mutex::new(Alarms {
    due: BTreeMap::new(),
    has_thread: false,
});
static BELL: Condvar = Condvar::new();

fn alarms() -> MutexGuard<'static, Alarms> {
    ALARMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a task at a moment, unless it is dropped before.
#[derive(Debug)]
#[must_use = "dropping it takes the alarm back"]
pub(crate) struct Alarm((Instant, u64));

impl Alarm {
    /// Wakes it after `time`. `None`: the thread cannot be started.
    pub(crate) fn set(time: Duration, waker: &Waker) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let alarm = Self((Instant::now() + time, NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut alarms = alarms();
        if !alarms.has_thread {
            let thread = std::thread::Builder::new().name("latchwork-real-time".into());
            thread.stack_size(64 * 1024).spawn(run).ok()?;
            alarms.has_thread = true;
        }
        alarms.due.insert(alarm.0, waker.clone());
        let is_first = alarms.due.first_key_value().map(|(key, _)| *key) == Some(alarm.0);
        drop(alarms);
        if is_first {
            BELL.notify_one();
        }
        Some(alarm)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let waker = alarms().due.remove(&self.0);
        drop(waker); // foreign code
    }
}

/// Wakes those whose time has come, until there are none left.
fn run() {
    let mut alarms = alarms();
    loop {
        let Some((&(when, _), _)) = alarms.due.first_key_value() else {
            alarms.has_thread = false;
            return;
        };
        let left = when.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let waker = alarms.due.pop_first().map(|(_, waker)| waker);
            drop(alarms); // a waker is foreign code
            if let Some(waker) = waker {
                waker.wake();
            }
            alarms = self::alarms();
        } else {
            alarms = BELL
                .wait_timeout(alarms, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
