//! Sends many attempts in one request when many are under way at once, which halves the server's
//! cost.
//!
//! A request is sent directly while few are under way. Otherwise it waits in a group with the
//! requests that differ only in key and id, and the group is sent together as soon as an earlier
//! request is answered. No request waits just to find company. See "Many in one request" in
//! `docs/design.md`.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::call::{Call, not_after};
use super::route::Route;
use super::worker;
use crate::base::clock::{Moment, until};
use crate::base::limit;
use crate::connection::failure::Failure;
use crate::types::error::{Error, ErrorKind};
use crate::wire::command::Request;
use crate::wire::request::{Args, CountedArgs};
use crate::wire::value::Answer;

/// The maximum number of a verb's requests that are under way directly. Further ones are batched.
const DIRECT: usize = 4;
/// The maximum number of attempts in one request, for which the script takes about 0.1 ms.
const MOST: usize = 64;
/// The number of a group's batches under way at once, near the server. With several, the server has
/// work while the answers to one are handed out.
const BATCHES: usize = 4;
/// How long a call waits for its batch, as far as that depends on the distance to the server.
const SOON: Duration = Duration::from_millis(250);

/// The outcome of a call that was sent in a batch.
enum Delivery {
    Answered(Result<Answer, Failure>),
    /// The fast path does not apply. Nothing was done, and the call has to be sent directly.
    GoDirectly,
    /// It is unknown whether the call was carried out.
    Unknown,
}

struct Waiting {
    call: Call,
    done: oneshot::Sender<Delivery>,
}

/// Calls with the same arguments, and keys of one slot.
#[derive(Default)]
struct Group {
    /// Bounded by the number of attempts, since each has one request at a time.
    waiting: VecDeque<Waiting>,
    /// The number of batches under way.
    batches: usize,
}

#[derive(Default)]
struct Groups {
    by_args: HashMap<(Args, u16), Group>,
    /// Waiting calls are no longer sent.
    closed: bool,
}

/// The requests of one verb.
#[derive(Default)]
struct Verb {
    groups: Mutex<Groups>,
    /// The number of calls that are under way directly.
    direct: AtomicUsize,
    /// The number of calls that wait for a batch or are under way in one.
    batched: AtomicUsize,
}

impl Verb {
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the call to its group, if enough calls are under way.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "one critical section, a few instructions long"
    )]
    fn join(&self, call: &Call, slot: u16) -> Option<oneshot::Receiver<Delivery>> {
        let of = (call.args, slot);
        let mut groups = self.groups();
        let few = self.direct.load(Ordering::Relaxed) < DIRECT;
        if groups.closed || (few && !groups.by_args.contains_key(&of)) {
            return None;
        }
        let (done, delivery) = oneshot::channel();
        let call = call.clone();
        let group = groups.by_args.entry(of).or_default();
        group.waiting.push_back(Waiting { call, done });
        self.batched.fetch_add(1, Ordering::Relaxed);
        Some(delivery)
    }

    /// Returns how many batches of a group are under way at once: far from the server more, so that
    /// calls do not wait for one round trip after another.
    fn together(&self, distance: Duration) -> usize {
        let batches = self.batched.load(Ordering::Relaxed).div_ceil(MOST);
        limit::window(batches, distance, SOON).max(BATCHES)
    }

    /// Takes the next batch of at most `most` calls. It is empty if no call waits, or if `together`
    /// batches are under way.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "one critical section: a batch is taken and noted in one"
    )]
    fn next_batch(&self, most: usize, together: usize) -> Vec<Waiting> {
        let now = Moment::now();
        let mut batch = Vec::new();
        let mut groups = self.groups();
        for group in groups.by_args.values_mut() {
            while group.batches < together
                && batch.len() < most
                && let Some(next) = group.waiting.pop_front()
            {
                if next.done.is_closed() {
                    self.batched.fetch_sub(1, Ordering::Relaxed);
                    continue; // its future was dropped; its end allows for an unanswered acquire
                }
                if next.call.over <= now {
                    self.batched.fetch_sub(1, Ordering::Relaxed);
                    let late = Failure::passing(late());
                    drop(next.done.send(Delivery::Answered(Err(late))));
                    continue;
                }
                batch.push(next);
            }
            if !batch.is_empty() {
                group.batches += 1;
                return batch;
            }
        }
        groups
            .by_args
            .retain(|_, group| group.batches > 0 || !group.waiting.is_empty());
        batch
    }

    fn finish(&self, of: (Args, u16), taken: usize) {
        self.batched.fetch_sub(taken, Ordering::Relaxed);
        if let Some(group) = self.groups().by_args.get_mut(&of) {
            group.batches = group.batches.saturating_sub(1);
        }
    }

    /// Sends a batch, and delivers to each call its outcome.
    async fn send_batch(&self, route: &Route, mut batch: Vec<Waiting>) {
        let Some(first) = batch.first() else { return };
        let (args, key) = (first.call.args, Arc::clone(&first.call.attempt.key));
        let of = (args, route.slot(&key));
        // The time of a call begins when it is sent, however long it has waited.
        let timeouts = batch.iter().map(|one| one.call.timeout);
        let deadline = Moment::now() + timeouts.min().unwrap_or_default();
        let not_after = not_after(args, (route, &key), deadline);
        let taken = batch.len();
        batch.retain(|one| one.call.is_sent(not_after));
        if batch.is_empty() {
            return self.finish(of, taken);
        }
        let calls = || batch.iter().map(|one| &one.call);
        let keys: Vec<&[u8]> = calls().map(|call| &*call.attempt.key).collect();
        let ids = calls().map(|call| &*call.attempt.id);
        let request = args.many(&keys, ids, not_after);
        let result = run(route, args, &request, deadline).await;
        self.finish(of, taken);
        let answers = result.and_then(|answer| route.of(&key).answers(&request, answer));
        let mut answers = match answers {
            Ok(answers) => answers.into_iter(),
            Err(failure) => {
                let is_late = Moment::now() >= deadline;
                for one in batch {
                    let delivery = match (is_late, failure.unknown) {
                        (true, true) => Delivery::Answered(Err(Failure::unknown(late()))),
                        (true, false) => Delivery::Answered(Err(Failure::passing(late()))),
                        // One call's problem may have failed them all, so each is sent again by
                        // itself.
                        (false, true) => Delivery::Unknown,
                        (false, false) => Delivery::GoDirectly,
                    };
                    drop(one.done.send(delivery));
                }
                return;
            }
        };
        for one in batch {
            let delivery = match answers.next() {
                Some(Ok(Some(answer))) => Delivery::Answered(Ok(answer)),
                Some(Ok(None)) => Delivery::GoDirectly,
                Some(Err(failure)) => Delivery::Answered(Err(failure)),
                None => Delivery::Unknown,
            };
            drop(one.done.send(delivery)); // its future may have been dropped
        }
    }

    /// Sends one request directly.
    async fn send_directly(
        &self,
        route: &Route,
        (args, request): (Args, &Request),
        deadline: Moment,
    ) -> Result<Answer, Failure> {
        struct UnderWay<'a>(&'a AtomicUsize);
        impl Drop for UnderWay<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.direct.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.direct);
        run(route, args, request, deadline).await
    }

    fn close(&self) {
        let mut groups = self.groups();
        groups.closed = true;
        groups.by_args.clear(); // each call is then sent directly
    }
}

