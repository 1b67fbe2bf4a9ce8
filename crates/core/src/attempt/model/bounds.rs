//! What one exploration covers: attempts, times, faults, and the rules that are in force.

use std::time::Duration;

use crate::attempt::rules::{Rule, Rules};
use crate::attempt::spec::{Mode, Share, Spec};
use crate::base::clock::Moment;
use crate::types::options::Drift;
use crate::wire::id::Base;

/// The number of an attempt.
pub(super) type Id = u8;
/// Time in ticks. Everything that happens within one tick happens in any order.
pub(super) type Tick = u8;

/// One tick on the clock of a client.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// The same on the server's clock, in microseconds.
pub(super) const TICK_US: u64 = 1_000_000;
/// The keeper looks at this part of a tick, so that what is due within the tick is done in it.
pub(super) const LATE_IN_TICK: Duration = Duration::from_millis(900);
/// The client's clock at tick 0. It has nothing to do with the server's.
pub(super) const START: Moment = Moment::from_nanos(1_000_000_000_000);

pub(super) fn ticks(number: Tick) -> Duration {
    TICK * u32::from(number)
}

/// The client's clock at a tick.
pub(super) fn moment(tick: Tick) -> Moment {
    START + ticks(tick)
}

/// A rule of the scripts, or of the client outside the state machine, that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    /// Rule 2: an acquire that arrives too late changes nothing (H35).
    NotAfter,
    /// Rule 1: a renewal counts only for the token that it names.
    RenewToken,
    /// Rule 1: an acquire for an id that holds extends nothing (H26).
    NoExtend,
    /// Every script settles first, so that nobody barges.
    SettleFirst,
    /// Rule 6: a hand-off to a waiter that may be dead also tells the waiter behind it.
    TellBehind,
    /// Rule 6: if the waiter that was told leaves, the next one is told.
    TellHead,
    /// Somebody looks at the record in every tick: so no claim that is over is found long after.
    Busy,
    /// The driver does not send an acquire again on its own (H27).
    SentOnce,
    /// What an earlier server said by message is not applied once another one has taken over.
    InboxLeft,
    /// The least `not_after` of a batch counts for all its members.
    LeastNotAfter,
    /// A member of a batch with an unknown outcome counts one more copy when it asks again.
    CopyCounted,
    /// An owner that holds is granted again, whoever waits.
    ReentryOvertakes,
    /// All waiters of one owner share a ticket.
    OwnerTicket,
    /// An upgrade goes before the queue.
    UpgradeFirst,
    /// An upgrade looks for its own base, not only for a share of the same weight.
    UpgradeBase,
    /// A later upgrade of one hold takes over what an earlier one was granted.
    UpgradeCounter,
    /// The end of an upgrade that was granted makes the hold shared again.
    UpgradeUndone,
}

/// The laws in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laws(u32);

impl Laws {
    pub(super) const ALL: Self = Self(0);

    pub(super) const fn without(law: Law) -> Self {
        Self(1 << law as u32)
    }

    pub(super) const fn has(self, law: Law) -> bool {
        self.0 & (1 << law as u32) == 0
    }
}

/// How many faults of each kind a run may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// Messages, requests and replies that vanish.
    pub(super) lost: u8,
    /// Requests that are run once more, at any later time; messages that arrive twice.
    pub(super) doubled: u8,
    /// Clients that die.
    pub(super) crashes: u8,
    /// Requests that time out at the client while they, or their replies, are still under way.
    pub(super) timeouts: u8,
    /// Other servers that take over, with the whole record and a clock that is a tick behind.
    pub(super) switches: u8,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        lost: 0,
        doubled: 0,
        crashes: 0,
        timeouts: 0,
        switches: 0,
    };
}

/// What an attempt asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// What it takes of the capacity; all of it is exclusive.
    pub(super) weight: u8,
    /// Whose hold it is, of a reentrant lock.
    pub(super) owner: Option<u8>,
    /// The shared hold that is to be made exclusive.
    pub(super) base: Option<Id>,
    /// It starts when this one was given up.
    pub(super) after: Option<Id>,
}

