//! The events of an attempt, and their effects.

use std::time::Duration;

use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::wire::message::{Message, Over};
use crate::wire::reply::{AcquireReply, Had, LatchReply, TickItem};

/// An event of an attempt. A reply carries the moment just before its request was `sent`, and the server's `stamp` in
/// microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A copy of the acquire is being sent. The server refuses it after `not_after` (milliseconds, server clock).
    Asked { not_after: u64 },
    /// That copy waited, and is sent now. From now on the server refuses it after `not_after`.
    Sending { not_after: u64 },
    /// That copy was not run and never will be.
    NotAsked,
    /// A copy of the acquire was answered. `None` means that the answer could not be read.
    Answered {
        reply: Option<AcquireReply>,
        stamp: u64,
        sent: Moment,
    },
    /// The same for an attempt on a latch.
    LatchAnswered { reply: Option<LatchReply>, sent: Moment },
    /// A message arrived.
    Told(Message),
    /// A generation of a latch is over. `named` means that the message is known to be about the same latch.
    GenerationOver { generation: u64, how: Over, named: bool },
    /// The keeper checks what is due.
    Scanned,
    /// The place in the queue is due for a refresh.
    Refreshing,
    /// A tick answered for this attempt.
    Ticked {
        asked: Asked,
        item: TickItem,
        stamp: u64,
        sent: Moment,
    },
    /// A tick that included this attempt is over, answered or not. `renewal` means that it was about the hold.
    TickOver { renewal: bool },
    /// The request that should have confirmed the claim failed.
    ConfirmFailed,
    /// The acquire future is polled.
    Polled,
    /// The future is polled while the confirmation of its grant is under way.
    PolledConfirming,
    /// The attempt took over an existing hold; its guard is handed out at once.
    TakenOver,
    /// An event of the hold.
    Hold(HoldEvent),
    /// The future or guard was dropped: the keeper sends the end.
    GivenUp,
    /// An event of the end.
    End(EndEvent),
    /// A different server has taken over, or the same one has restarted: its clock and its data may
    /// differ. `late`: messages of the one before may still arrive.
    ServerChanged { late: bool },
    /// The client is closed. If `closing`, live holds are released.
    ClientClosed { closing: bool },
}

/// An event of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HoldEvent {
    /// The hold is inspected.
    Looked,
    /// It was renewed as part of another request.
    Renewed { left: Duration, sent: Moment },
    /// Renewals must not extend it past this moment.
    Capped(Moment),
    /// Another attempt is taking its place at the server.
    Converting,
    /// Its guard will not be handed out: it does not have to stay in use for its least time.
    NeverBegan,
    /// It was made exclusive.
    Upgraded { token: u64, weight: u32 },
    /// The guard is being released, and the caller sends the end. What it holds stays in use until
    /// then.
    Releasing { until: Moment },
    /// The guard is given up without sending an end. A claim is confirmed first.
    Left,
}

/// An event of the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EndEvent {
    /// A copy is being sent.
    Sent,
    /// That copy was not run and never will be.
    NotSent,
    /// The claim that was left cannot be confirmed any more.
    NotConfirmed,
    /// A copy was answered.
    Answered(Had),
    /// No further copy is sent.
    Over(Ended),
}

/// What a tick requested for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// Renew (or confirm) the hold with this token for `lease`.
    Hold { token: u64, lease: Duration },
    /// Refresh the place in the queue.
    Place,
}

/// The result of ending an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    /// It held something, which is released.
    GaveUp,
    /// It no longer held anything.
    HadNothing,
    /// The same: its hold was forced open.
    Forced,
    /// No answer arrived in time.
    Unknown,
}

/// What the acquire future does next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    #[default]
    Wait,
    /// Send acquire (again).
    Ask,
    /// Renew the claim with this token before it is handed out.
    Confirm(u64),
    /// The hold is ours: make its guard.
    HandOut,
    /// The latch is open. `more`: something is left to follow up.
    Pass { left: u32, more: bool },
    /// The latch was reset.
    Reset,
    /// The client is closed.
    Closed,
}

/// When to look at the key again, according to the server at `stamp`: in answer to a request of `sent`, or in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LookAt {
    pub(crate) when: Moment,
    pub(crate) stamp: u64,
    pub(crate) sent: Option<Moment>,
    /// A step met its bound, and this is the next one.
    pub(crate) is_next_step: bool,
}

/// The effects of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent effects, not a state in disguise"
)]
pub(crate) struct Effects {
    /// Wake the future that acquires or releases.
    pub(crate) wake: bool,
    /// Wake the tasks that wait for the end of the hold.
    pub(crate) wake_watchers: bool,
    /// Queue the attempt to be ended.
    pub(crate) enqueue: bool,
    /// Free its slot in the table.
    pub(crate) free: bool,
    /// The attempt waits: its place needs refreshing.
    pub(crate) waits: bool,
    /// A guard exists.
    pub(crate) held: bool,
    /// Refresh the place: no request about it is under way.
    pub(crate) refresh: bool,
    /// The tick failed for this attempt.
    pub(crate) failed: bool,
    /// A request that must not run twice was late while another copy is under way.
    pub(crate) unsure: bool,
    /// The hold was lost just now.
    pub(crate) lost: Option<Loss>,
    /// Renew the hold with this token.
    pub(crate) renew: Option<u64>,
    /// How late that is.
    pub(crate) late: Duration,
    /// When the keeper has to look again.
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
