//! The countdown latch: the calls that make attempts, and inspection.
//!
//! A call is an attempt like any other: its slot, its requests, its place, ticks and end are the engine's. What is
//! different: what passes holds nothing, so a pass has no deadline; and one message is for all of a client's attempts.
//! A call that ends a generation also sees to it that all of its waiters are let go, a part with each request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project::pin_project;

use super::acquire::{Acquire, Granted};
use super::answer::no_such_latch;
use super::inspect::{ClientLabel, Clients};
use super::request::{AcquireRequest, Wait};
use crate::attempt::ask::LatchAsk;
use crate::attempt::spec::{Mode, Spec};
use crate::base::clock::Moment;
use crate::tasks::client::Client;
use crate::types::error::{Error, Result, foreign};
use crate::types::latch::{LatchOptions, OnMissing};
use crate::types::name::Name;
use crate::types::options::{MAX_LEASE, OnMismatch, Renew, between};
use crate::wire::id;
use crate::wire::key::key;
use crate::wire::reply::{LatchReply, PeekReply};
use crate::wire::request::{follow_up, peek};

/// Places that an inspection looks at.
const LOOK: usize = 1000;
/// Clients that it lists.
const MOST: usize = 100;

/// A client, a name, and what to do if there is no latch: what the handle of the latch wraps.
#[derive(Clone)]
pub struct Latch {
    client: Client,
    name: Name,
    key: Arc<[u8]>,
    on_missing: OnMissing,
    keep: Duration,
    adopts: bool,
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("name", &self.name)
            .field("on_missing", &self.on_missing)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// A latch as of one moment at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatchInfo {
    /// What is left.
    pub count: u32,
    /// What the generation began with.
    pub initial_count: u32,
    /// Which generation it is, from 1.
    pub generation: u64,
    /// How many tasks wait.
    pub waiting: u64,
    /// The clients of those that wait, at most 100; each once.
    pub clients: Vec<ClientLabel>,
}

impl Latch {
    /// Checks the options.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn new(client: &Client, name: &[u8], options: &LatchOptions) -> Result<Self> {
        let name = Name::new(name)?;
        let LatchOptions {
            on_missing,
            keep,
            on_mismatch,
        } = *options;
        let (least, most) = (Duration::from_secs(1), 30 * MAX_LEASE);
        between("memory of a finished latch", keep, least, most).map_err(|error| error.named(&name))?;
        let adopts = match on_mismatch {
            OnMismatch::Error => false,
            OnMismatch::Adopt => true,
            OnMismatch::Set { .. } => {
                let text = "the count of a latch cannot be set by a version, as others have counted towards it: use `reset`";
                return Err(Error::invalid(text).named(&name));
            }
        };
        let key = key(&client.shared().options.prefix, "latch", &name);
        Ok(Self {
            client: client.clone(),
            name,
            key,
            on_missing,
            keep,
            adopts,
        })
    }

    /// The name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Waits for zero.
    pub fn wait(&self, wait: Wait) -> LatchCall {
        self.call(self.asking(), wait)
    }

    /// What is left.
    pub fn count(&self) -> LatchCall {
        let asked = LatchAsk {
            at_once: true,
            ..self.asking()
        };
        self.call(asked, Wait::Try)
    }

    /// Counts down, and waits for zero if so asked.
    ///
    /// # Errors
    /// `Invalid` for zero.
    pub fn count_down(&self, by: u32, and_wait: bool) -> Result<LatchCall> {
        if by == 0 {
            return Err(Error::invalid("a count-down must be by at least 1").named(&self.name));
        }
        let asked = LatchAsk {
            by,
            at_once: !and_wait,
            ..self.asking()
        };
        let wait = if and_wait { Wait::Forever } else { self.patience() };
        Ok(self.call(asked, wait))
    }

    /// Counts down by one, once in a generation under this id.
    ///
    /// # Errors
    /// `Invalid` for an id of no or more than 512 bytes.
    pub fn count_down_once(&self, id: &[u8]) -> Result<LatchCall> {
        let Ok(id) = Name::new(id) else {
            let text = format!(
                "the id of a count-down has {} bytes: give 1 to 512 (hash a longer one)",
                id.len()
            );
            return Err(Error::invalid(text).named(&self.name));
        };
        let asked = LatchAsk {
            by: 1,
            once: Some(id.as_bytes().into()),
            at_once: true,
            ..self.asking()
        };
        Ok(self.call(asked, self.patience()))
    }

    /// Begins a new generation.
    pub fn reset(&self, count: u32) -> LatchCall {
        let asked = LatchAsk {
            to: Some(count),
            at_once: true,
            ..self.asking()
        };
        self.call(asked, self.patience())
    }

    /// What is left and who waits. Reads only; two requests if anybody waits.
    ///
    /// # Errors
    /// `NoSuchLatch`, `Unavailable`, `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn inspect(&self) -> Result<LatchInfo> {
        self.look().await.map_err(|error| error.named(&self.name))
    }

    async fn look(&self) -> Result<LatchInfo> {
        let reply = self.client.call(&peek(&self.key, LOOK)).await?.reply;
        let (number, left, initial, waiting, waiters) = match PeekReply::read(reply)? {
            PeekReply::Latch {
                number,
                left,
                initial,
                waiting,
                waiters,
            } => (number, left, initial, waiting, waiters),
            PeekReply::Foreign => return Err(foreign()),
            PeekReply::Missing => return Err(no_such_latch()),
        };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let mut clients: Vec<&str> = waiters.iter().map(|waiter| id::client(waiter)).collect();
        clients.sort_unstable();
        clients.dedup();
        clients.truncate(MOST);
        let records = Clients::read(&self.client, clients.iter().copied()).await;
        let label = |client| ClientLabel {
            label: records.label(client),
        };
        Ok(LatchInfo {
            count: count(left),
            initial_count: count(initial),
            generation: number,
            waiting,
            clients: clients.into_iter().map(label).collect(),
        })
    }

    const fn asking(&self) -> LatchAsk {
        LatchAsk {
            on_missing: self.on_missing,
            by: 0,
            once: None,
            to: None,
            at_once: false,
            keep: self.keep,
            adopts: self.adopts,
        }
    }

    /// What changes something is tried for as long as a lock is: if it is given up, its outcome is unknown.
    fn patience(&self) -> Wait {
        let most = self.client.shared().options.unavailable_after;
        Instant::now()
            .checked_add(most)
            .map_or(Wait::Forever, Wait::Until)
    }

    fn call(&self, asked: LatchAsk, wait: Wait) -> LatchCall {
        let spec = Spec {
            renew: Renew::Manual,
            mode: Mode::Latch(Arc::new(asked)),
            ..Spec::exclusive(self.client.shared().options.lease)
        };
        let request = AcquireRequest {
            name: self.name.clone(),
            key: Arc::clone(&self.key),
            spec: self.client.shared().plan(spec),
        };
        LatchCall {
            acquire: Acquire::new(&self.client, request, wait),
            latch: (self.client.clone(), Arc::clone(&self.key)),
            wait,
            rest: None,
        }
    }
}