/// The requests of all verbs that wait or are under way.
pub(crate) struct Batcher {
    acquires: Verb,
    ends: Verb,
    wake: Notify,
    driver: Handle,
    /// User code may block the thread that sends batches.
    same_thread: bool,
}

impl fmt::Debug for Batcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("acquires", &self.acquires.groups().by_args.len())
            .field("ends", &self.ends.groups().by_args.len())
            .finish_non_exhaustive()
    }
}

impl Batcher {
    pub(crate) fn new(driver: Handle, same_thread: bool) -> Self {
        Self {
            acquires: Verb::default(),
            ends: Verb::default(),
            wake: Notify::new(),
            driver,
            same_thread,
        }
    }

    const fn verb(&self, args: Args) -> &Verb {
        match args {
            Args::Acquire(_) => &self.acquires,
            Args::End(_) => &self.ends,
        }
    }

    /// Returns the maximum size of the next batch. If all calls were sent at once, the server would
    /// be idle while their answers are handed out, and the client while the server works.
    fn most(&self) -> usize {
        let batched = [&self.acquires, &self.ends].map(|verb| verb.batched.load(Ordering::Relaxed));
        batched
            .iter()
            .sum::<usize>()
            .div_ceil(BATCHES)
            .clamp(DIRECT, MOST)
    }

    /// Sends a call to the node of its key: in a batch if many are under way and `batched` allows
    /// it, otherwise directly.
    pub(crate) async fn send(
        &self,
        route: &Route,
        call: &Call,
        batched: bool,
        counted: CountedArgs<'_>,
    ) -> Result<Answer, Failure> {
        let verb = self.verb(call.args);
        let (mut not_after, mut deadline) = (call.not_after, call.deadline);
        worker::sends(&call.attempt);
        if batched && let Some(delivery) = verb.join(call, route.slot(&call.attempt.key)) {
            self.wake.notify_one();
            // With one thread, the sender's own timers are enough. With several workers, the
            // sending task may be stuck in the queue of a worker that a task blocks while the
            // others are busy.
            let here = || Handle::try_current().is_ok_and(|here| here.id() == self.driver.id());
            let delivery = if self.same_thread && here() {
                Some(delivery.await)
            } else {
                until(call.over, Some(&self.driver), delivery).await
            };
            let is_another = match delivery {
                Some(Ok(Delivery::Answered(result))) => return result,
                Some(Ok(Delivery::GoDirectly)) => false,
                // The copy in the batch may still be under way, and this is another one.
                Some(Ok(Delivery::Unknown) | Err(_)) => true,
                None => return Err(Failure::unknown(late())),
            };
            (deadline, not_after) = call.begins(route, is_another);
        }
        let attempt = &call.attempt;
        let request = call.args.single(&attempt.key, &attempt.id, not_after, counted);
        verb.send_directly(route, (call.args, &request), deadline).await
    }

