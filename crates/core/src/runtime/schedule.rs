//! The times at which the keeper has to run, and the changes that make it run sooner.
//!
//! One lock protects all due times. A condition variable serves the thread that makes sure that the
//! keeper runs (`tasks/alarm.rs`). Each change is one critical section of a few instructions, so
//! there is no memory ordering to get wrong. See "The keeper's clock" in `docs/design.md`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::worker;
use crate::attempt::Attempt;
use crate::attempt::event::LookAt;
use crate::base::backoff::jitter;
use crate::base::clock::{Moment, nanos};

/// A waiter is seen at least this often; the engine drops one that was not seen for 10 s.
pub(crate) const TICK_MOST: Duration = Duration::from_secs(3);
/// The pauses between ticks while the inbox is down.
pub(crate) const POLL_LEAST: Duration = Duration::from_millis(25);
pub(crate) const POLL_MOST: Duration = Duration::from_millis(250);
/// The keeper's own timer comes first: it is overdue only after that.
const GRACE: Duration = Duration::from_millis(2);
/// Nobody watches the sockets for longer than this after a guard was handed out.
const ROUND: Duration = Duration::from_millis(100);
/// How often a keeper that is overdue is called.
const AGAIN: Duration = Duration::from_millis(10);
/// How long no scan is due after one that looked at an attempt, which takes about a fifth of this. With few attempts
/// it is nothing; with 50 000, however often something becomes due, scans take a fifth of a processor.
const REST: Duration = Duration::from_micros(1);
/// The longest rest: a renewal is late by this at most.
const REST_MOST: Duration = Duration::from_millis(50);

/// When to look at a key again, by what the server said at `stamp`.
#[derive(Debug, Clone, Copy)]
struct KeyTimer {
    stamp: u64,
    when: Moment,
    /// When it was armed.
    at: Moment,
}

/// The due times.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts that are told and taken one by one"
)]
struct Times {
    /// The next scan.
    scan: Moment,
    /// No scan is due before: the last one was a moment ago.
    rest: Moment,
    /// It became earlier since the alarm looked.
    moved: bool,
    /// When the places of all waiters are to be refreshed.
    tick: Moment,
    /// Tick for all waiters at the next scan: a message may have been lost (H2).
    tick_now: bool,
    /// A guard was handed out: its caller may block a worker.
    handed_out: bool,
    /// A task that wakes a worker is under way.
    unparking: bool,
    /// A thread says when the keeper has to look, so that no caller has to. There is none where callers and keeper share no
    /// thread, or only one.
    alarm: bool,
    /// Until when that thread sleeps; the past: it is awake.
    asleep_until: Moment,
    /// The client's life changed since that thread was last awake.
    life_changed: bool,
    /// When to look at a key again: behind the end of its present hold, so it fires only behind the dead (H4).
    keys: HashMap<Arc<[u8]>, KeyTimer>,
    /// None of these timers is due before.
    next_key: Moment,
}

/// What the alarm has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// Let the keeper look.
    pub(crate) look: bool,
    /// Wake a worker that may sleep: from outside its runtime, so that it watches sockets and timers then.
    pub(crate) unpark_worker: bool,
    /// The keeper is overdue: call it again soon.
    pub(crate) overdue: bool,
}

/// When the keeper has to look, and what others tell it; none of it blocks.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// There is something to end.
    pub(crate) wake: Notify,
    /// The next scan is due earlier than it was.
    pub(crate) look: Notify,
    times: Mutex<Times>,
    bell: Condvar,
    listening: AtomicBool,
    /// Publishing is refused, so no messages arrive.
    deaf: AtomicBool,
    /// The longest pause between two ticks while an attempt waits.
    tick_most: Duration,
    /// The worst lateness so far, in nanoseconds.
    lateness: AtomicU64,
    /// That of the last scan.
    latest: AtomicU64,
}

