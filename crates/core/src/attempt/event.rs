//! What may happen to an attempt, and what follows.

use std::time::Duration;

use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::wire::message::{Message, Over};
use crate::wire::reply::{AcquireReply, Had, LatchReply, TickItem};

/// What may happen to an attempt. A reply comes with the moment before its request was `sent`, and the server's `stamp`
/// in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A copy of its acquire is being sent, which the server refuses after `not_after`, milliseconds of its clock.
    Asked { not_after: u64 },
    /// That copy was not run, and will not be.
    NotAsked,
    /// A copy of its acquire was answered; `None`: by something unreadable.
    Answered {
        reply: Option<AcquireReply>,
        stamp: u64,
        sent: Moment,
    },
    /// The same of an attempt that asks a latch.
    LatchAnswered { reply: Option<LatchReply>, sent: Moment },
    /// A message came.
    Told(Message),
    /// A generation of its latch is over; `named`: the message names an attempt of the same latch.
    GenerationOver { generation: u64, how: Over, named: bool },
    /// The keeper looks what has to be done about it.
    Scanned,
    /// Its place is to be refreshed.
    Refreshing,
    /// A tick's answer about it.
    Ticked {
        asked: Asked,
        item: TickItem,
        stamp: u64,
        sent: Moment,
    },
    /// A tick of the keeper's with it is over, answered or not; `renewal`: of its hold, not of its place.
    TickOver { renewal: bool },
    /// The request that was to confirm its claim came to nothing.
    ConfirmFailed,
    /// Its future is polled.
    Polled,
    /// It has taken over a hold, whose guard is handed out at once.
    TakenOver,
    /// Something about its hold.
    Hold(HoldEvent),
    /// Its future or guard was dropped: the keeper sends the end.
    GivenUp,
    /// Something about its end.
    End(EndEvent),
    /// The client's life ends; `closing`: live holds are released.
    ClientClosed { closing: bool },
}

/// What may happen to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HoldEvent {
    /// Somebody looks whether it is still held.
    Looked,
    /// It was renewed along with something else.
    Renewed { left: Duration, sent: Moment },
    /// No renewal reaches past this moment.
    Capped(Moment),
    /// It was made exclusive.
    Upgraded { token: u64, weight: u32 },
    /// Its guard is being released, by somebody who sends the end.
    Releasing,
    /// Its guard is given up without an end.
    Left,
}

/// What may happen to the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EndEvent {
    /// A copy is being sent.
    Sent,
    /// That copy was not run, and will not be.
    NotSent,
    /// A copy was answered.
    Answered(Had),
    /// No more are sent.
    Over(Ended),
}

/// What a tick asked about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// To renew (or confirm) the hold with this token for so long.
    Hold { token: u64, lease: Duration },
    /// To refresh its place.
    Place,
}

/// What the ends of an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    /// It had something, and gave it up.
    GaveUp,
    /// It had nothing any more.
    HadNothing,
    /// No answer until its time was over.
    Unknown,
}

/// What the acquire future has to do next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    #[default]
    Wait,
    /// Send acquire (again).
    Ask,
    /// Renew the claim with this token before it is handed out.
    Confirm(u64),
    /// It is held from now on: make its guard.
    HandOut,
    /// The latch lets it pass.
    Pass { left: u32 },
    /// The latch was reset.
    Reset,
    /// The client is closed.
    Closed,
}

/// When to look at the key again, by what the server said at `stamp` in answer to a request of `sent`; `None`: by a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LookAt {
    pub(crate) when: Moment,
    pub(crate) stamp: u64,
    pub(crate) sent: Option<Moment>,
}

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent effects, not a state in disguise"
)]
pub(crate) struct Effects {
    /// Wake the future that acquires or releases.
    pub(crate) wake: bool,
    /// Wake those who wait for the end of the hold.
    pub(crate) wake_watchers: bool,
    /// Put it into the queue of those to be ended.
    pub(crate) enqueue: bool,
    /// Its slot is free.
    pub(crate) free: bool,
    /// It waits: its place has to be refreshed in time.
    pub(crate) waits: bool,
    /// A guard is out.
    pub(crate) held: bool,
    /// Its place may be refreshed: nothing about it is under way.
    pub(crate) refresh: bool,
    /// A tick's item about it came to nothing.
    pub(crate) failed: bool,
    /// A request that must not be done twice came too late, while a copy is under way.
    pub(crate) unsure: bool,
    /// The hold was lost just now.
    pub(crate) lost: Option<Loss>,
    /// Renew the hold with this token.
    pub(crate) renew: Option<u64>,
    /// By how much that is late.
    pub(crate) late: Duration,
    /// The keeper has to look again then.
    pub(crate) due: Moment,
    pub(crate) look_at: Option<LookAt>,
    pub(crate) step: Step,
    pub(crate) ended: Option<Ended>,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            wake: false,
            wake_watchers: false,
            enqueue: false,
            free: false,
            waits: false,
            held: false,
            refresh: false,
            failed: false,
            unsure: false,
            lost: None,
            renew: None,
            late: Duration::ZERO,
            due: Moment::NEVER,
            look_at: None,
            step: Step::Wait,
            ended: None,
        }
    }
}
