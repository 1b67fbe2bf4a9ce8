//! One request for many attempts, when many are under way at once: each costs the server about half then.
//!
//! A request goes alone while few are under way. Otherwise it joins those that wait, and goes with all that say the same
//! but for key and id. Nobody waits for company: what waits is sent as soon as an earlier request is answered.
//! `docs/design.md`, "Many in one request".

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::attempt::{Attempt, Capacity};
use crate::base::clock::{Moment, millis, until};
use crate::connection::failure::Failure;
use crate::runtime::shared::Shared;
use crate::runtime::worker;
use crate::types::error::{Error, ErrorKind};
use crate::wire::request::{Answer, Request, Rest};
use crate::wire::script;
use crate::wire::script::Script;

/// Requests of a kind that go alone, before others join.
const ALONE: usize = 4;
/// The most attempts in one request: the script takes about 0.1 ms then.
const MOST: usize = 64;
/// Requests for many that are under way at once, of a kind: so the server has work while the answers to one are handed out.
const FLIGHTS: usize = 4;

/// What a request says beside key, id and time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Words {
    Acquire {
        lease: u64,
        life: u64,
        weight: u32,
        capacity: Capacity,
        room: i64,
        floor: u64,
        polls: u8,
        ahead: Option<i64>,
    },
    End {
        capacity: Capacity,
    },
}

impl Words {
    /// Adds the arguments that follow the id. `pace` and `patience` are a counted primitive's.
    pub(crate) fn say(
        self,
        shared: &Shared,
        request: Request,
        not_after: u64,
        pace: Option<&str>,
        patience: Option<u64>,
    ) -> Request {
        match self {
            Self::Acquire {
                lease,
                life,
                weight,
                capacity,
                room,
                floor,
                polls,
                ahead,
            } => {
                let request = request
                    .arg(lease)
                    .arg(life)
                    .arg(weight)
                    .arg(capacity)
                    .arg(not_after)
                    .arg(room);
                request.arg_rest([
                    (pace.map(|pace| Rest::Bytes(pace.as_bytes())), ""),
                    (patience.map(Rest::Number), ""),
                    ((floor > 0).then_some(Rest::Number(floor)), "0"),
                    ((polls > 0).then_some(Rest::Number(polls.into())), "0"),
                    (ahead.map(Rest::Signed), "0"),
                ])
            }
            Self::End { capacity } => request
                .arg(capacity)
                .arg(millis(shared.options.retention))
                .arg_rest([((not_after > 0).then_some(Rest::Number(not_after)), "0")]),
        }
    }

    /// One more copy of the request may be under way.
    fn count_copy(self, attempt: &Attempt) {
        let mut state = attempt.state();
        match self {
            Self::Acquire { .. } => state.unanswered += 1,
            Self::End { .. } => state.end_unanswered += 1,
        }
    }
}

/// One attempt's request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) words: Words,
    /// The server's clock, ms; the least of many counts for all.
    pub(crate) not_after: u64,
    /// The earliest of many counts for all.
    pub(crate) deadline: Moment,
}

/// What came of one that went with others.
enum Part {
    Answered(Result<Answer, Failure>),
    /// It is out of the ordinary: nothing was done, and it has to go alone.
    Alone,
    /// Whether it was done is not known.
    Unknown,
}

struct Waiting {
    ask: Ask,
    done: oneshot::Sender<Part>,
}

/// Those that say the same.
#[derive(Default)]
struct Group {
    /// No more than there are attempts: each has one request at a time.
    waiting: VecDeque<Waiting>,
    flights: usize,
}

#[derive(Default)]
struct Groups {
    by_words: HashMap<Words, Group>,
    /// Nobody sends what waits any more.
    closed: bool,
}

/// Requests of one kind.
struct Lane {
    /// The script for many.
    script: &'static Script,
    groups: Mutex<Groups>,
    alone: AtomicUsize,
    /// Those that wait to go with others, or are under way with others.
    together: AtomicUsize,
}

