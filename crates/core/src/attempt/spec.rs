//! The request that an attempt makes, and the options of its hold.

use std::sync::Arc;
use std::time::Duration;

use super::ask::LatchAsk;
use crate::base::clock::millis;
use crate::types::durability::Durability;
use crate::types::options::{OnMismatch, Renew};
use crate::types::owner::Owner;
use crate::wire::id::{self, Base, Inbox, Kin};
use crate::wire::pace::Pace;
use crate::wire::request::Capacity;

/// The longest head start, in ms: 24.8 days.
pub const MAX_HEAD_START: i64 = 1 << 31;

/// What an attempt asks for, and how its hold is to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) lease: Duration,
    pub(crate) renew: Renew,
    pub(crate) max_hold: Option<Duration>,
    /// It is held for at least this long from its start, whatever ends it.
    pub(crate) at_least: Option<Duration>,
    /// The most entries that the queue may have; the client's limit if `None`.
    pub(crate) max_waiters: Option<u32>,
    /// What for: inspections show it.
    pub(crate) purpose: Option<Arc<str>>,
    /// How far a grant has to get before its guard is handed out.
    pub(crate) durability: Durability,
    pub(crate) mode: Mode,
}

/// What kind of hold it is.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    /// A part of a lock; all of it is exclusive.
    Lock(Share),
    /// Of a reentrant lock: the holds of one owner do not exclude each other.
    Owned(Owner),
    /// All of a lock, for a holder that shares it.
    Upgrade(Share, Base),
    /// A part of what is counted: every hold is shared, and the record says how much there is.
    Counted {
        weight: u32,
        /// What the record is made with.
        capacity: u32,
        /// The rate at which its permits start.
        pace: Option<Pace>,
        numbers: Numbers,
    },
    /// Nothing: it passes a latch.
    Latch(Arc<LatchAsk>),
}

/// What a handle of a counted primitive says about its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    /// What happens if the record has others.
    pub(crate) on_mismatch: OnMismatch,
    /// How long the record lives after its last use, if its numbers were set.
    pub(crate) keep: Duration,
    /// How far ahead a permit may start; `None`: a period of the rate.
    pub(crate) max_wait: Option<Duration>,
}

/// A part of a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) weight: u32,
    pub(crate) capacity: u32,
    /// The token of an exclusive hold must be above it; 0: any.
    pub(crate) floor: u64,
    /// The head start in the queue, in ms; negative: it lets others go first. `None`: its place does not count in time.
    pub(crate) ahead: Option<i64>,
}

impl Share {
    /// All of a plain mutex.
    pub(crate) const ALL: Self = Self {
        weight: 1,
        capacity: 1,
        floor: 0,
        ahead: None,
    };
}

impl Spec {
    /// Of a plain mutex.
    pub(crate) const fn exclusive(lease: Duration) -> Self {
        Self {
            lease,
            renew: Renew::Watchdog,
            max_hold: None,
            at_least: None,
            max_waiters: None,
            purpose: None,
            durability: Durability::Primary,
            mode: Mode::Lock(Share::ALL),
        }
    }

    /// The lease of a grant: if the process dies, it is not free before its least time is over.
    pub(crate) fn first_lease(&self) -> Duration {
        self.at_least.map_or(self.lease, |least| self.lease.max(least))
    }

    /// What it takes of the capacity.
    pub(crate) const fn weight(&self) -> u32 {
        match &self.mode {
            Mode::Lock(share) => share.weight,
            Mode::Upgrade(share, _) => share.capacity,
            Mode::Counted { weight, .. } => *weight,
            Mode::Owned(_) | Mode::Latch(_) => 1,
        }
    }

    /// Returns the spec for this weight.
    pub(crate) fn with_weight(&self, weight: u32) -> Self {
        let mut spec = self.clone();
        match &mut spec.mode {
            Mode::Lock(share) | Mode::Upgrade(share, _) => share.weight = weight,
            Mode::Counted { weight: of, .. } => *of = weight,
            Mode::Owned(_) | Mode::Latch(_) => {}
        }
        spec
    }