/// A call of a latch: `Ok(None)` if it waited in vain, else what was left.
///
/// Dropping it withdraws its place; what it has counted stays counted, and what it has not by then, it will not.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct LatchCall {
    #[pin]
    acquire: Acquire,
    latch: (Client, Arc<[u8]>),
    wait: Wait,
    /// What was left, and what is still to be done for others.
    rest: Option<(u32, Rest)>,
}

impl fmt::Debug for LatchCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatchCall")
            .field("acquire", &self.acquire)
            .finish_non_exhaustive()
    }
}

type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Future for LatchCall {
    type Output = Result<Option<u32>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (left, rest) = match this.rest {
            Some((left, rest)) => (*left, rest),
            None => match ready!(this.acquire.poll_granted(cx))? {
                Some(Granted::Passed { left, more: false }) => return Poll::Ready(Ok(Some(left))),
                Some(Granted::Passed { left, more: true }) => {
                    let (client, key) = this.latch.clone();
                    let rest: Rest = Box::pin(let_the_others_go(client, key, *this.wait));
                    (left, &mut this.rest.insert((left, rest)).1)
                }
                Some(Granted::Guard(_)) | None => return Poll::Ready(Ok(None)),
            },
        };
        ready!(rest.as_mut().poll(cx));
        *this.rest = None;
        Poll::Ready(Ok(Some(left)))
    }
}

/// Follows up what a call has begun, until nothing is left of the generation that it ended, an error, or the end of the
/// call. A waiter that is not reached finds out at its next tick.
async fn let_the_others_go(client: Client, key: Arc<[u8]>, wait: Wait) {
    let shared = client.shared();
    let mut over = Moment::now() + shared.options.unavailable_after;
    if let Wait::Until(instant) = wait {
        over = over.min(Moment::at(instant));
    }
    let request = follow_up(&key);
    loop {
        let now = Moment::now();
        if now >= over {
            return;
        }
        let deadline = over.min(now + shared.options.operation_timeout);
        let Ok(answer) = shared.route.call(&request, deadline).await else {
            return;
        };
        let Ok((stamp, LatchReply::Passed { refused, more, .. })) = LatchReply::read(&answer.reply) else {
            return;
        };
        if let Some(stamp) = stamp {
            answer.note_stamp(stamp);
        }
        shared.note_publish(refused);
        if !more {
            return;
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    fn handle<T: Clone + fmt::Debug + Send + Sync + Unpin + 'static>() {}
    future::<LatchCall>();
    handle::<Latch>();
}
