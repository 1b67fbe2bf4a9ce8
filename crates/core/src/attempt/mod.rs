//! One attempt: its id, what it wants, and the state that everybody who hears of it changes.
//!
//! The states are drawn in `docs/design.md`. Whoever changes one holds the lock for a few instructions and never
//! across an await. Replies and messages are applied by the server's stamp, never by arrival.

pub(crate) mod latch;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use redis::{RedisWrite, ToRedisArgs};

use self::latch::{LatchAsk, LatchState};
use crate::base::clock::{Moment, millis};
use crate::runtime::shared::Shared;
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::types::options::Drift;
use crate::types::options::Renew;
use crate::types::owner::Owner;
use crate::wire::pace::Pace;

/// Characters of most ids.
const ID: usize = 48;

/// What an attempt asks for, and how its hold is to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) lease: Duration,
    pub(crate) weight: u32,
    pub(crate) capacity: u32,
    /// Every hold is shared, and the record says how much there is.
    pub(crate) counted: bool,
    pub(crate) renew: Renew,
    pub(crate) max_hold: Option<Duration>,
    /// The token of an exclusive hold must be above it; 0: any.
    pub(crate) floor: u64,
    pub(crate) kin: Kin,
    /// The head start in the queue, in ms; negative: it lets others go first. `None`: nobody compares it with the time.
    pub(crate) ahead: Option<i64>,
    /// The most entries that the queue may have; the client's limit if `None`.
    pub(crate) max_waiters: Option<u32>,
    /// Of a counted primitive: the rate at which its permits start.
    pub(crate) pace: Option<Pace>,
    /// What it asks of a latch, if that is what it is about.
    pub(crate) latch: Option<Arc<LatchAsk>>,
}

/// Which holds an attempt is related to. It is part of the id, so the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    None,
    /// Those of this owner: they do not exclude it, and it overtakes the queue.
    Owner(Owner),
    /// This one, which it is to make exclusive; it goes before the queue, and what it is granted is the hold, changed.
    Base(Base),
}

/// The hold that is to be upgraded; with the lease, the same, this is its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) counter: u64,
    pub(crate) weight: u32,
    /// Its claim window, ms.
    pub(crate) window: u64,
}

/// A capacity as the scripts take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Capacity {
    number: u32,
    /// What the number is followed by; `None`: nothing.
    suffix: Option<char>,
}

impl ToRedisArgs for Capacity {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self.suffix {
            None => self.number.write_redis_args(out),
            Some(suffix) => out.write_arg_fmt(format_args!("{}{suffix}", self.number)),
        }
    }
}

impl Spec {
    /// Of a plain mutex.
    pub(crate) const fn exclusive(lease: Duration) -> Self {
        Self {
            lease,
            weight: 1,
            capacity: 1,
            counted: false,
            renew: Renew::Watchdog,
            max_hold: None,
            floor: 0,
            kin: Kin::None,
            ahead: None,
            max_waiters: None,
            pace: None,
            latch: None,
        }
    }

    /// The capacity as the scripts take it.
    pub(crate) const fn capacity(&self) -> Capacity {
        let suffix = match self.kin {
            Kin::Base(_) => Some('u'),
            _ if self.counted => Some('c'),
            _ => None,
        };
        Capacity {
            number: self.capacity,
            suffix,
        }
    }

    /// Whether others may hold beside it; then it has no token.
    pub(crate) const fn is_shared(&self) -> bool {
        self.counted || self.weight < self.capacity
    }

    /// Whether its requests may go with others: one that has to go alone after all loses its turn to those that came later
    /// in between, and a mutex promises no order.
    pub(crate) fn goes_with_others(&self) -> bool {
        self.capacity == 1 && !self.counted && self.kin == Kin::None && self.ahead.is_none()
    }

    /// What the token must be above; 0: any, or it has none, being shared.
    pub(crate) const fn floor(&self) -> u64 {
        if self.is_shared() { 0 } else { self.floor }
    }

    /// The most entries that its queue may have.
    pub(crate) fn max_waiters(&self, shared: &Shared) -> u32 {
        self.max_waiters.unwrap_or(shared.options.max_waiters)
    }

