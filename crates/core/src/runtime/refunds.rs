//! Reservations of futures that were dropped, on their way back to the server.
//!
//! A call of a limiter has a place in the list from before its first request until it is over. Dropping its future puts it
//! into a queue that has room for every place, and the keeper sends what is there: so a drop neither blocks nor
//! allocates nor fails, nor needs a runtime (H14, H15). What could not be sent stays consumed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::base::clock::Moment;
use crate::wire::command::Request;
use crate::wire::request::refund;
use crate::wire::terms::Terms;

/// Reservations in one request.
const BATCH: usize = 100;

/// A call of a limiter that may have reserved something.
#[derive(Debug)]
pub(crate) struct Pending {
    key: Arc<[u8]>,
    /// Random, and so nobody else's.
    pub(crate) id: u64,
    weight: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By which it may have reserved; `None`: it has nothing.
    terms: Option<Arc<Terms>>,
    /// The id of the reservation before it; 0: not known.
    before: u64,
    queued: bool,
    /// Since when it is queued.
    since: Moment,
    closed: bool,
    waker: Option<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            terms: None,
            before: 0,
            queued: false,
            since: Moment::from_nanos(0),
            closed: false,
            waker: None,
        }
    }
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on something may be reserved, by these terms.
    pub(crate) fn asks(&self, terms: &Arc<Terms>) {
        self.state().terms = Some(Arc::clone(terms));
    }

    /// The server said that it has nothing.
    pub(crate) fn has_nothing(&self) {
        self.state().terms = None;
    }

    /// The caller goes on with what was reserved. `false`: it was given back before, because the client's life has ended.
    pub(crate) fn is_used(&self) -> bool {
        let mut state = self.state();
        state.terms = state.terms.take().filter(|_| state.queued);
        !state.queued
    }

    pub(crate) fn follows(&self, before: u64) {
        self.state().before = before;
    }

    /// Whether the client's life has ended; if not, the task is woken when it does.
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        if !state.closed {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        state.closed
    }
}

/// The calls of a client's limiters, and the queue of those whose reservations go back.
#[derive(Debug, Default)]
pub(crate) struct Refunds(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<u64, Arc<Pending>>,
    /// Has room for all that live: a drop never allocates (H15). The first was queued first.
    queue: VecDeque<Arc<Pending>>,
    /// What was taken from the queue, by what can go into one request: each is looked at once.
    groups: BTreeMap<Group, VecDeque<Arc<Pending>>>,
    /// The groups that have something, in the order in which they are served.
    turns: VecDeque<Group>,
}

/// A key, and the rate by which it was reserved.
type Group = (Arc<[u8]>, String);

impl Inner {
    /// Moves what is queued into its groups.
    fn sort(&mut self) {
        while let Some(pending) = self.queue.pop_front() {
            let config = pending.state().terms.as_ref().map(|terms| terms.config.clone());
            let Some(config) = config else {
                self.live.remove(&pending.id);
                continue;
            };
            let group = (Arc::clone(&pending.key), config);
            if let Some(queue) = self.groups.get_mut(&group) {
                queue.push_back(pending);
            } else {
                self.groups.insert(group.clone(), VecDeque::from([pending]));
                self.turns.push_back(group);
            }
        }
    }
}

impl Refunds {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, before anything is sent.
    pub(crate) fn insert(&self, key: &Arc<[u8]>, weight: u32) -> Arc<Pending> {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        let pending = Arc::new(Pending {
            key: Arc::clone(key),
            // Exact in a double, and never 0, which stands for none.
            id: ((high ^ low) & ((1 << 53) - 1)).max(1),
            weight,
            state: Mutex::default(),
        });
        let mut inner = self.lock();
        inner.live.insert(pending.id, Arc::clone(&pending));
        let missing = inner.live.len().saturating_sub(inner.queue.len());
        inner.queue.reserve(missing);
        drop(inner);
        pending
    }

    /// The call is over, and what it may have reserved goes back. Returns whether the keeper has to be told.
    pub(crate) fn give_back(&self, pending: &Arc<Pending>) -> bool {
        let mut state = pending.state();
        let has = state.terms.is_some();
        if state.queued {
            return false;
        }
        state.queued = has;
        state.since = Moment::now();
        drop(state);
        let mut inner = self.lock();
        if has {
            inner.queue.push_back(Arc::clone(pending));
        } else {
            inner.live.remove(&pending.id);
        }
        has
    }

