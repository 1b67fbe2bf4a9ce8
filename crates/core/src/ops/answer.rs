//! Applies the answer to an acquire, and tells its future what it means: applied, busy, late, or an
//! error.

use std::sync::Arc;
use std::time::Duration;

use super::request::Wait;
use crate::attempt::Attempt;
use crate::attempt::ask::LatchAsk;
use crate::attempt::event::Event;
use crate::attempt::spec::Spec;
use crate::attempt::state::State;
use crate::base::clock::Moment;
use crate::runtime::shared::Shared;
use crate::types::error::{Error, ErrorKind, Result, floor_ahead, foreign};
use crate::types::latch::OnMissing;
use crate::wire::reply::{AcquireReply, LatchReply};
use crate::wire::value::Answer;

/// The meaning of an answer for the future.
pub(super) enum Reading {
    /// The state of the attempt now reflects the answer. `queued`: the attempt waits.
    Applied {
        queued: bool,
    },
    Busy,
    /// The server knows only after another request.
    Again,
    /// The request reached the server too late: ask again.
    Late,
}

/// Applies an answer to the attempt whose future is being polled.
pub(super) fn apply(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    answer: &Answer,
    wait: Wait,
    now: Moment,
) -> Result<Reading> {
    if let Some(asked) = attempt.spec.latch() {
        return apply_to_latch(shared, attempt, asked, answer, now);
    }
    let sent = answer.sent;
    let read = AcquireReply::read(&answer.reply);
    let (stamp, reply) = match &read {
        Ok((stamp, reply)) => (*stamp, Some(*reply)),
        Err(_) => (0, None),
    };
    if attempt.spec.is_shared() && attempt.with(State::has_heard) {
        // It waited before, so its id does not say since when it holds.
        match reply {
            Some(AcquireReply::Fresh) => shared.tell(attempt, stamp),
            Some(AcquireReply::Granted(grant)) => shared.tell(attempt, attempt.granted_at(&grant, stamp)),
            _ => {}
        }
    }
    let event = Event::Answered { reply, stamp, sent };
    shared.on_while_polled(attempt, event, now);
    let (stamp, reply) = read?;
    answer.note_stamp(stamp);
    match reply {
        AcquireReply::Fresh | AcquireReply::Granted(_) => Ok(Reading::Applied { queued: false }),
        AcquireReply::Queued { .. } => Ok(Reading::Applied { queued: true }),
        AcquireReply::Busy { more: true } => Ok(Reading::Again),
        AcquireReply::Busy { more: false } => Ok(Reading::Busy),
        AcquireReply::Late => Ok(Reading::Late),
        // To a caller with a time limit, a start after it is the same as busy.
        AcquireReply::TooLate(_) if wait != Wait::Forever => Ok(Reading::Busy),
        refused => Err(refusal(shared, &attempt.spec, refused)),
    }
}

fn apply_to_latch(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    asked: &LatchAsk,
    answer: &Answer,
    now: Moment,
) -> Result<Reading> {
    let sent = answer.sent;
    let read = LatchReply::read(&answer.reply);
    let reply = read.as_ref().ok().map(|(_, reply)| *reply);
    let event = Event::LatchAnswered { reply, sent };
    let effects = shared.on_while_polled(attempt, event, now);
    let (stamp, reply) = read?;
    if let Some(stamp) = stamp {
        answer.note_stamp(stamp);
    }
    Err(match reply {
        LatchReply::Passed { refused, .. } => {
            shared.note_publish(refused);
            return Ok(Reading::Applied { queued: false });
        }
        LatchReply::Left(_) => return Ok(Reading::Applied { queued: false }),
        LatchReply::Queued { .. } => return Ok(Reading::Applied { queued: true }),
        LatchReply::Unfinished => return Ok(Reading::Busy),
        LatchReply::Late { .. } if effects.unsure => Error::new(
            ErrorKind::Unavailable,
            format!("a request came too late at the server; {}", asked.outcome()),
        ),
        LatchReply::Late { .. } => return Ok(Reading::Late),
        LatchReply::QueueFull => Error::new(
            ErrorKind::QueueFull,
            format!(
                "{} wait already, the most that this client allows (max_waiters); nothing was counted",
                shared.options.max_waiters
            ),
        ),
        LatchReply::Foreign => foreign(),
        LatchReply::OtherCount(initial) => other_count(asked, initial),
        LatchReply::Missing => no_such_latch(),
        LatchReply::Reset => was_reset(),
        LatchReply::Ended => has_ended(),
    })
}