impl Lane {
    fn new(script: &'static Script) -> Self {
        Self {
            script,
            groups: Mutex::default(),
            alone: AtomicUsize::new(0),
            together: AtomicUsize::new(0),
        }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the others, if enough are under way.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "one critical section, a few instructions long"
    )]
    fn join(&self, ask: &Ask) -> Option<oneshot::Receiver<Part>> {
        let mut groups = self.groups();
        let few = self.alone.load(Ordering::Relaxed) < ALONE;
        if groups.closed || (few && !groups.by_words.contains_key(&ask.words)) {
            return None;
        }
        let (done, part) = oneshot::channel();
        let ask = ask.clone();
        let group = groups.by_words.entry(ask.words).or_default();
        group.waiting.push_back(Waiting { ask, done });
        self.together.fetch_add(1, Ordering::Relaxed);
        Some(part)
    }

    /// Those that go next, no more than `most`; empty if nobody waits, or enough are under way.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "one critical section: a batch is taken and noted in one"
    )]
    fn next(&self, most: usize) -> Vec<Waiting> {
        let now = Moment::now();
        let mut batch = Vec::new();
        let mut groups = self.groups();
        for group in groups.by_words.values_mut() {
            while group.flights < FLIGHTS
                && batch.len() < most
                && let Some(next) = group.waiting.pop_front()
            {
                if next.done.is_closed() {
                    self.together.fetch_sub(1, Ordering::Relaxed);
                    continue; // nobody awaits it any more, so its end takes into account that it was not answered
                }
                if next.ask.deadline <= now {
                    self.together.fetch_sub(1, Ordering::Relaxed);
                    drop(next.done.send(Part::Answered(Err(Failure::passing(late())))));
                    continue;
                }
                batch.push(next);
            }
            if !batch.is_empty() {
                group.flights += 1;
                return batch;
            }
        }
        groups
            .by_words
            .retain(|_, group| group.flights > 0 || !group.waiting.is_empty());
        batch
    }

    fn landed(&self, words: Words, batch: &[Waiting]) {
        self.together.fetch_sub(batch.len(), Ordering::Relaxed);
        if let Some(group) = self.groups().by_words.get_mut(&words) {
            group.flights = group.flights.saturating_sub(1);
        }
    }

    /// Sends them, and tells each what came of it.
    async fn fly(&self, shared: &Shared, batch: Vec<Waiting>) {
        let Some(words) = batch.first().map(|first| first.ask.words) else {
            return;
        };
        let asks = || batch.iter().map(|one| &one.ask);
        let keys: Vec<&[u8]> = asks().map(|ask| &*ask.attempt.key).collect();
        let mut request = Request::new(self.script, &keys);
        for ask in asks() {
            request = request.arg(&ask.attempt.id);
        }
        let not_after = asks().map(|ask| ask.not_after).min().unwrap_or(0);
        let deadline = asks().map(|ask| ask.deadline).min().unwrap_or(Moment::NEVER);
        let request = words.say(shared, request, not_after, None, None);
        let result = shared.commands.run_many(&request, deadline).await;
        self.landed(words, &batch);
        let mut parts = match result {
            Ok(parts) => parts.into_iter(),
            Err(failure) => {
                // What is wrong with one is no news for the others: each asks again, by itself.
                for one in batch {
                    let part = if failure.unknown {
                        Part::Unknown
                    } else {
                        Part::Alone
                    };
                    drop(one.done.send(part));
                }
                return;
            }
        };
        for one in batch {
            let part = match parts.next() {
                Some(Ok(Some(answer))) => Part::Answered(Ok(answer)),
                Some(Ok(None)) => Part::Alone,
                Some(Err(failure)) => Part::Answered(Err(failure)),
                None => Part::Unknown,
            };
            drop(one.done.send(part)); // it may have been given up meanwhile
        }
    }

    /// Sends one alone.
    async fn send(&self, shared: &Shared, request: &Request, deadline: Moment) -> Result<Answer, Failure> {
        struct UnderWay<'a>(&'a AtomicUsize);
        impl Drop for UnderWay<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.alone.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.alone);
        shared.commands.run(request, deadline).await
    }

    fn close(&self) {
        let mut groups = self.groups();
        groups.closed = true;
        groups.by_words.clear(); // each asks by itself
    }
}

/// Requests of all kinds that are under way or wait.
pub(crate) struct Combiner {
    acquires: Lane,
    ends: Lane,
    wake: Notify,
}

impl Default for Combiner {
    fn default() -> Self {
        Self {
            acquires: Lane::new(&script::ACQUIRE_MANY),
            ends: Lane::new(&script::END_MANY),
            wake: Notify::new(),
        }
    }
}

impl fmt::Debug for Combiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combiner")
            .field("acquires", &self.acquires.groups().by_words.len())
            .field("ends", &self.ends.groups().by_words.len())
            .finish_non_exhaustive()
    }
}

impl Combiner {
    fn lane(&self, words: Words) -> &Lane {
        match words {
            Words::Acquire { .. } => &self.acquires,
            Words::End { .. } => &self.ends,
        }
    }