    /// `<client>.<counter><kin>:<weight>:<lease ms>:<claim window ms>`: the owner in Redis.
    pub(crate) fn id(&self, client: &str, counter: u64, window: u64) -> String {
        let mut id = String::with_capacity(ID);
        let mut digits = itoa::Buffer::new();
        id.push_str(client);
        id.push('.');
        id.push_str(digits.format(counter));
        let mut window = window;
        match self.kin {
            Kin::None => {}
            Kin::Owner(owner) => {
                id.push('@');
                id.push_str(&owner.to_string());
            }
            Kin::Base(base) => {
                window = base.window;
                id.push('^');
                id.push_str(digits.format(base.counter));
                id.push('-');
                id.push_str(digits.format(base.weight));
            }
        }
        for number in [u64::from(self.weight), millis(self.lease), window] {
            id.push(':');
            id.push_str(digits.format(number));
        }
        id
    }
}

/// One call of an acquire function.
pub(crate) struct Attempt {
    /// See [`Spec::id`]; the owner in Redis.
    pub(crate) id: String,
    pub(crate) counter: u64,
    pub(crate) key: Arc<[u8]>,
    pub(crate) name: Name,
    pub(crate) spec: Spec,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is known, or the place was lost: acquire has to be sent (again).
    Asking,
    /// In the queue.
    Queued,
    /// Granted, not yet handed out.
    Granted,
    /// A guard is out.
    Held,
    /// To be ended at the server.
    Ending,
    /// Nothing of it is left at the server.
    Gone,
}

/// What an `end` came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It had something, and gave it up.
    GaveUp,
    /// It had nothing any more.
    HadNothing,
    /// No answer until its time was over.
    Unknown,
}

#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state in disguise"
)]
pub(crate) struct State {
    pub(crate) stage: Stage,
    /// Why the hold ended; set once, never taken back.
    pub(crate) loss: Option<Loss>,
    /// The client is closing: the future answers `Closed`.
    pub(crate) closed: bool,
    /// The newest stamp that was applied, microseconds of the server.
    pub(crate) stamp: u64,
    /// When it was applied: what was asked for after that is newer, whatever its stamp.
    pub(crate) applied_at: Moment,
    /// Send instant and stamp of the last reply about this attempt.
    pub(crate) sample: Option<(Moment, u64)>,
    /// The first send.
    pub(crate) started: Moment,
    /// When the last usable answer came.
    pub(crate) heard: Moment,
    /// Copies of acquire that were not answered.
    pub(crate) unanswered: u32,
    /// Copies of end that were not answered.
    pub(crate) end_unanswered: u32,
    /// The latest `not_after` that was sent, milliseconds of the server.
    pub(crate) not_after: u64,
    /// In the queue of those to be ended.
    pub(crate) ending_queued: bool,
    pub(crate) ended: Option<Ended>,

    pub(crate) token: u64,
    /// What it has of the capacity, if it holds.
    pub(crate) weight: u32,
    /// When what was granted may start.
    pub(crate) start: Moment,
    /// From here on the hold is not to be relied on.
    pub(crate) deadline: Moment,
    /// No renewal reaches past this.
    pub(crate) cap: Moment,
    /// How long the grant was for; zero once it was confirmed.
    pub(crate) length: Duration,
    /// A claim: a hand-off that was not renewed yet.
    pub(crate) claim: bool,
    /// Renew before handing it out.
    pub(crate) confirm_first: bool,
    pub(crate) due: Moment,
    /// A renewal is under way.
    pub(crate) busy: bool,
    /// A refresh of the place is under way.
    pub(crate) refreshing: bool,
    /// What is known of the latch.
    pub(crate) latch: LatchState,

    /// The acquire future, or the one that awaits the end.
    waker: Option<Waker>,
    /// Those who await `lost()`.
    watchers: Vec<(u64, Waker)>,
    next_watcher: u64,
}

/// A reply about a hold or place, from acquire or tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Granted {
        token: u64,
        left: Duration,
        claim: bool,
        /// How long until it may start, if the server said so.
        delay: Option<Duration>,
    },
    Queued,
    /// Not in the queue.
    Missing,
}

