//! When the keeper has to look, and what others tell it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::worker;
use crate::attempt::Attempt;
use crate::base::backoff::jitter;
use crate::base::clock::Moment;

/// A waiter is seen at least this often; the engine drops one that was not seen for 10 s.
pub(crate) const TICK_MOST: Duration = Duration::from_secs(3);
/// The pauses between ticks while the inbox is down.
pub(crate) const POLL_LEAST: Duration = Duration::from_millis(25);
pub(crate) const POLL_MOST: Duration = Duration::from_millis(250);
/// Nobody watches the sockets for longer than this after a guard was handed out.
pub(crate) const ROUND: Duration = Duration::from_millis(100);

/// When to look at a key again, by what the server said at `stamp`.
#[derive(Debug, Clone, Copy)]
struct Alarm {
    stamp: u64,
    when: Moment,
    /// When it was armed.
    at: Moment,
}

/// What others tell the keeper; none of it blocks.
#[derive(Debug)]
pub(crate) struct KeeperLink {
    /// There is something to end.
    pub(crate) wake: Notify,
    /// The next scan is due earlier than it was.
    pub(crate) look: Notify,
    /// The thread that says so, so that no caller has to: see `alarm`. None where callers and keeper share no thread, or only one.
    alarm: OnceLock<Thread>,
    stirred: AtomicBool,
    /// It sleeps until it is woken.
    resting: AtomicBool,
    /// A guard was handed out: its caller may block a worker.
    handed_out: AtomicBool,
    /// A task that wakes a worker is under way.
    nudging: AtomicBool,
    /// The next scan, as nanoseconds of a `Moment`.
    due: AtomicU64,
    listening: AtomicBool,
    /// Publishing is refused: nobody is told anything.
    deaf: AtomicBool,
    /// The longest pause between two ticks of somebody who waits.
    pub(crate) tick_most: Duration,
    /// When the places of all waiters are to be refreshed, likewise.
    tick_at: AtomicU64,
    /// Tick for all waiters at the next scan: a message may have been lost (H2).
    tick_now: AtomicBool,
    /// When to look at a key again: behind the end of its present hold, so it fires only behind the dead (H4).
    keys: Mutex<HashMap<Arc<[u8]>, Alarm>>,
    /// The worst lateness so far, in nanoseconds.
    lateness: AtomicU64,
}

impl KeeperLink {
    pub(crate) fn new(unavailable_after: Duration) -> Self {
        Self {
            wake: Notify::new(),
            look: Notify::new(),
            alarm: OnceLock::new(),
            stirred: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            handed_out: AtomicBool::new(false),
            nudging: AtomicBool::new(false),
            due: AtomicU64::new(Moment::NEVER.nanos()),
            tick_at: AtomicU64::new(Moment::NEVER.nanos()),
            listening: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            // A waiter hears of the server by ticks, and must not take a pause between two for silence.
            tick_most: TICK_MOST.min(unavailable_after / 3),
            tick_now: AtomicBool::new(false),
            keys: Mutex::new(HashMap::new()),
            lateness: AtomicU64::new(0),
        }
    }

    /// There is something to do at `when`, at the latest.
    pub(crate) fn no_later_than(&self, when: Moment) {
        if self.due.fetch_min(when.nanos(), Ordering::SeqCst) > when.nanos() {
            self.stir(when);
        }
    }

    /// Something is due at `when` that was not before.
    fn stir(&self, when: Moment) {
        self.stirred.store(true, Ordering::SeqCst);
        match self.alarm.get() {
            // It looks by itself before that, unless it rests.
            Some(_) if when > Moment::now() + ROUND * 2 && !self.resting.load(Ordering::SeqCst) => {}
            Some(thread) => thread.unpark(),
            None => self.look.notify_one(),
        }
    }

    /// From now on this thread says when the keeper has to look.
    pub(crate) fn set_alarm(&self, thread: Thread) {
        if self.alarm.set(thread).is_ok() {
            self.stir(Moment::now()); // for what came before
        }
    }

    /// The client's life changed: the alarm may end.
    pub(crate) fn rouse(&self) {
        self.wake.notify_one();
        self.stir(Moment::now());
    }

    /// The guard of this attempt is being handed out, and its hold is to be looked at then.
    pub(crate) fn hand_out(&self, attempt: &Arc<Attempt>, due: Moment, driver: &Handle) {
        self.handed_out.store(true, Ordering::Relaxed);
        self.no_later_than(due);
        if worker::holds_another(attempt) && self.alarm.get().is_some() {
            // Two tasks more push out what is in the slot, to where others steal it.
            for _ in 0..2 {
                drop(driver.spawn(async {}));
            }
        }
    }

