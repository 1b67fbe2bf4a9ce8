//! Everything there is at one moment: the server's record, the network, the clients, and the
//! history that the properties need.

use std::time::Duration;

use super::bounds::{Bounds, Faults, Id, START, TICK_US, Tick};
use crate::attempt::event::Ended;
use crate::attempt::lease::Lease;
use crate::attempt::state::{Stage, State};
use crate::base::clock::Moment;

/// The server's clock: the tick, and how many grants there were. So stamps rise with every grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) tick: Tick,
    pub(super) grants: u8,
}

impl Stamp {
    /// Whether this is what was said of a grant, or of a later one. The clock may have been behind
    /// by then.
    pub(super) const fn is_of_or_after(self, grant: Self) -> bool {
        self.grants >= grant.grants
    }

    pub(super) fn micros(self) -> u64 {
        u64::from(self.tick) * TICK_US + u64::from(self.grants)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hold {
    pub(super) id: Id,
    pub(super) at: Stamp,
    /// 0: shared.
    pub(super) token: u64,
    pub(super) end: Tick,
    /// `None`: a full lease; else the claims missed before this one.
    pub(super) claim: Option<u8>,
    /// The upgrade that made it exclusive.
    pub(super) upgrade: Option<Id>,
    /// History: the end that grants, renewals and confirms account for.
    pub(super) due: Tick,
    /// History: the waiter had not been seen within the window when it was granted.
    pub(super) stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) seen: Tick,
    pub(super) missed: u8,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) holds: Vec<Hold>,
    pub(super) queue: Vec<Entry>,
    /// The end of the tombstone of each attempt; 0: none.
    pub(super) tombs: Vec<Tick>,
    pub(super) grants: u8,
    pub(super) token: u64,
}

/// What the acquire future awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sent {
    /// The answer to the acquire that was sent then.
    Ask(Tick),
    /// Its turn to go with others: it asked at the first tick, and was sent at the second, if it
    /// was.
    Batch(Tick, Option<Tick>),
    /// The confirmation of its claim.
    Confirm(Tick),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    New,
    /// Until its state says that it is gone, and after.
    Begun,
    Crashed,
}

/// An attempt, and what its client knows beside its state. An attempt stands for its client:
/// nothing that matters here is shared between the attempts of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) life: Life,
    pub(super) state: State,
    pub(super) sent: Option<Sent>,
    /// When it was given up, if the end is not repeated forever.
    pub(super) given_up: Tick,
    /// The timer of its key: by the word of this stamp, it fires then.
    pub(super) timer: Option<(Stamp, Tick)>,
    /// History: the newest grant that reached the client.
    pub(super) told: Stamp,
    /// History: its guard was over by its own account.
    pub(super) was_over: bool,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            life: Life::New,
            state: State::new(START),
            sent: None,
            given_up: 0,
            timer: None,
            told: Stamp::default(),
            was_over: false,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.life == Life::Begun && matches!(self.state.stage, Stage::Gone(_))
    }

    /// The end was not answered for as long as it was repeated.
    pub(super) fn is_forgotten(&self) -> bool {
        self.life == Life::Begun && self.state.stage == Stage::Gone(Some(Ended::Unknown))
    }

    pub(super) fn is_live(&self) -> bool {
        self.life == Life::Begun && !matches!(self.state.stage, Stage::Gone(_))
    }

    /// Its future waits.
    pub(super) fn waits(&self) -> bool {
        self.life == Life::Begun
            && matches!(
                self.state.stage,
                Stage::Asking | Stage::Queued | Stage::Granted(_)
            )
    }

    pub(super) fn is_ending(&self) -> bool {
        self.life == Life::Begun && matches!(self.state.stage, Stage::Ending { .. })
    }

    /// The hold of its guard, valid or not.
    pub(super) fn guard(&self) -> Option<&Lease> {
        (self.life == Life::Begun).then(|| self.state.held()).flatten()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Answer {
    Granted {
        at: Stamp,
        token: u64,
        left: Tick,
        claim: bool,
        /// Granted just now, for the whole lease: the short form of the reply.
        fresh: bool,
    },
    Queued {
        wake: Option<Tick>,
    },
    Late,
    Ended,
    /// The hold that was to be upgraded has ended.
    BaseEnded,
    /// The batch did nothing about it.
    Declined,
    Held {
        left: Tick,
    },
    Lost,
    Gone,
}

/// What a tick asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Query {
    Place,
    Hold { token: u64 },
}

/// Who sent a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum By {
    Keeper,
    Future,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Packet {
    Acquire {
        id: Id,
        sent: Tick,
        not_after: Tick,
    },
    /// The acquires of two attempts in one request.
    Batch {
        ids: [Id; 2],
        sent: Tick,
        not_after: Tick,
    },
    Tick {
        id: Id,
        query: Query,
        by: By,
        sent: Tick,
    },
    End {
        id: Id,
        not_after: Tick,
    },
    /// To an acquire.
    Answer {
        id: Id,
        sent: Tick,
        at: Stamp,
        answer: Answer,
    },
    Ticked {
        id: Id,
        query: Query,
        by: By,
        sent: Tick,
        at: Stamp,
        answer: Answer,
    },
    Done {
        id: Id,
        had: bool,
    },
    Grant {
        id: Id,
        at: Stamp,
        token: u64,
        window: Tick,
    },
    Behind {
        id: Id,
        at: Stamp,
        left: Tick,
    },
}

