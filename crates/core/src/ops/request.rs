//! What an acquire asks for, and the requests that it sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attempt::{Attempt, Spec};
use crate::base::clock::{Moment, millis};
use crate::connection::failure::Failure;
use crate::ops::latch;
use crate::runtime::batch::{Ask, Words};
use crate::runtime::shared::Shared;
use crate::tasks::client::Client;
use crate::tasks::keeper::tick::{Item, Kind, exchange};
use crate::types::error::{Error, ErrorKind, Result, foreign};
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::wire::request::{Answer, Reply, Request};
use crate::wire::script;

/// What a primitive asks the engine for.
#[derive(Clone)]
pub struct AcquireRequest {
    pub(crate) name: Name,
    pub(crate) key: Arc<[u8]>,
    pub(crate) spec: Spec,
}

impl fmt::Debug for AcquireRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireRequest")
            .field("name", &self.name)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// How long to wait for a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// As long as the server answers.
    Forever,
    /// Not at all: one try.
    Try,
    /// Until then.
    Until(Instant),
    /// Not at all, and all that is free is taken, whatever the weight says; of a counted primitive.
    Drain,
}

impl Wait {
    /// Zero is one try; what the clock cannot hold is for ever.
    pub fn for_duration(wait: Duration) -> Self {
        if wait.is_zero() {
            return Self::Try;
        }
        Instant::now()
            .checked_add(wait)
            .map_or(Self::Forever, Self::Until)
    }
}

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Refused before the first write.
pub(crate) fn says_nothing_was_done(error: &Error) -> bool {
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

/// The error of a reply that is none of those with which it goes on.
pub(crate) fn refusal(shared: &Shared, spec: &Spec, code: i64, reply: &Reply) -> Result<Error> {
    Ok(match code {
        6 => Error::new(
            ErrorKind::QueueFull,
            format!(
                "the queue already has {} waiters, the most that it may have (max_waiters)",
                spec.max_waiters(shared)
            ),
        ),
        7 => Error::invalid(
            "the token floor is more than a day ahead of the server's clock: is it really a fencing token of this server?",
        ),
        8 => foreign(),
        9 => Error::new(
            ErrorKind::Mismatch,
            format!(
                "it has {} permits, this handle says {}: use one number everywhere, or `resize`, after which the handles' numbers do not matter",
                reply.count_at(2)?,
                spec.capacity
            ),
        ),
        10 => Error::new(
            ErrorKind::TooLarge,
            format!(
                "{} were asked for, and it has {}: that can never be, unless somebody calls `resize`",
                spec.weight,
                reply.count_at(2)?
            ),
        ),
        11 => Error::lost(Loss::Vanished),
        12 => Error::new(
            ErrorKind::TooLate,
            format!(
                "by its rate it could start in {:?} only, which is further ahead than one period; nothing was consumed",
                Duration::from_micros(reply.count_at(2)?)
            ),
        ),
        13 => Error::new(
            ErrorKind::Mismatch,
            "it was made with another rate, or without one: use one rate everywhere, or `set_rate`, after which the handles' rates do not matter",
        ),
        _ => Error::new(ErrorKind::Protocol, "the server says that the attempt has ended"),
    })
}

fn words(shared: &Shared, spec: &Spec, room: i64) -> Words {
    Words::Acquire {
        lease: millis(spec.lease),
        life: shared.key_life_ms(spec, spec.lease),
        weight: spec.weight,
        capacity: spec.capacity(),
        room,
        floor: spec.floor(),
        polls: if shared.keeper.is_listening() { 0 } else { 3 },
        ahead: spec.ahead,
    }
}

fn acquire_request(shared: &Shared, ask: &Ask, wait: Wait) -> Request {
    let spec = &ask.attempt.spec;
    let request = Request::new(&script::ACQUIRE, &[&*ask.attempt.key]).arg(&ask.attempt.id);
    let pace = spec.pace.as_ref().map(|pace| &*pace.text);
    // Also without a rate of its own: the record may have one.
    let patience = match wait {
        _ if !spec.counted => None,
        Wait::Try | Wait::Drain => Some(Duration::ZERO),
        Wait::Until(instant) => Some(Moment::at(instant).since(Moment::now())),
        Wait::Forever => None,
    };
    let patience = patience.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    ask.words.say(shared, request, ask.not_after, pace, patience)
}

pub(crate) fn ask(client: &Client, attempt: &Arc<Attempt>, wait: Wait, over: Moment) -> Work<Answer> {
    let (client, attempt) = (client.clone(), Arc::clone(attempt));
    Box::pin(async move {
        let shared = client.shared();
        let spec = &attempt.spec;
        let usual = shared.request_deadline(spec.lease);
        let deadline = usual.min(over);
        let mut not_after = shared.commands.server_time(deadline) / 1000 + 1;
        let room = match wait {
            Wait::Try => 0,
            Wait::Drain => -1,
            Wait::Forever | Wait::Until(_) => i64::from(spec.max_waiters(shared)),
        };
        let latch = spec
            .latch
            .as_ref()
            .map(|asked| latch::request(shared, &attempt, asked, room, &mut not_after));
        {
            let mut state = attempt.state();
            state.unanswered += 1;
            state.not_after = state.not_after.max(not_after);
        }
        let result = if let Some(request) = latch {
            Box::pin(shared.commands.run(&request, deadline)).await
        } else {
            let ask = Ask {
                attempt: Arc::clone(&attempt),
                words: words(shared, spec, room),
                not_after,
                deadline,
            };
            // What is out of the ordinary in the request itself, or in a hurry, would only come back.
            let together = deadline == usual && spec.floor() == 0 && spec.goes_with_others();
            let alone = || acquire_request(shared, &ask, wait);
            shared.combiner.send(shared, &ask, together, alone).await
        };
        if let Err(failure) = &result
            && !failure.unknown
        {
            attempt.state().unanswered -= 1;
        }
        result
    })
}

/// Renews a hand-off before it is handed out (rules 5 and 7).
pub(crate) fn confirm(client: &Client, attempt: &Arc<Attempt>, over: Moment) -> Work<()> {
    let (client, attempt) = (client.clone(), Arc::clone(attempt));
    Box::pin(async move {
        let shared = client.shared();
        let token = attempt.state().token;
        let deadline = shared.request_deadline(attempt.spec.lease).min(over);
        let item = Item {
            attempt,
            kind: Kind::Renew { token },
        };
        exchange(shared, &[item], deadline).await.map(drop)
    })
}