    /// Sends batches until the future is dropped.
    pub(crate) async fn run(&self, route: &Route) -> ! {
        let mut batches = FuturesUnordered::new();
        loop {
            for verb in [&self.acquires, &self.ends] {
                loop {
                    let together = verb.together(route.distance());
                    let batch = verb.next_batch(self.most(), together);
                    if batch.is_empty() {
                        break;
                    }
                    let mut sending = Box::pin(verb.send_batch(route, batch));
                    // The first poll sends it, before the answers to other batches are handed out.
                    if poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx)))
                        .await
                        .is_pending()
                    {
                        batches.push(sending);
                    }
                }
            }
            tokio::select! {
                () = self.wake.notified() => {}
                Some(()) = batches.next(), if !batches.is_empty() => after_others().await,
            }
        }
    }

    /// Stops batching: waiting and later calls are sent directly.
    pub(crate) fn close(&self) {
        self.acquires.close();
        self.ends.close();
    }
}

/// An acquire is a call, and fails at once during an outage that has lasted; a release goes on
/// trying.
async fn run(route: &Route, args: Args, request: &Request, deadline: Moment) -> Result<Answer, Failure> {
    match args {
        Args::Acquire(_) => route.call(request, deadline).await,
        Args::End(_) => route.run(request, deadline).await,
    }
}

/// Lets the tasks that this one has woken run first, because they may send again at once and then
/// share a batch. `yield_now` would also wait for all other ready tasks and poll the driver.
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

#[cfg(test)]
mod tests {
    use super::super::call::tests::{Verb as Of, call};
    use super::*;
    use crate::connection::node::Node;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn route() -> Route {
        Route::one(Node::new("p".into(), Handle::current(), (TIMEOUT, TIMEOUT)))
    }

    /// As if enough were under way. Nobody sends.
    fn busy() -> Batcher {
        let batcher = Batcher::new(Handle::current(), false);
        for verb in [&batcher.acquires, &batcher.ends] {
            verb.direct.store(DIRECT, Ordering::Relaxed);
        }
        batcher
    }

    #[tokio::test]
    async fn h44_a_call_that_waits_for_others_has_a_deadline_of_its_own() {
        let (route, batcher) = (route(), busy());
        // The task that sends is behind one that blocks its worker.
        let mut call = call(Of::End, TIMEOUT);
        call.over = Moment::now() + ms(20);
        let sending = batcher.send(&route, &call, true, CountedArgs::default());
        let answer = tokio::time::timeout(Duration::from_secs(10), sending).await;
        let failure = answer.expect("it ends").expect_err("nobody sent it");
        assert!(failure.unknown, "{failure:?}");
        let waiting = batcher.ends.next_batch(MOST, BATCHES);
        assert_eq!(waiting.len(), 0, "nobody awaits it any more");
        assert_eq!(batcher.most(), DIRECT, "and it is not counted");
    }

    #[tokio::test]
    async fn the_time_of_a_call_begins_when_it_is_sent() {
        for of in [Of::Acquire, Of::End] {
            let (route, batcher) = (route(), busy());
            let mut call = call(of, ms(30));
            call.deadline = Moment::now(); // it has waited for longer than a request may take
            let verb = batcher.verb(call.args);
            let _delivery = verb.join(&call, 0).expect("it waits");
            let batch = verb.next_batch(MOST, BATCHES);
            assert_eq!(batch.len(), 1, "its caller has not given up");
            let sent = Moment::now();
            verb.send_batch(&route, batch).await; // waits for a connection
            assert!(Moment::now() >= sent + ms(30), "it has its whole time");
            assert_eq!(verb.batched.load(Ordering::Relaxed), 0, "it is over");
        }
    }

    #[tokio::test]
    async fn a_call_whose_caller_gave_up_is_not_sent() {
        let (route, batcher) = (route(), busy());
        let call = call(Of::Acquire, Duration::MAX);
        let verb = &batcher.acquires;
        let _delivery = verb.join(&call, 0).expect("it waits");
        let batch = verb.next_batch(MOST, BATCHES);
        assert_eq!(batch.len(), 1, "wanted");
        call.attempt.note(crate::attempt::event::Event::GivenUp); // before the batch is sent
        let sending = tokio::time::timeout(Duration::from_secs(10), verb.send_batch(&route, batch));
        sending.await.expect("no connection is waited for");
        assert_eq!(verb.batched.load(Ordering::Relaxed), 0, "it is over");
    }

    #[tokio::test]
    async fn far_from_the_server_more_batches_are_under_way() {
        let verb = Verb::default();
        assert_eq!(verb.together(ms(200)), BATCHES, "nothing waits");
        verb.batched.store(3000, Ordering::Relaxed);
        assert_eq!(verb.together(ms(1)), BATCHES, "near");
        assert_eq!(verb.together(ms(200)), 37, "47 batches in a quarter of a second");
    }
}