impl Schedule {
    pub(crate) fn new(unavailable_after: Duration) -> Self {
        Self {
            wake: Notify::new(),
            look: Notify::new(),
            times: Mutex::new(Times {
                scan: Moment::NEVER,
                rest: Moment::from_nanos(0),
                moved: false,
                tick: Moment::NEVER,
                tick_now: false,
                handed_out: false,
                unparking: false,
                alarm: false,
                asleep_until: Moment::from_nanos(0),
                life_changed: false,
                keys: HashMap::new(),
                next_key: Moment::NEVER,
            }),
            bell: Condvar::new(),
            listening: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            // A waiter gets its answers from ticks, and must not mistake the pause between two for silence.
            tick_most: TICK_MOST.min(unavailable_after / 3),
            lateness: AtomicU64::new(0),
            latest: AtomicU64::new(0),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to do at `when`, at the latest.
    pub(crate) fn no_later_than(&self, when: Moment) {
        self.change(when, |_| {});
    }

    /// Changes the due times, and wakes the alarm if it would sleep past `when`.
    fn change(&self, when: Moment, change: impl FnOnce(&mut Times)) {
        let mut times = self.times();
        change(&mut times);
        let when = when.max(times.rest);
        if when >= times.scan {
            return;
        }
        times.scan = when;
        times.moved = true;
        let (alarm, ring) = (times.alarm, when < times.asleep_until);
        drop(times);
        if !alarm {
            self.look.notify_one();
        } else if ring {
            self.bell.notify_one();
        }
    }

    /// The client's life changed: the keeper and the alarm look what it is now.
    pub(crate) fn wake_all(&self) {
        self.wake.notify_one();
        self.change(Moment::from_nanos(0), |times| times.life_changed = true);
        self.bell.notify_one();
        self.look.notify_one();
    }

    /// The guard of this attempt is being handed out, and its hold is to be looked at then.
    pub(crate) fn hand_out(&self, attempt: &Arc<Attempt>, due: Moment, driver: &Handle) {
        let mut alarm = false;
        self.change(due, |times| {
            times.handed_out = true;
            alarm = times.alarm;
        });
        if worker::holds_another(attempt) && alarm {
            // Two tasks more push out what is in the slot, to where others steal it.
            for _ in 0..2 {
                drop(driver.spawn(async {}));
            }
        }
    }

    /// An attempt with this lease waits at `now`. It gives up when the server is silent for `silence`.
    pub(crate) fn waiting(&self, now: Moment, lease: Duration, silence: Duration) {
        let pause = if self.is_listening() {
            self.tick_most.min(lease / 3).min(silence / 3)
        } else {
            POLL_LEAST
        };
        self.tick_no_later_than(now + pause);
    }

    pub(crate) fn tick_no_later_than(&self, when: Moment) {
        self.change(when, |times| times.tick = times.tick.min(when));
    }

    /// All waiters tick at once: what was under way, or a message, may be lost.
    pub(crate) fn tick_now(&self) {
        self.change(Moment::now(), |times| times.tick_now = true);
    }

    /// Arms the timer of a key. An older word never overrides a newer one (rule 4). 5 to 25 ms late, so that the living are
    /// first and clients do not come together; a next step follows at once.
    pub(crate) fn look_at(&self, key: &Arc<[u8]>, look: &LookAt) {
        let when = if look.is_next_step {
            look.when
        } else {
            look.when + Duration::from_millis(5) + jitter(Duration::from_millis(20))
        };
        let timer = KeyTimer {
            stamp: look.stamp,
            when,
            at: Moment::now(), // a scan may have begun since the event
        };
        self.change(when, |times| {
            times.next_key = times.next_key.min(when);
            let armed = times.keys.entry(Arc::clone(key)).or_insert(timer);
            if look.stamp >= armed.stamp || look.sent.is_some_and(|sent| sent >= armed.at) {
                *armed = timer;
            }
        });
    }

    /// When the next scan is due.
    pub(crate) fn due(&self) -> Moment {
        self.times().scan
    }

    /// Begins a scan: anything that becomes due from now on is set anew. Returns when the places of all waiters are due, and
    /// whether they are due at once.
    pub(crate) fn begin_scan(&self) -> (Moment, bool) {
        let mut times = self.times();
        times.scan = Moment::NEVER;
        (
            std::mem::replace(&mut times.tick, Moment::NEVER),
            std::mem::take(&mut times.tick_now),
        )
    }

    /// Ends a scan of this many attempts: something is due at `next` at the latest, but nothing for a while.
    pub(crate) fn end_scan(&self, next: Moment, attempts: usize) {
        let rest = REST.saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX));
        let rest = Moment::now() + rest.min(REST_MOST);
        self.change(next, |times| {
            times.rest = rest;
            if times.scan < Moment::NEVER {
                times.scan = times.scan.max(rest); // what became due during the scan
            }
        });
    }