/// What the acquire future has to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Take,
    Confirm,
    Ask,
    Wait,
    Closed,
    /// The latch was reset.
    Reset,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Attempt {
    pub(crate) fn new(id: String, counter: u64, key: Arc<[u8]>, name: Name, spec: Spec) -> Self {
        let now = Moment::now();
        let state = State {
            stage: Stage::Asking,
            loss: None,
            closed: false,
            stamp: 0,
            applied_at: now,
            sample: None,
            started: now,
            heard: now,
            unanswered: 0,
            end_unanswered: 0,
            not_after: 0,
            ending_queued: false,
            ended: None,
            token: 0,
            weight: spec.weight,
            start: now,
            deadline: now,
            cap: Moment::NEVER,
            length: Duration::ZERO,
            claim: false,
            confirm_first: false,
            due: Moment::NEVER,
            busy: false,
            refreshing: false,
            latch: LatchState::default(),
            waker: None,
            watchers: Vec::new(),
            next_watcher: 0,
        };
        Self {
            id,
            counter,
            key,
            name,
            spec,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the hold can still be relied on at `now`; notes it for ever if not.
    pub(crate) fn check(&self, now: Moment) -> Option<Loss> {
        self.state().check(now)
    }
}

impl State {
    /// Lost is the server's word, or the deadline's; it never turns back (rule 9).
    pub(crate) fn check(&mut self, now: Moment) -> Option<Loss> {
        if self.loss.is_none() && self.stage == Stage::Held && now >= self.deadline {
            self.lose(Loss::Expired);
        }
        self.loss
    }

    pub(crate) fn lose(&mut self, loss: Loss) {
        if self.loss.is_none() {
            self.loss = Some(loss);
            self.wake_watchers();
            self.wake(); // it may sleep until it may start
        }
    }

    pub(crate) fn wake_watchers(&mut self) {
        for (_, waker) in self.watchers.drain(..) {
            waker.wake();
        }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The acquire future is being polled: it need not be woken by what it hears, or another worker would be, too.
    pub(crate) fn hush(&mut self) {
        self.waker = None;
    }

    pub(crate) fn watch_for(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Registers a watcher of the hold's end; `key` is its own, made at its first call.
    pub(crate) fn add_watcher(&mut self, key: &mut Option<u64>, cx: &Context<'_>) {
        let own = *key.get_or_insert_with(|| {
            self.next_watcher += 1;
            self.next_watcher
        });
        match self.watchers.iter_mut().find(|(other, _)| *other == own) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.watchers.push((own, cx.waker().clone())),
        }
    }

    pub(crate) fn remove_watcher(&mut self, key: u64) {
        self.watchers.retain(|(other, _)| *other != key);
    }

    /// Applies what a reply with this stamp says, sent at `sent`. An older word never overwrites a newer one.
    pub(crate) fn apply(
        &mut self,
        standing: Standing,
        stamp: u64,
        sent: Moment,
        now: Moment,
        spec: &Spec,
        drift: Drift,
    ) {
        self.heard = now;
        self.sample = Some((sent, stamp));
        if self.latch.is_over() || !matches!(self.stage, Stage::Asking | Stage::Queued | Stage::Granted) {
            return;
        }
        // A request that was sent after the newer word had come is newer still: the clock was set back (H49).
        if stamp < self.stamp && sent < self.applied_at {
            return;
        }
        self.stamp = stamp;
        self.applied_at = now;
        match standing {
            Standing::Granted {
                token,
                left,
                claim,
                delay,
            } => {
                if let Some(delay) = delay {
                    self.start = now + delay; // the server's is no later
                }
                // After a backward step of its clock the server may say more than a lease (H49).
                let left = left.min(spec.lease);
                let deadline = sent + left.saturating_sub(drift.margin(left));
                self.grant(token, deadline, claim, left, now, spec);
            }
            Standing::Queued => self.stage = Stage::Queued,
            Standing::Missing => {
                if self.stage != Stage::Asking {
                    self.stage = Stage::Asking;
                    self.wake();
                }
            }
        }
    }

    /// A message says that it waits; the reply that says so may still be on its way, or be older.
    pub(crate) fn apply_queued(&mut self, stamp: u64) {
        if stamp >= self.stamp && self.stage == Stage::Asking {
            self.stamp = stamp;
            self.applied_at = Moment::now();
            self.stage = Stage::Queued;
        }
    }

    /// Applies the news that a hold of this attempt was forced open; `true`: a guard was out.
    pub(crate) fn apply_forced(&mut self, stamp: u64) -> bool {
        if stamp < self.stamp {
            return false; // it is about an earlier hold
        }
        match self.stage {
            Stage::Held => {
                self.lose(Loss::Forced);
                return true;
            }
            Stage::Asking | Stage::Queued | Stage::Granted => {
                self.stamp = stamp;
                self.applied_at = Moment::now();
                self.stage = Stage::Asking;
                self.wake();
            }
            Stage::Ending | Stage::Gone => {}
        }
        false
    }

    /// Applies a grant message.
    pub(crate) fn apply_message(
        &mut self,
        token: u64,
        stamp: u64,
        window: Duration,
        receipt: Moment,
        spec: &Spec,
        drift: Drift,
    ) {
        if stamp < self.stamp || !matches!(self.stage, Stage::Asking | Stage::Queued) {
            return;
        }
        self.stamp = stamp;
        self.applied_at = receipt;
        let window = window.min(spec.lease);
        // Rule 5: a message has no send instant of its own.
        let mut start = self.started;
        let mut stepped = false;
        if let Some((sent, before)) = self.sample {
            start = sent + Duration::from_micros(stamp.saturating_sub(before));
            stepped = start > receipt + STEP;
        }
        let deadline = start.min(receipt) + window.saturating_sub(drift.margin(window));
        // What an upgrade is granted is a hold that is renewed by itself.
        let claim = !matches!(spec.kin, Kin::Base(_));
        self.grant(token, deadline, claim, window, receipt, spec);
        self.confirm_first |= stepped;
    }

    fn grant(
        &mut self,
        token: u64,
        deadline: Moment,
        claim: bool,
        length: Duration,
        now: Moment,
        spec: &Spec,
    ) {
        self.stage = Stage::Granted;
        self.token = token;
        self.deadline = deadline;
        self.claim = claim;
        self.length = length;
        self.confirm_first = false;
        if now >= deadline || (spec.floor() > 0 && token <= spec.floor()) {
            // Only a hint (rule 5), or a token that the caller may not use: acquire has the answer.
            self.stage = Stage::Asking;
        }
        self.wake();
    }

    /// Applies a renewal's reply. The deadline is looked at first (rule 9).
    pub(crate) fn renewed(&mut self, left: Duration, sent: Moment, now: Moment, drift: Drift) {
        self.heard = now;
        if self.check(now).is_some() || !matches!(self.stage, Stage::Held | Stage::Granted) {
            return;
        }
        let deadline = (sent + left.saturating_sub(drift.margin(left))).min(self.cap);
        self.deadline = self.deadline.max(deadline);
        self.claim = false;
        self.confirm_first = false;
        self.length = Duration::ZERO;
    }

    /// Decides for the acquire future; hands out a grant that is good.
    pub(crate) fn next(&mut self, cx: &Context<'_>, now: Moment, same_thread: bool, spec: &Spec) -> Next {
        if self.closed {
            return Next::Closed;
        }
        if self.latch.was_reset() {
            return Next::Reset;
        }
        self.watch_for(cx);
        match self.stage {
            Stage::Asking => Next::Ask,
            Stage::Granted if now >= self.deadline => {
                self.stage = Stage::Asking;
                Next::Ask
            }
            Stage::Granted => {
                let late = self.deadline.since(now) < self.length / 2;
                if self.confirm_first || late || (self.claim && same_thread) {
                    return Next::Confirm;
                }
                self.take(now, spec);
                Next::Take
            }
            _ => Next::Wait,
        }
    }

    /// A guard is handed out.
    pub(crate) fn take(&mut self, now: Moment, spec: &Spec) {
        self.stage = Stage::Held;
        if let Some(most) = spec.max_hold {
            self.cap = now.max(self.start) + most;
            self.deadline = self.deadline.min(self.cap);
        }
        self.schedule(now, spec);
        self.waker = None;
    }

    /// When the keeper has to look at a hold again.
    pub(crate) fn schedule(&mut self, now: Moment, spec: &Spec) {
        let left = self.deadline.since(now);
        self.due = if self.claim {
            // At half the window, and not of what is left: at least half of it, two round trips, is left for the answer.
            now.max(self.deadline - self.length / 2)
        } else if (spec.renew == Renew::Watchdog || now < self.start) && self.deadline < self.cap {
            // Before its start nobody has it who could renew it.
            // A third of the lease after it was last renewed.
            self.deadline - (spec.lease * 2 / 3).min(left)
        } else {
            self.deadline
        };
    }
}

/// A message whose grant lies this much after its receipt proves a clock step; less may be drift.
const STEP: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests;