impl Packet {
    pub(super) fn is_about(&self, who: Id) -> bool {
        match self {
            Self::Batch { ids, .. } => ids.contains(&who),
            Self::Acquire { id, .. }
            | Self::Tick { id, .. }
            | Self::End { id, .. }
            | Self::Answer { id, .. }
            | Self::Ticked { id, .. }
            | Self::Done { id, .. }
            | Self::Grant { id, .. }
            | Self::Behind { id, .. } => *id == who,
        }
    }

    pub(super) const fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Acquire { .. } | Self::Batch { .. } | Self::Tick { .. } | Self::End { .. }
        )
    }

    pub(super) const fn is_message(&self) -> bool {
        matches!(self, Self::Grant { .. } | Self::Behind { .. })
    }

    pub(super) const fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Answer { .. } | Self::Ticked { .. } | Self::Done { .. }
        )
    }

    /// Since when it is under way, unless it is about an end.
    pub(super) const fn since(&self) -> Option<Tick> {
        match self {
            Self::Acquire { sent, .. } | Self::Batch { sent, .. } | Self::Tick { sent, .. } => Some(*sent),
            Self::End { .. } | Self::Done { .. } => None,
            Self::Answer { at, .. }
            | Self::Ticked { at, .. }
            | Self::Grant { at, .. }
            | Self::Behind { at, .. } => Some(at.tick),
        }
    }

    /// The stamp of what the server said.
    pub(super) const fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Answer { at, .. }
            | Self::Ticked { at, .. }
            | Self::Grant { at, .. }
            | Self::Behind { at, .. } => Some(*at),
            _ => None,
        }
    }
}

/// What went wrong, if anything did: the properties look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each belongs to a property of its own"
)]
pub(super) struct Wrongs {
    pub(super) token_fell: bool,
    pub(super) overtaken: bool,
    pub(super) ended_alive: bool,
    /// A guard was handed out that was over.
    pub(super) handed_out_late: bool,
    /// A guard was handed out that cannot be confirmed in time.
    pub(super) hurried: bool,
    /// A guard that was over was valid again.
    pub(super) revived: bool,
    /// The client took a hold for lost that the server had.
    pub(super) disbelieved: bool,
}

/// Everything, with the faults that are left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: Tick,
    /// By so much the server's clock is behind: another server has taken over.
    pub(super) behind: Tick,
    pub(super) server: Server,
    pub(super) slots: Vec<Slot>,
    /// Sorted: what is under way in both directions and on both connections, in no order.
    pub(super) net: Vec<Packet>,
    pub(super) left: Faults,
    /// History: the token of the last exclusive guard that was handed out, and its owner.
    pub(super) last_guard: (u64, Option<u8>),
    pub(super) wrongs: Wrongs,
}

impl World {
    pub(super) fn empty(b: &Bounds) -> Self {
        Self {
            now: 0,
            behind: 0,
            server: Server {
                holds: Vec::new(),
                queue: Vec::new(),
                tombs: vec![0; b.wants.len()],
                grants: 0,
                token: 0,
            },
            slots: vec![Slot::new(); b.wants.len()],
            net: Vec::new(),
            left: b.faults,
            last_guard: (0, None),
            wrongs: Wrongs::default(),
        }
    }

    pub(super) fn slot(&self, id: Id) -> &Slot {
        &self.slots[usize::from(id)]
    }

    pub(super) fn at(&mut self, id: Id) -> &mut Slot {
        &mut self.slots[usize::from(id)]
    }

    /// The tick that the server's clock shows.
    pub(super) const fn server_now(&self) -> Tick {
        self.now.saturating_sub(self.behind)
    }

    /// What the server's clock shows.
    pub(super) const fn stamp(&self) -> Stamp {
        Stamp {
            tick: self.server_now(),
            grants: self.server.grants,
        }
    }

    pub(super) fn hold(&self, id: Id) -> Option<&Hold> {
        self.server.holds.iter().find(|hold| hold.id == id)
    }

    /// The guard of an attempt that is valid by its own account.
    pub(super) fn valid(&self, id: Id) -> Option<&Lease> {
        let slot = self.slot(id);
        let lease = slot.guard()?;
        let valid = slot.state.loss().is_none() && self.moment() < lease.deadline;
        valid.then_some(lease)
    }

    /// The clients' clock: requests are sent as the tick begins, and what comes in is applied a
    /// little later.
    pub(super) fn moment(&self) -> Moment {
        super::bounds::moment(self.now) + Duration::from_millis(1)
    }

    pub(super) fn is_under_way(&self, what: impl Fn(&Packet) -> bool) -> bool {
        self.net.iter().any(what)
    }

    pub(super) fn send(&mut self, packet: Packet) {
        if let Err(place) = self.net.binary_search(&packet) {
            self.net.insert(place, packet);
        }
    }

    pub(super) fn take(&mut self, packet: Packet) {
        if let Ok(place) = self.net.binary_search(&packet) {
            self.net.remove(place);
        }
    }
}
