//! The countdown latch: what its calls ask of the server, and what answers and messages mean for them.
//!
//! A call is an attempt like any other: its slot, its requests, its place, ticks and end are the engine's. What is
//! different: what passes holds nothing, so a pass has no deadline; and one message is for all of a client's attempts.
//!
//! - here: one attempt's requests, answers and messages;
//! - `handle`: the calls that make attempts, and inspection.

mod handle;

use crate::attempt::latch::LatchAsk;
use crate::attempt::{Attempt, Standing};
use crate::base::clock::{Moment, millis};
use crate::ops::acquire::Reading;
use crate::runtime::shared::Shared;
use crate::types::error::foreign;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::latch::OnMissing;
use crate::types::options::KEEP;
use crate::wire::request::{Answer, Request, Rest};
use crate::wire::script;

pub use handle::{Latch, LatchCall, LatchInfo};

/// How long after its `not_after` it is known at the server that a call has changed something, ms.
const MEMORY: u64 = 1000;

/// The request of an attempt. All copies of one that changes something have the same `not_after`: the mark that stops
/// the second has to outlive them all (H26, H64).
pub(crate) fn request(
    shared: &Shared,
    attempt: &Attempt,
    asked: &LatchAsk,
    room: i64,
    not_after: &mut u64,
) -> Request {
    let state = attempt.state();
    let changes = asked.changes() && !state.latch.answered;
    if changes {
        *not_after = match state.not_after {
            0 => {
                // The mark must not outlive its record.
                let patience = shared.options.unavailable_after.min(KEEP / 2);
                let over = Moment::now() + patience;
                shared.commands.server_time(over) / 1000 + 1
            }
            fixed => fixed,
        };
    }
    let generation = state.latch.generation;
    drop(state);
    let count = match asked.on_missing {
        OnMissing::Create(count) => i64::from(count),
        OnMissing::Fail => -1,
        OnMissing::Wait => -2,
    };
    Request::new(&script::LATCH, &[&*attempt.key])
        .arg(&attempt.id)
        .arg(count)
        .arg(if asked.at_once { -1 } else { room })
        .arg(millis(KEEP))
        .arg(millis(asked.keep))
        .arg(*not_after + MEMORY)
        .arg_rest([
            (
                (changes && asked.by > 0).then(|| Rest::Number(asked.by.into())),
                "0",
            ),
            (asked.once.as_deref().map(Rest::Bytes), ""),
            (
                asked.to.filter(|_| changes).map(|to| Rest::Number(to.into())),
                "-1",
            ),
            ((generation > 0).then_some(Rest::Number(generation)), "0"),
            ((!shared.keeper.is_listening()).then_some(Rest::Number(3)), "0"),
        ])
}

/// Applies an answer; its copy is no longer among those that are unanswered.
pub(crate) fn read(shared: &Shared, attempt: &Attempt, asked: &LatchAsk, answer: &Answer) -> Result<Reading> {
    let reply = &answer.reply;
    let now = Moment::now();
    let passes = |generation: u64, left: u64, stamp: Option<u64>| {
        let mut state = attempt.state();
        state.heard = now;
        let stamp = stamp.unwrap_or(state.stamp);
        state.pass(generation, u32::try_from(left).unwrap_or(u32::MAX), stamp);
        drop(state);
        Ok(Reading::Applied { queued: false })
    };
    // From the script's fast path: what is left.
    if reply.alone().is_some() {
        return passes(0, reply.count()?, None);
    }
    let stamp = reply.count_at(1)?;
    shared.commands.note_stamp(answer.sent, stamp);
    match reply.int_at(0)? {
        1 => {
            shared.note_publish(reply.int_at(4)? != 0);
            passes(reply.count_at(2)?, reply.count_at(3)?, Some(stamp))
        }
        2 => {
            let generation = reply.count_at(2)?;
            let mut state = attempt.state();
            let (spec, drift) = (&attempt.spec, shared.options.drift);
            state.apply(Standing::Queued, stamp, answer.sent, now, spec, drift);
            state.waits_for(generation);
            drop(state);
            let silence = shared.options.unavailable_after;
            shared.keeper.waiting(attempt.spec.lease, silence);
            Ok(Reading::Applied { queued: true })
        }
        3 => Ok(Reading::Busy),
        4 => {
            let mut state = attempt.state();
            state.heard = now;
            if asked.changes() && !state.latch.answered {
                if state.unanswered > 0 {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("a request came too late at the server; {}", asked.outcome()),
                    ));
                }
                // No other copy is out, so nothing was done, and our idea of the server's time was wrong.
                state.not_after = 0;
            }
            drop(state);
            Ok(Reading::Late)
        }
        6 => Err(Error::new(
            ErrorKind::QueueFull,
            format!(
                "{} wait already, the most that this client allows (max_waiters); nothing was counted",
                shared.options.max_waiters
            ),
        )),
        8 => Err(foreign()),
        9 => Err(mismatch(asked, reply.count_at(2)?)),
        10 => Err(missing()),
        11 => Err(was_reset()),
        _ => Err(Error::new(
            ErrorKind::Protocol,
            "the server says that the attempt has ended",
        )),
    }
}

fn mismatch(asked: &LatchAsk, initial: u64) -> Error {
    let ours = match asked.on_missing {
        OnMissing::Create(count) => count,
        OnMissing::Fail | OnMissing::Wait => 0,
    };
    Error::new(
        ErrorKind::Mismatch,
        format!(
            "it was made with a count of {initial}, this handle says {ours}: use one number everywhere, `open`, or `reset`"
        ),
    )
}

fn missing() -> Error {
    Error::new(
        ErrorKind::NoSuchLatch,
        "there is no such latch: nobody has made it, or it was not used for so long that the server forgot it",
    )
}

pub(crate) fn was_reset() -> Error {
    Error::new(
        ErrorKind::Reset,
        "the latch was reset: what was waited for, or counted in, is over; call again for the new generation",
    )
}