    /// Takes the keys whose time has come at `now`, and returns the next time. A timer that was armed since is left: the
    /// caller may not have seen the attempt that began to wait.
    pub(crate) fn due_keys(&self, now: Moment) -> (HashSet<Arc<[u8]>>, Moment) {
        let mut due = HashSet::new();
        let mut times = self.times();
        if now < times.next_key {
            return (due, times.next_key);
        }
        let mut next = Moment::NEVER;
        times.keys.retain(|key, timer| {
            if timer.when <= now && timer.at < now {
                due.insert(Arc::clone(key));
                return false;
            }
            next = next.min(timer.when.max(now + Duration::from_millis(1)));
            true
        });
        times.next_key = next;
        drop(times);
        (due, next)
    }

    /// Forgets the keys for which `waits` is false, unless they were armed since `now`: then an attempt began to wait
    /// that the caller has not seen.
    pub(crate) fn forget_keys(&self, now: Moment, waits: impl Fn(&Arc<[u8]>) -> bool) {
        self.times()
            .keys
            .retain(|key, timer| timer.at >= now || waits(key));
    }
}

/// The alarm's side.
impl Schedule {
    /// From now on a thread says when the keeper has to look.
    pub(crate) fn set_alarm(&self) {
        self.times().alarm = true;
    }

    /// What the alarm has to do now.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "one critical section, a few instructions long"
    )]
    pub(crate) fn next_call(&self) -> Call {
        let mut times = self.times();
        let overdue = Moment::now() >= times.scan + GRACE;
        let moved = std::mem::take(&mut times.moved);
        let handed_out = std::mem::take(&mut times.handed_out);
        // One at a time, however long all workers are blocked.
        let unpark_worker = (handed_out || overdue) && !times.unparking;
        times.unparking |= unpark_worker;
        Call {
            look: moved || overdue,
            unpark_worker,
            overdue,
        }
    }

    /// A worker has run what was to wake it.
    pub(crate) fn worker_unparked(&self) {
        self.times().unparking = false;
    }

    /// Sleeps until there may be something for the alarm to do.
    pub(crate) fn sleep(&self, overdue: bool) {
        let mut times = self.times();
        let now = Moment::now();
        let until = if overdue {
            now + AGAIN
        } else if times.scan < Moment::NEVER {
            (times.scan + GRACE).min(now + ROUND)
        } else {
            Moment::NEVER
        };
        times.asleep_until = until;
        // A time that moved since the last call is no later than `until`, or is checked then. A
        // change of the client's life counts by itself: the keeper may have scanned since, and then
        // nothing is due any longer.
        while !(times.life_changed || times.moved && times.scan < until) {
            let left = until.since(Moment::now());
            if left.is_zero() {
                break;
            }
            let left = left.min(Duration::from_secs(3600));
            let woken = self.bell.wait_timeout(times, left);
            times = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        times.asleep_until = Moment::from_nanos(0);
        times.life_changed = false; // the caller checks the life next
    }
}

