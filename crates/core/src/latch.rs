//! The countdown latch: what its calls ask of the server, and what answers and messages mean for them.
//!
//! A call is an attempt like any other: its slot, its requests, its place, ticks and end are the engine's. What is
//! different: what passes holds nothing, so a pass has no deadline; and one message is for all of a client's attempts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project::pin_project;

use crate::acquire::{Acquire, Reading};
use crate::asking::{AcquireRequest, Wait, foreign};
use crate::attempt::{Attempt, Spec, Stage, Standing, State};
use crate::client::Client;
use crate::clock::{Moment, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::{WaiterInfo, labels};
use crate::message::Over;
use crate::name::{Name, key};
use crate::options::{MAX_LEASE, Renew, between};
use crate::script;
use crate::shared::{KEEP, Shared};
use crate::transport::{Answer, Reply, Request};

/// Places that an inspection looks at.
const LOOK: usize = 1000;
/// Clients that it lists.
const MOST: usize = 100;

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
                let over = Moment::now() + shared.options.unavailable_after;
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
        .arg(if changes { asked.by } else { 0 })
        .arg(asked.once.as_deref().unwrap_or_default())
        .arg(asked.to.filter(|_| changes).map_or(-1, i64::from))
        .arg(generation)
        .arg(*not_after)
        .arg(if asked.at_once { -1 } else { room })
        .arg(millis(KEEP))
        .arg(millis(asked.keep))
        .arg(if shared.keeper.is_listening() { 0 } else { 3 })
        .arg(&shared.inbox)
}

/// Applies an answer; its copy is no longer among those that are unanswered.
pub(crate) fn read(
    shared: &Shared,
    attempt: &Attempt,
    asked: &LatchAsk,
    answer: &Answer,
    stamp: u64,
) -> Result<Reading> {
    let reply = &answer.reply;
    let now = Moment::now();
    match reply.int_at(0)? {
        1 => {
            shared.note_publish(reply.int_at(4)? != 0);
            let left = u32::try_from(reply.count_at(3)?).unwrap_or(u32::MAX);
            let mut state = attempt.state();
            state.heard = now;
            state.pass(reply.count_at(2)?, left, stamp);
            drop(state);
            Ok(Reading::Applied { queued: false })
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

/// A client, a name, and what to do if there is no latch: what the handle of the latch wraps.
#[derive(Clone)]
pub struct Latch {
    client: Client,
    name: Name,
    key: Arc<[u8]>,
    on_missing: OnMissing,
    keep: Duration,
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
    pub clients: Vec<WaiterInfo>,
}

impl Latch {
    /// Checks the options.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn new(client: &Client, name: &[u8], options: &LatchOptions) -> Result<Self> {
        let name = Name::new(name)?;
        let LatchOptions { on_missing, keep } = *options;
        let (least, most) = (Duration::from_secs(1), 30 * MAX_LEASE);
        between("memory of a finished latch", keep, least, most).map_err(|error| error.named(&name))?;
        let key = key(&client.shared().options.prefix, "latch", &name);
        Ok(Self {
            client: client.clone(),
            name,
            key,
            on_missing,
            keep,
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
            return Err(Error::invalid("count down by one at least").named(&self.name));
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
        let request = Request::new(&script::PEEK, &[&*self.key]).arg(LOOK);
        let reply = self.client.call(&request).await?.reply;
        match reply.int_at(0)? {
            1 => {}
            8 => return Err(foreign()),
            _ => return Err(missing()),
        }
        let number = |index| Ok::<_, Error>(u32::try_from(reply.count_at(index)?).unwrap_or(u32::MAX));
        let (count, initial_count) = (number(2)?, number(3)?);
        let (generation, waiting) = (reply.count_at(1)?, reply.count_at(4)?);
        let ids = reply.items()?.into_iter().nth(5);
        let mut clients: Vec<String> = Vec::new();
        for id in ids.map_or(Ok(Vec::new()), Reply::items)? {
            let client = String::from_utf8_lossy(&id.bytes()?).chars().take(22).collect();
            clients.push(client);
        }
        clients.sort_unstable();
        clients.dedup();
        clients.truncate(MOST);
        let labels = labels(&self.client, clients.iter().map(String::as_str)).await;
        Ok(LatchInfo {
            count,
            initial_count,
            generation,
            waiting,
            clients: labels.into_iter().map(|label| WaiterInfo { label }).collect(),
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
            lease: self.client.shared().options.lease,
            weight: 1,
            capacity: 0, // so that nothing is ever handed to its waiters
            counted: false,
            renew: Renew::Manual,
            max_hold: None,
            floor: 0,
            latch: Some(Arc::new(asked)),
        };
        let request = AcquireRequest {
            name: self.name.clone(),
            key: Arc::clone(&self.key),
            spec,
        };
        LatchCall {
            acquire: Acquire::new(&self.client, request, wait),
        }
    }
}

/// A call of a latch: `Ok(None)` if it waited in vain, else what was left.
///
/// Dropping it withdraws its place; what it has counted stays counted, and what it has not by then, it will not.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct LatchCall {
    #[pin]
    acquire: Acquire,
}

impl Future for LatchCall {
    type Output = Result<Option<u32>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let passed = ready!(self.project().acquire.poll(cx))?;
        Poll::Ready(Ok(passed.map(|guard| {
            let left = guard.weight();
            guard.dismiss();
            left
        })))
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    fn handle<T: Clone + fmt::Debug + Send + Sync + Unpin + 'static>() {}
    future::<LatchCall>();
    handle::<Latch>();
}