impl Want {
    /// All of a mutex.
    pub(super) const ALL: Self = Self::share(1);

    pub(super) const fn share(weight: u8) -> Self {
        Self {
            weight,
            owner: None,
            base: None,
            after: None,
        }
    }

    pub(super) const fn of(owner: u8) -> Self {
        let mut want = Self::ALL;
        want.owner = Some(owner);
        want
    }

    pub(super) const fn upgrade(base: Id, whole: u8) -> Self {
        let mut want = Self::share(whole);
        want.base = Some(base);
        want
    }

    pub(super) const fn after(mut self, id: Id) -> Self {
        self.after = Some(id);
        self
    }
}

/// The bounds of one exploration.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bound of its own")]
pub(super) struct Bounds {
    pub(super) laws: Laws,
    /// A rule of the state machine that is switched off.
    pub(super) without: Option<Rule>,
    pub(super) faults: Faults,
    pub(super) capacity: u8,
    pub(super) wants: &'static [Want],
    /// Attempts start in their order, which removes the symmetric runs of equal ones.
    pub(super) in_order: bool,
    pub(super) last_tick: Tick,
    pub(super) lease: Tick,
    pub(super) window: Tick,
    /// From the sending of an acquire to its `not_after`.
    pub(super) grace: Tick,
    pub(super) patience: Tick,
    /// For how long an unanswered end is repeated; 0: forever.
    pub(super) forget: Tick,
    /// The timers of waiters are modelled.
    pub(super) timers: bool,
    /// Futures are dropped before they resolve.
    pub(super) cancel: bool,
    /// Acquires go together.
    pub(super) batched: bool,
    /// User code may block the keeper's thread (rule 7).
    pub(super) same_thread: bool,
    /// The servers are nodes of a cluster: what one has said still arrives when another one has
    /// taken over.
    pub(super) passed_on: bool,
    /// The run begins with guards and a queue: this many attempts have asked, each was answered.
    pub(super) contended: Id,
}

impl Bounds {
    /// The same without a rule of the state machine.
    pub(super) const fn without(self, rule: Rule) -> Self {
        Self {
            without: Some(rule),
            ..self
        }
    }

    /// The same without a rule of the scripts, or of the client around the state machine.
    pub(super) const fn unlawful(self, law: Law) -> Self {
        Self {
            laws: Laws::without(law),
            ..self
        }
    }

    pub(super) fn ids(&self) -> std::ops::Range<Id> {
        0..Id::try_from(self.wants.len()).unwrap_or(Id::MAX)
    }

    pub(super) fn want(&self, id: Id) -> &Want {
        &self.wants[usize::from(id)]
    }

    pub(super) fn is_exclusive(&self, id: Id) -> bool {
        self.want(id).weight >= self.capacity
    }

    /// What the transitions of this attempt depend on, as the client derives it. An owner's hold is
    /// a mutex's to it.
    pub(super) fn rules(&self, id: Id) -> Rules {
        let want = self.want(id);
        let mut spec = Spec::exclusive(ticks(self.lease));
        let share = |weight: u8| Share {
            weight: u32::from(weight),
            capacity: u32::from(self.capacity),
            ..Share::ALL
        };
        spec.mode = match want.base {
            None => Mode::Lock(share(want.weight)),
            Some(base) => {
                let weight = self.want(base).weight;
                let origin = Base {
                    counter: u64::from(base),
                    weight: u32::from(weight),
                    window: 1,
                };
                Mode::Upgrade(share(weight), origin)
            }
        };
        let drift = Drift { parts_per_million: 0 };
        let rules = Rules::of(&spec, drift, self.same_thread);
        match self.without {
            Some(rule) => rules.without(rule),
            None => rules,
        }
    }
}
