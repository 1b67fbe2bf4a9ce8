//! The countdown latch: what its calls ask of the server, and what answers and messages mean for them.
//!
//! A call is an attempt like any other: its slot, its requests, its place, ticks and end are the engine's. What is
//! different: what passes holds nothing, so a pass has no deadline; and one message is for all of a client's attempts.
//!
//! - here: one attempt's requests, answers and messages;
//! - `handle`: the calls that make attempts, and inspection.

mod handle;

use std::sync::Arc;
use std::time::Duration;

use crate::acquire::Reading;
use crate::asking::foreign;
use crate::attempt::{Attempt, Stage, Standing, State};
use crate::clock::{Moment, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Over;
use crate::script;
use crate::shared::{KEEP, Shared};
use crate::transport::{Answer, Request, Rest};

pub use handle::{Latch, LatchCall, LatchInfo};

/// How long after its `not_after` it is known at the server that a call has changed something, ms.
const MEMORY: u64 = 1000;

/// What a call finds if nobody has made the latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnMissing {
    /// It makes it, with this count.
    Create(u32),
    /// It says so: `NoSuchLatch`.
    Fail,
    /// A wait waits until it is made, and then for zero; the others say `NoSuchLatch`.
    Wait,
}

/// Options of a latch, before they are checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LatchOptions {
    /// What happens if there is none.
    pub on_missing: OnMissing,
    /// How long a finished latch is remembered.
    pub keep: Duration,
}

impl LatchOptions {
    /// Remembered for a day.
    pub const fn new(on_missing: OnMissing) -> Self {
        Self {
            on_missing,
            keep: KEEP,
        }
    }
}

/// What one call asks.
#[derive(Debug)]
pub(crate) struct LatchAsk {
    on_missing: OnMissing,
    by: u32,
    once: Option<Arc<[u8]>>,
    to: Option<u32>,
    /// It takes whatever is left for an answer.
    at_once: bool,
    keep: Duration,
}

impl LatchAsk {
    /// Its copies must not be done twice.
    const fn changes(&self) -> bool {
        self.by > 0 || self.to.is_some()
    }

    /// What is true after a time-out.
    pub(crate) const fn outcome(&self) -> &'static str {
        if self.to.is_some() {
            "it may or may not have been reset"
        } else if self.by > 0 {
            "it may or may not have counted"
        } else {
            "the wait is being undone"
        }
    }
}

/// What an attempt knows of its latch.
#[derive(Debug, Default)]
pub(crate) struct LatchState {
    /// The generation that it waits for; 0: not known yet.
    generation: u64,
    /// It was answered: what it was to change is changed.
    answered: bool,
    /// A message about its key that came while the generation was not known.
    early: Option<(u64, Over)>,
    over: Option<Over>,
}

impl LatchState {
    /// Nothing that comes later changes anything.
    pub(crate) const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.over == Some(Over::Reset)
    }
}

impl State {
    /// The latch lets it pass. Unlike a grant this has no deadline: nothing is held.
    fn pass(&mut self, generation: u64, left: u32, stamp: u64) {
        if !matches!(self.stage, Stage::Asking | Stage::Queued) || self.latch.is_over() {
            return;
        }
        self.stamp = stamp;
        self.applied_at = Moment::now();
        self.latch.over = Some(Over::Finished);
        self.token = generation;
        self.weight = left;
        self.stage = Stage::Granted;
        self.deadline = Moment::NEVER;
        self.length = Duration::ZERO;
        self.claim = false;
        self.confirm_first = false;
        self.wake();
    }

    fn generation_over(&mut self, generation: u64, how: Over) {
        match how {
            Over::Finished => self.pass(generation, 0, self.stamp),
            Over::Reset if matches!(self.stage, Stage::Asking | Stage::Queued) => {
                self.latch.over = self.latch.over.or(Some(how));
                self.wake();
            }
            Over::Reset => {}
        }
    }

    /// It waits for this generation; whose message may have come before.
    fn waits_for(&mut self, generation: u64) {
        self.latch.answered = true;
        self.latch.generation = generation;
        if let Some((of, how)) = self.latch.early.take()
            && of == generation
        {
            self.generation_over(generation, how);
        }
    }
}

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

/// A message: a generation of the key of the attempt with this counter is over, for all who wait for it.
pub(crate) fn deliver(shared: &Shared, counter: u64, generation: u64, how: Over) {
    let named = shared.table.get(counter);
    for attempt in shared.table.all() {
        if attempt.spec.latch.is_none() || named.as_ref().is_some_and(|named| named.key != attempt.key) {
            continue;
        }
        let mut state = attempt.state();
        if !matches!(state.stage, Stage::Asking | Stage::Queued) {
            continue;
        }
        if state.latch.generation == generation {
            if named.is_some() {
                state.generation_over(generation, how);
            } else {
                // Its key is not known, and another latch might have begun in the same microsecond: only a hint.
                state.stage = Stage::Asking;
                state.wake();
            }
        } else if state.latch.generation == 0 && named.is_some() {
            state.latch.early = Some((generation, how));
        }
    }
}