/// Returns whether the server refused the request before its first write.
pub(super) fn says_nothing_was_done(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::OutOfMemory
            | ErrorKind::WrongType
            | ErrorKind::QueueFull
            | ErrorKind::Invalid
            | ErrorKind::Mismatch
            | ErrorKind::TooLarge
            | ErrorKind::TooLate
            | ErrorKind::NoSuchLatch
            | ErrorKind::Reset
    )
}

/// The error for an answer that ends the future.
fn refusal(shared: &Shared, spec: &Spec, reply: AcquireReply) -> Error {
    match reply {
        AcquireReply::QueueFull => Error::new(
            ErrorKind::QueueFull,
            format!(
                "the queue already has {} waiters, the most that it may have (max_waiters)",
                shared.max_waiters(spec)
            ),
        ),
        AcquireReply::FloorAhead => floor_ahead(),
        AcquireReply::Foreign => foreign(),
        AcquireReply::OtherCapacity(capacity) => Error::new(
            ErrorKind::Mismatch,
            format!(
                "it has {capacity} permits, this handle says {}: use one number everywhere, or `on_mismatch`, or `resize`, after which the handles' numbers do not matter",
                spec.whole()
            ),
        ),
        AcquireReply::TooLarge(capacity) => Error::new(
            ErrorKind::TooLarge,
            format!(
                "requested {} permits, but the semaphore has only {capacity}; call `resize` to raise the limit",
                spec.weight(),
            ),
        ),
        AcquireReply::BaseEnded(why) => Error::lost(why.loss()),
        AcquireReply::TooLate(delay) => too_late(delay),
        AcquireReply::OtherRate => Error::new(
            ErrorKind::Mismatch,
            "it was made with another rate, or without one: use one rate everywhere, or `on_mismatch`, or `set_rate`, after which the handles' rates do not matter",
        ),
        AcquireReply::Ended
        | AcquireReply::Fresh
        | AcquireReply::Granted(_)
        | AcquireReply::Queued { .. }
        | AcquireReply::Busy { .. }
        | AcquireReply::Late => has_ended(),
    }
}

fn has_ended() -> Error {
    Error::new(ErrorKind::Protocol, "the server says that the attempt has ended")
}

fn too_late(delay: Duration) -> Error {
    Error::new(
        ErrorKind::TooLate,
        format!(
            "the next permit would start in {delay:?}, which is beyond the limit for waiting (max_wait); nothing was consumed"
        ),
    )
}

fn other_count(asked: &LatchAsk, initial: u64) -> Error {
    let ours = match asked.on_missing {
        OnMissing::Create(count) => count,
        OnMissing::Fail | OnMissing::Wait => 0,
    };
    Error::new(
        ErrorKind::Mismatch,
        format!(
            "it was made with a count of {initial}, this handle says {ours}: use one number everywhere, or `on_mismatch`, `open` or `reset`"
        ),
    )
}

pub(super) fn no_such_latch() -> Error {
    Error::new(
        ErrorKind::NoSuchLatch,
        "there is no such latch: nobody has made it, or it was not used for so long that the server forgot it",
    )
}

pub(super) fn was_reset() -> Error {
    Error::new(
        ErrorKind::Reset,
        "the latch was reset: what was waited for, or counted in, is over; call again for the new generation",
    )
}

/// The error when the server did not respond in time, or gave no usable answer: of the kind that says why.
pub(super) fn no_answer(last: Option<Error>, outcome: &str) -> Error {
    match last {
        None => Error::new(
            ErrorKind::Unavailable,
            format!("the server gave no usable answer in time; {outcome}"),
        ),
        Some(cause) if cause.kind() == ErrorKind::ReadOnly => Error::new(
            ErrorKind::ReadOnly,
            "the server is a replica or refuses writes, and no other was found in time",
        )
        .caused_by(cause),
        Some(cause) => Error::new(
            cause.kind(),
            format!("the server gave no usable answer in time ({cause}); {outcome}"),
        )
        .caused_by(cause),
    }
}
