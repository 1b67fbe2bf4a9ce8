//! The parameters of an acquire, and the requests that it sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attempt::Attempt;
use crate::attempt::ask::LatchAsk;
use crate::attempt::event::Event;
use crate::attempt::rules::Plan;
use crate::attempt::spec::Spec;
use crate::base::clock::{Moment, millis, sleep_until};
use crate::connection::failure::Failure;
use crate::runtime::call::Call;
use crate::runtime::shared::Shared;
use crate::tasks::client::Client;
use crate::tasks::keeper::renew::{Item, exchange};
use crate::types::latch::OnMissing;
use crate::types::name::Name;
use crate::types::options::{KEEP, OnMismatch};
use crate::wire::command::Request;
use crate::wire::request::{AcquireArgs, Args, CountedArgs, LatchArgs, latch};
use crate::wire::value::Answer;

/// How long the server remembers, after its `not_after`, that a latch call changed something, ms.
const MEMORY: u64 = 1000;

/// What a primitive passes to the engine for each attempt.
#[derive(Clone)]
pub struct AcquireRequest {
    pub(crate) name: Name,
    pub(crate) key: Arc<[u8]>,
    pub(crate) spec: Arc<Plan>,
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
    /// Until this instant.
    Until(Instant),
    /// Not at all, and take everything that is free, whatever the weight. For counted primitives.
    Drain,
}

impl Wait {
    /// Zero is one try. A duration that the clock cannot represent is forever.
    pub fn for_duration(wait: Duration) -> Self {
        if wait.is_zero() {
            return Self::Try;
        }
        Instant::now()
            .checked_add(wait)
            .map_or(Self::Forever, Self::Until)
    }

    /// The maximum length of the queue, in the encoding of the scripts.
    fn room(self, most: u32) -> i64 {
        match self {
            Self::Try => 0,
            Self::Drain => -1,
            Self::Forever | Self::Until(_) => i64::from(most),
        }
    }
}

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Sends the attempt's acquire (or a latch's request), and notes that a copy is under way.
pub(crate) fn ask(
    client: &Client,
    attempt: &Arc<Attempt>,
    wait: Wait,
    (mut now, over): (Moment, Moment),
) -> Work<Answer> {
    let (client, attempt) = (client.clone(), Arc::clone(attempt));
    Box::pin(async move {
        let shared = client.shared();
        let spec = &attempt.spec;
        let mut usual = shared.request_deadline(spec.lease, now);
        let (route, key) = (&shared.route, &*attempt.key);
        if !route.is_ready(key) {
            // Until there is a connection nothing was sent, and nothing has to be undone.
            Box::pin(route.ready(key, usual.min(over))).await?;
            now = Moment::now();
            usual = shared.request_deadline(spec.lease, now);
        }
        if shared.options.start_delay && spec.latch().is_none() && shared.delay(key, now).is_some() {
            Box::pin(start_is_over(shared, key, usual.min(over))).await?;
            now = Moment::now();
            usual = shared.request_deadline(spec.lease, now);
        }
        let deadline = usual.min(over);
        let mut not_after = route.not_after(key, deadline);
        let room = wait.room(shared.max_waiters(spec));
        let latch = spec
            .latch()
            .map(|asked| latch_request(shared, &attempt, asked, room, &mut not_after));
        attempt.note(Event::Asked { not_after });
        let result = if let Some(request) = latch {
            Box::pin(route.call(&request, deadline)).await
        } else {
            let call = Call {
                attempt: Arc::clone(&attempt),
                args: acquire_args(shared, &attempt.key, spec, room),
                not_after,
                deadline,
                timeout: usual.since(now),
                over,
            };
            // A batch only takes the fast path, and has one deadline. Anything else would come
            // back.
            let batched = deadline == usual && spec.floor() == 0 && spec.is_batched();
            let counted = counted_args(spec, wait);
            shared.batcher.send(route, &call, batched, counted).await
        };
        if let Err(failure) = &result
            && !failure.unknown
        {
            attempt.note(Event::NotAsked);
        }
        result
    })
}