    /// How much there is, as the handle has it.
    pub(crate) const fn whole(&self) -> u32 {
        match &self.mode {
            Mode::Lock(share) | Mode::Upgrade(share, _) => share.capacity,
            Mode::Counted { capacity, .. } => *capacity,
            Mode::Owned(_) => 1,
            Mode::Latch(_) => 0, // so that nothing is ever handed to its waiters
        }
    }

    /// The capacity as the scripts take it.
    pub(crate) const fn capacity(&self) -> Capacity {
        let whole = self.whole();
        match &self.mode {
            Mode::Upgrade(..) => Capacity::upgrade(whole),
            Mode::Counted { .. } => Capacity::counted(whole),
            Mode::Lock(_) | Mode::Owned(_) | Mode::Latch(_) => Capacity::of(whole),
        }
    }

    pub(crate) const fn is_counted(&self) -> bool {
        matches!(self.mode, Mode::Counted { .. })
    }

    /// Whether others may hold beside it; then it has no token.
    pub(crate) const fn is_shared(&self) -> bool {
        self.is_counted() || self.weight() < self.whole()
    }

    /// Whether its requests may go with others: one that has to go alone after all loses its turn to those that came later
    /// in between, and a mutex promises no order.
    pub(crate) const fn is_batched(&self) -> bool {
        matches!(
            &self.mode,
            Mode::Lock(Share {
                capacity: 1,
                ahead: None,
                ..
            })
        )
    }

    /// What the token must be above; 0: any, or it has none, being shared.
    pub(crate) const fn floor(&self) -> u64 {
        match &self.mode {
            Mode::Lock(share) if share.weight < share.capacity => 0,
            Mode::Lock(share) | Mode::Upgrade(share, _) => share.floor,
            Mode::Owned(_) | Mode::Counted { .. } | Mode::Latch(_) => 0,
        }
    }

    /// Its head start in the queue, if its place counts in time.
    pub(crate) const fn ahead(&self) -> Option<i64> {
        match &self.mode {
            Mode::Lock(share) | Mode::Upgrade(share, _) => share.ahead,
            Mode::Owned(_) | Mode::Counted { .. } | Mode::Latch(_) => None,
        }
    }

    /// The rate at which its permits start.
    pub(crate) const fn pace(&self) -> Option<&Pace> {
        match &self.mode {
            Mode::Counted { pace, .. } => pace.as_ref(),
            _ => None,
        }
    }

    /// What the handle says about its numbers, of a counted primitive.
    pub(crate) const fn numbers(&self) -> Option<&Numbers> {
        match &self.mode {
            Mode::Counted { numbers, .. } => Some(numbers),
            _ => None,
        }
    }

    /// Whether the client's record is to say more of its attempts from the beginning: their purpose, a head start, or
    /// since when they wait, if their ids do not.
    pub(crate) fn is_told(&self) -> bool {
        self.purpose.is_some() || self.priority() != 0 || self.is_upgrade()
    }

    /// Its head start in the queue, unless it is the longest one, which is no priority of its own.
    pub(crate) fn priority(&self) -> i64 {
        let ahead = self.ahead().unwrap_or(0);
        if ahead.abs() < MAX_HEAD_START { ahead } else { 0 }
    }

    pub(crate) const fn is_upgrade(&self) -> bool {
        matches!(self.mode, Mode::Upgrade(..))
    }

    /// What it asks of a latch, if that is what it is about.
    pub(crate) const fn latch(&self) -> Option<&Arc<LatchAsk>> {
        match &self.mode {
            Mode::Latch(asked) => Some(asked),
            _ => None,
        }
    }

    /// Whose hold it is, of a reentrant one.
    pub(crate) const fn owner(&self) -> Option<&Owner> {
        match &self.mode {
            Mode::Owned(owner) => Some(owner),
            _ => None,
        }
    }

    /// The owner in Redis; `window` in ms.
    pub(crate) fn id(&self, client: (&str, Inbox), counter: u64, window: u64) -> String {
        let kin = match &self.mode {
            Mode::Owned(owner) => Kin::Owner(*owner),
            Mode::Upgrade(_, base) => Kin::Base(*base),
            Mode::Lock(_) | Mode::Counted { .. } | Mode::Latch(_) => Kin::None,
        };
        id::format(
            client,
            counter,
            kin,
            (self.weight(), millis(self.first_lease()), window),
        )
    }
}