    /// The most that go in one request. If all went at once, the server would have nothing to do while their answers are
    /// handed out, and nobody here while it works.
    fn most(&self) -> usize {
        let together = [&self.acquires, &self.ends].map(|lane| lane.together.load(Ordering::Relaxed));
        together
            .iter()
            .sum::<usize>()
            .div_ceil(FLIGHTS)
            .clamp(ALONE, MOST)
    }

    /// Sends a request with others if there are many, and `together` allows it; or as `alone` says it.
    pub(crate) async fn send(
        &self,
        shared: &Shared,
        ask: &Ask,
        together: bool,
        alone: impl FnOnce() -> Request,
    ) -> Result<Answer, Failure> {
        let lane = self.lane(ask.words);
        worker::sends(&ask.attempt);
        if together && let Some(part) = lane.join(ask) {
            self.wake.notify_one();
            // Where nothing else runs while the sender does not, its timers are enough. But with several workers it may be in the
            // queue of one that a task blocks, and the others may have no time to take it over.
            let here = || Handle::try_current().is_ok_and(|here| here.id() == shared.driver.id());
            let part = if shared.same_thread && here() {
                Some(part.await)
            } else {
                until(ask.deadline, Some(&shared.driver), part).await
            };
            match part {
                Some(Ok(Part::Answered(result))) => return result,
                Some(Ok(Part::Alone)) => {}
                Some(Ok(Part::Unknown)) if Moment::now() >= ask.deadline => {
                    return Err(Failure::unknown(late()));
                }
                Some(Ok(Part::Unknown) | Err(_)) => ask.words.count_copy(&ask.attempt),
                None => return Err(Failure::unknown(late())),
            }
        }
        let request = alone();
        lane.send(shared, &request, ask.deadline).await
    }
}

/// Lets those tasks go first that this one has woken: they may ask again at once, and go together then. Unlike
/// `yield_now`, which waits until nobody is ready and the driver was asked, too.
async fn after_others() {
    let mut woken = false;
    poll_fn(|cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the server did not answer in time")
}

/// Sends what waits, until it is dropped; then everybody sends alone.
pub(crate) struct Sender(Arc<Shared>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.combiner.acquires.close();
        self.0.combiner.ends.close();
    }
}

impl Sender {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    pub(crate) async fn run(self) -> ! {
        let shared = &*self.0;
        let combiner = &shared.combiner;
        let mut flights = FuturesUnordered::new();
        loop {
            for lane in [&combiner.acquires, &combiner.ends] {
                loop {
                    let batch = lane.next(combiner.most());
                    if batch.is_empty() {
                        break;
                    }
                    let mut flight = Box::pin(lane.fly(shared, batch));
                    // It is sent when it is first polled: before the answers to others are handed out.
                    if poll_fn(|cx| Poll::Ready(flight.as_mut().poll(cx)))
                        .await
                        .is_pending()
                    {
                        flights.push(flight);
                    }
                }
            }
            tokio::select! {
                () = combiner.wake.notified() => {}
                Some(()) = flights.next(), if !flights.is_empty() => after_others().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::attempt::Spec;
    use crate::types::name::Name;
    use crate::types::options::Options;

    #[tokio::test]
    async fn h44_who_waits_for_others_has_a_time_of_its_own() {
        let options = Options {
            keeper_thread: true,
            ..Options::default()
        };
        let shared = Shared::new(options, Handle::current());
        // As if enough were under way. Nobody sends: the task that does is behind one that blocks its worker.
        shared.combiner.ends.alone.store(ALONE, Ordering::Relaxed);
        let spec = Spec::exclusive(Duration::from_secs(10));
        let words = Words::End {
            capacity: spec.capacity(),
        };
        let name = Name::new(b"a").expect("a name");
        let attempt = shared.attempt(b"k".as_slice().into(), name, spec).expect("open");
        let ask = Ask {
            attempt,
            words,
            not_after: 0,
            deadline: Moment::now() + Duration::from_millis(20),
        };
        let alone = || unreachable!("it goes with others");
        let sending = shared.combiner.send(&shared, &ask, true, alone);
        let answer = tokio::time::timeout(Duration::from_secs(10), sending).await;
        let failure = answer.expect("it ends").expect_err("nobody sent it");
        assert!(failure.unknown, "{failure:?}");
        assert_eq!(
            shared.combiner.ends.next(MOST).len(),
            0,
            "nobody awaits it any more"
        );
        assert_eq!(shared.combiner.most(), ALONE, "and it is not counted");
    }
}