    /// Whether it has to look anew, and whether guards were handed out, since this was asked.
    pub(crate) fn heard(&self) -> (bool, bool) {
        (
            self.stirred.swap(false, Ordering::SeqCst),
            self.handed_out.swap(false, Ordering::Relaxed),
        )
    }

    /// A scan begins: what is due from now on is set anew.
    pub(crate) fn begin_scan(&self) {
        self.due.swap(Moment::NEVER.nanos(), Ordering::SeqCst);
    }

    /// Takes the time at which the places of all waiters are to be refreshed.
    pub(crate) fn take_tick_at(&self) -> Moment {
        Moment::from_nanos(self.tick_at.swap(Moment::NEVER.nanos(), Ordering::AcqRel))
    }

    /// Whether all waiters are to tick at once; says so once.
    pub(crate) fn take_tick_now(&self) -> bool {
        self.tick_now.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn due(&self) -> Moment {
        Moment::from_nanos(self.due.load(Ordering::SeqCst))
    }

    /// Whether the alarm may sleep until it is woken: nothing is due. From then on `stir` wakes it.
    pub(crate) fn rests(&self) -> bool {
        self.resting.store(true, Ordering::SeqCst);
        let rests = self.due() == Moment::NEVER && !self.stirred.load(Ordering::SeqCst);
        self.resting.store(rests, Ordering::SeqCst);
        rests
    }

    pub(crate) fn begin_nudge(&self) -> bool {
        !self.nudging.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn end_nudge(&self) {
        self.nudging.store(false, Ordering::SeqCst);
    }

    pub(crate) fn rested(&self) {
        self.resting.store(false, Ordering::SeqCst);
    }

    /// An attempt of this lease waits now, and gives up after so much `silence` of the server.
    pub(crate) fn waiting(&self, lease: Duration, silence: Duration) {
        let pause = if self.is_listening() {
            self.tick_most.min(lease / 3).min(silence / 3)
        } else {
            POLL_LEAST
        };
        self.tick_no_later_than(Moment::now() + pause);
    }

    pub(crate) fn tick_no_later_than(&self, when: Moment) {
        self.tick_at.fetch_min(when.nanos(), Ordering::AcqRel);
        self.no_later_than(when);
    }

    /// Arms the timer of a key by what the server said at `stamp` in answer to a request of `sent` (`None`: a message).
    /// An older word never overrides a newer one (rule 4). 5 to 25 ms late, so that the living are first and clients do
    /// not come together.
    pub(crate) fn look_at(&self, attempt: &Attempt, when: Moment, stamp: u64, sent: Option<Moment>) {
        let when = when + Duration::from_millis(5) + jitter(Duration::from_millis(20));
        let alarm = Alarm {
            stamp,
            when,
            at: Moment::now(),
        };
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let armed = keys.entry(Arc::clone(&attempt.key)).or_insert(alarm);
        if stamp < armed.stamp && sent.is_none_or(|sent| sent < armed.at) {
            return;
        }
        *armed = alarm;
        drop(keys);
        self.no_later_than(when);
    }

    /// The keys whose time has come at `now`, and the next time; forgets keys for which `waits` is false, unless they were
    /// armed since: then somebody came to wait whom the caller has not seen.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "one critical section, a few instructions long"
    )]
    pub(crate) fn due_keys(
        &self,
        now: Moment,
        waits: impl Fn(&Arc<[u8]>) -> bool,
    ) -> (Vec<Arc<[u8]>>, Moment) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        let mut next = Moment::NEVER;
        keys.retain(|key, alarm| {
            if !waits(key) {
                next = next.min(alarm.when.max(now + Duration::from_millis(1)));
                return alarm.at >= now;
            }
            if alarm.when <= now {
                due.push(Arc::clone(key));
                return false;
            }
            next = next.min(alarm.when);
            true
        });
        (due, next)
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed) && !self.deaf.load(Ordering::Relaxed)
    }

    /// Whether publishing is refused; `true`: that is news.
    pub(crate) fn set_deaf(&self, now: bool) -> bool {
        let news = self.deaf.swap(now, Ordering::Relaxed) != now;
        if news {
            self.reconnected(); // those who wait have to poll from now on, or need not any more
        }
        news
    }

    /// The inbox was subscribed, or lost.
    pub(crate) fn set_listening(&self, now: bool) {
        let before = self.listening.swap(now, Ordering::Relaxed);
        if before != now {
            self.tick_now.store(true, Ordering::Relaxed);
            self.no_later_than(Moment::now());
        }
    }

    /// The command connection is a new one: what was under way may be lost.
    pub(crate) fn reconnected(&self) {
        self.tick_now.store(true, Ordering::Relaxed);
        self.no_later_than(Moment::now());
    }

    pub(crate) fn lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness.load(Ordering::Relaxed))
    }

    pub(crate) fn note_lateness(&self, late: Duration) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.lateness.fetch_max(nanos, Ordering::Relaxed);
    }
}