/// What is known of the inbox, and how late the keeper was.
impl Schedule {
    /// Whether grants arrive by message.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed) && !self.deaf.load(Ordering::Relaxed)
    }

    /// Whether publishing is refused; `true`: that is news.
    pub(crate) fn set_deaf(&self, now: bool) -> bool {
        let news = self.deaf.swap(now, Ordering::Relaxed) != now;
        if news {
            self.tick_now(); // waiters have to poll from now on, or no longer need to
        }
        news
    }

    /// The inbox was subscribed, or lost.
    pub(crate) fn set_listening(&self, now: bool) {
        if self.listening.swap(now, Ordering::Relaxed) != now {
            self.tick_now();
        }
    }

    pub(crate) fn lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness.load(Ordering::Relaxed))
    }

    /// How late the last scan was.
    pub(crate) fn latest(&self) -> Duration {
        Duration::from_nanos(self.latest.load(Ordering::Relaxed))
    }

    /// How late the next scan is by now.
    pub(crate) fn overdue(&self) -> Duration {
        let due = self.due();
        // The end of the client's life is due at once.
        if due == Moment::from_nanos(0) {
            return Duration::ZERO;
        }
        Moment::now().since(due)
    }

    /// A scan begins this late.
    pub(crate) fn note_scan(&self, late: Duration) {
        self.latest.store(nanos(late), Ordering::Relaxed);
        self.note_lateness(late);
    }

    pub(crate) fn note_lateness(&self, late: Duration) {
        self.lateness.fetch_max(nanos(late), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn after_a_scan_of_many_attempts_nothing_is_due_for_a_while() {
        let schedule = Schedule::new(Duration::from_secs(30));
        for (attempts, rest) in [(0, 0), (20_000, 20), (usize::MAX, 50)] {
            let before = Moment::now();
            schedule.begin_scan();
            schedule.no_later_than(before); // during the scan
            schedule.end_scan(Moment::NEVER, attempts);
            schedule.tick_now(); // after it
            let rest = Duration::from_millis(rest);
            assert!(schedule.due() >= before + rest, "{attempts} attempts");
            assert!(schedule.due() <= Moment::now() + rest, "and no longer");
        }
    }

    #[test]
    fn h4_the_timer_of_a_key_is_due_once_and_forgotten_when_nobody_waits() {
        let schedule = Schedule::new(Duration::from_secs(30));
        let keys: [Arc<[u8]>; 2] = [b"a".as_slice().into(), b"b".as_slice().into()];
        let start = Moment::now();
        for (key, seconds) in keys.iter().zip([1, 2]) {
            let when = start + Duration::from_secs(seconds);
            let (stamp, sent) = (1, None);
            schedule.look_at(
                key,
                &LookAt {
                    when,
                    stamp,
                    sent,
                    is_next_step: false,
                },
            );
        }
        let (due, next) = schedule.due_keys(start + Duration::from_millis(500));
        assert!(due.is_empty(), "none yet");
        assert!(next >= start + Duration::from_secs(1), "but soon: {next:?}");
        let later = start + Duration::from_millis(1500);
        let (due, next) = schedule.due_keys(later);
        assert!(due.len() == 1 && due.contains(&keys[0]), "{due:?}");
        assert!(next >= start + Duration::from_secs(2), "the other one");
        assert!(schedule.due_keys(later).0.is_empty(), "once");
        schedule.forget_keys(later, |_| false);
        let (due, next) = schedule.due_keys(start + Duration::from_secs(9));
        assert!(due.is_empty() && next == Moment::NEVER, "forgotten");
    }

    #[test]
    fn an_alarm_hears_of_the_end_though_the_keeper_scans_between() {
        let schedule = Arc::new(Schedule::new(Duration::from_secs(30)));
        schedule.set_alarm();
        schedule.next_call();
        schedule.wake_all();
        schedule.begin_scan();
        let (awake, done) = mpsc::channel();
        let alarm = Arc::clone(&schedule);
        thread::spawn(move || {
            alarm.sleep(false);
            awake.send(()).expect("the test waits");
        });
        let slept = done.recv_timeout(Duration::from_secs(5));
        slept.expect("it looks at the client's life, which may be over");
    }
}