    /// The client's life ends: those who wait are told, and what they have goes back.
    pub(crate) fn close(&self) {
        let all: Vec<_> = self.lock().live.values().cloned().collect();
        for pending in all {
            let mut state = pending.state();
            state.closed = true;
            let waker = state.waker.take();
            drop(state);
            self.give_back(&pending);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// The next that can go into one request; empty: there is none. Those that were queued before `limit` are given up.
    pub(crate) fn take(&self, limit: Moment) -> Vec<Arc<Pending>> {
        let mut batch: Vec<Arc<Pending>> = Vec::new();
        let mut inner = self.lock();
        inner.sort();
        while batch.is_empty()
            && let Some(group) = inner.turns.pop_front()
        {
            let mut queue = inner.groups.remove(&group).unwrap_or_default();
            while batch.len() < BATCH
                && let Some(pending) = queue.pop_front()
            {
                if pending.state().since < limit {
                    inner.live.remove(&pending.id);
                } else {
                    batch.push(pending);
                }
            }
            if !queue.is_empty() {
                inner.groups.insert(group.clone(), queue);
                inner.turns.push_back(group);
            }
        }
        drop(inner);
        batch
    }

    /// Gives up those that were queued before `limit`. Returns since when the next one waits.
    pub(crate) fn expire(&self, limit: Moment) -> Option<Moment> {
        let mut inner = self.lock();
        loop {
            let since = inner.queue.front()?.state().since;
            if since >= limit {
                return Some(since);
            }
            if let Some(pending) = inner.queue.pop_front() {
                inner.live.remove(&pending.id);
            }
        }
    }

    /// These are over.
    pub(crate) fn done(&self, batch: &[Arc<Pending>]) {
        let mut inner = self.lock();
        for pending in batch {
            inner.live.remove(&pending.id);
        }
    }
}

/// The request that gives them back.
pub(crate) fn request(batch: &[Arc<Pending>]) -> Option<Request> {
    let first = batch.first()?;
    let terms = first.state().terms.clone()?;
    let items = batch.iter().map(|pending| {
        let before = pending.state().before;
        (pending.id, before, pending.weight)
    });
    Some(refund(&terms, &first.key, items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rate::{Algorithm, Rate};
    use std::num::NonZeroU32;

    fn terms(permits: u32) -> Arc<Terms> {
        let rate = Rate::per_second(NonZeroU32::new(permits).expect("not zero"));
        Arc::new(Terms::new(rate, Algorithm::Gcra, false).expect("terms"))
    }

    #[test]
    fn h15_the_queue_has_room_for_every_call_and_keeps_it() {
        let (refunds, key) = (Refunds::default(), Arc::<[u8]>::from(&b"k"[..]));
        let calls: Vec<_> = (0..250).map(|_| refunds.insert(&key, 1)).collect();
        let room = refunds.lock().queue.capacity();
        let terms = terms(1);
        for call in &calls {
            call.asks(&terms);
            assert!(refunds.give_back(call), "first time");
            assert!(!refunds.give_back(call), "only once");
        }
        let batches: Vec<_> = (0..4).map(|_| refunds.take(Moment::from_nanos(0))).collect();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [100, 100, 50, 0], "in bounded requests");
        for batch in &batches {
            refunds.done(batch);
        }
        assert_eq!(refunds.lock().queue.capacity(), room, "nothing was allocated");
        assert_eq!(refunds.len(), 0, "nobody is left");
    }

    #[test]
    fn what_has_nothing_is_not_sent_and_keys_and_rates_are_not_mixed() {
        let refunds = Refunds::default();
        let [one, other] = [b"a", b"b"].map(|key| Arc::<[u8]>::from(&key[..]));
        let nothing = refunds.insert(&one, 1);
        assert!(!refunds.give_back(&nothing), "it never asked");
        for (key, permits) in [(&one, 1), (&other, 1), (&one, 2), (&one, 1)] {
            let call = refunds.insert(key, 1);
            call.asks(&terms(permits));
            assert!(refunds.give_back(&call), "it may have something");
        }
        let sizes: Vec<_> = (0..4)
            .map(|_| refunds.take(Moment::from_nanos(0)).len())
            .collect();
        assert_eq!(sizes, [2, 1, 1, 0], "one key and one rate a request");
    }

    #[test]
    fn many_keys_take_turns_and_what_is_old_is_given_up() {
        let refunds = Refunds::default();
        let terms = terms(1);
        let give_back = |number: u32| {
            let call = refunds.insert(&number.to_string().as_bytes().into(), 1);
            call.asks(&terms);
            refunds.give_back(&call);
        };
        (0..300).for_each(|number| give_back(number % 100));
        let begun = Moment::from_nanos(0);
        let first = refunds.take(begun);
        assert_eq!(first.len(), 3, "all of one key");
        assert!(refunds.lock().queue.is_empty(), "each is looked at once");
        let (before, limit) = (refunds.len(), Moment::now());
        give_back(7);
        assert_eq!(refunds.take(limit).len(), 1, "all before it are too old");
        assert!(refunds.take(limit).is_empty(), "and all behind it");
        assert_eq!((before, refunds.len()), (300, 4), "two batches are under way");
        give_back(8);
        assert!(
            refunds.expire(begun).is_some_and(|since| since >= limit),
            "it waits"
        );
        assert_eq!(refunds.expire(Moment::NEVER), None, "it is given up");
        assert_eq!(refunds.len(), 4, "and gone");
        refunds.done(&first);
        assert_eq!(refunds.len(), 1);
    }
}
