//! What an acquire asks for, and the requests that it sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attempt::{Attempt, Spec};
use crate::client::Client;
use crate::clock::{Moment, millis};
use crate::error::{Error, ErrorKind};
use crate::keeper::tick::{Item, Kind, exchange};
use crate::latch;
use crate::name::Name;
use crate::script;
use crate::transport::{Answer, Failure, Request};

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
            | ErrorKind::NoSuchLatch
            | ErrorKind::Reset
    )
}

pub(crate) fn foreign() -> Error {
    Error::new(
        ErrorKind::WrongType,
        "its key holds foreign data, or a record of another version of Latchwork: choose another name, or do not mix versions",
    )
}

pub(crate) fn ask(client: &Client, attempt: &Arc<Attempt>, wait: Wait, over: Moment) -> Work<Answer> {
    let (client, attempt) = (client.clone(), Arc::clone(attempt));
    Box::pin(async move {
        let shared = client.shared();
        let spec = &attempt.spec;
        let deadline = shared.request_deadline(spec.lease).min(over);
        let mut not_after = shared.commands.server_time(deadline) / 1000 + 1;
        let room = match wait {
            Wait::Try => 0,
            Wait::Drain => -1,
            Wait::Forever | Wait::Until(_) => i64::from(spec.max_waiters(shared)),
        };
        let request = match &spec.latch {
            Some(asked) => latch::request(shared, &attempt, asked, room, &mut not_after),
            None => Request::new(&script::ACQUIRE, &[&*attempt.key])
                .arg(&attempt.id)
                .arg(millis(spec.lease))
                .arg(shared.key_life_ms(spec, spec.lease))
                .arg(spec.weight)
                .arg(spec.capacity_text())
                .arg(not_after)
                .arg(room)
                .arg(spec.floor)
                .arg(if shared.keeper.is_listening() { 0 } else { 3 })
                .arg(&shared.inbox)
                .arg(spec.ahead),
        };
        {
            let mut state = attempt.state();
            state.unanswered += 1;
            state.not_after = state.not_after.max(not_after);
        }
        let result = shared.commands.run(&request, deadline).await;
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