/// Waits until the holds are over that a young server may have forgotten. Nothing was sent if that
/// takes too long.
async fn start_is_over(shared: &Shared, key: &[u8], deadline: Moment) -> Result<(), Failure> {
    loop {
        let now = Moment::now();
        let Some(delay) = shared.delay(key, now) else {
            return Ok(());
        };
        let fast = shared.options.fail_fast_after;
        let fast = fast
            .map(|time| delay.1.noticed + time)
            .filter(|&at| at <= deadline);
        let last = fast.unwrap_or(deadline);
        if now >= last {
            let error = shared.delayed(key, delay, now);
            return Err(match fast {
                Some(_) => Failure::refused(error),
                None => Failure::passing(error),
            });
        }
        sleep_until(delay.0.min(last), Some(&shared.driver)).await;
    }
}

fn acquire_args(shared: &Shared, key: &[u8], spec: &Spec, room: i64) -> Args {
    Args::Acquire(AcquireArgs {
        lease: millis(spec.first_lease()),
        life: shared.key_life_ms(spec, spec.first_lease()),
        weight: spec.weight(),
        capacity: spec.capacity(),
        room,
        floor: spec.floor(),
        polls: shared.polls(key),
        ahead: spec.ahead(),
    })
}

fn counted_args(spec: &Spec, wait: Wait) -> CountedArgs<'_> {
    // Sent even if this handle has no rate, because the record may have one.
    let patience = match wait {
        _ if !spec.is_counted() => None,
        Wait::Try | Wait::Drain => Some(Duration::ZERO),
        Wait::Until(instant) => Some(Moment::at(instant).since(Moment::now())),
        Wait::Forever => None,
    };
    let keep = spec.numbers().map(|numbers| numbers.keep);
    CountedArgs {
        pace: spec.pace().map(|pace| &*pace.text),
        on_mismatch: spec.numbers().map_or(OnMismatch::Error, |it| it.on_mismatch),
        keep: keep.filter(|&keep| keep != KEEP).map(millis),
        into: None,
        patience: patience.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
    }
}

/// Builds the request of a latch's attempt. All copies of a request that changes something have the
/// same `not_after`, because the mark that stops the second copy has to outlive them all (H26,
/// H64).
fn latch_request(
    shared: &Shared,
    attempt: &Attempt,
    asked: &LatchAsk,
    room: i64,
    not_after: &mut u64,
) -> Request {
    let state = attempt.state();
    let changes = asked.changes() && !state.latch().answered;
    if changes {
        *not_after = match state.not_after() {
            0 => {
                // The mark must not outlive the record.
                let patience = shared.options.unavailable_after.min(KEEP / 2);
                shared.route.not_after(&attempt.key, Moment::now() + patience)
            }
            fixed => fixed,
        };
    }
    let args = LatchArgs {
        count: match asked.on_missing {
            OnMissing::Create(count) => i64::from(count),
            OnMissing::Fail => -1,
            OnMissing::Wait => -2,
        },
        room: if asked.at_once { -1 } else { room },
        life: millis(KEEP),
        memory: millis(asked.keep),
        until: *not_after + MEMORY,
        by: (changes && asked.by > 0).then_some(asked.by),
        once: asked.once.as_deref(),
        to: asked.to.filter(|_| changes),
        generation: state.latch().generation(),
        polls: shared.polls(&attempt.key),
        adopts: asked.adopts,
    };
    latch(&attempt.key, &attempt.id, &args)
}

/// Confirms a claim before its guard is handed out (rules 5 and 7).
pub(crate) fn confirm(client: &Client, attempt: &Arc<Attempt>, token: u64, over: Moment) -> Work<()> {
    let (client, attempt) = (client.clone(), Arc::clone(attempt));
    Box::pin(async move {
        let shared = client.shared();
        let deadline = shared
            .request_deadline(attempt.spec.lease, Moment::now())
            .min(over);
        exchange(shared, &[Item::renew(attempt, token)], deadline)
            .await
            .map(drop)
    })
}
