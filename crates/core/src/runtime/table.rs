//! The table of all attempts of a client that may have a hold or a place at the server.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attempt::Attempt;

/// Slots by counter, and the queue of those to be ended.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<u64, Arc<Attempt>>,
    /// The attempts on each latch, by key: a message is about all of them, and about no others.
    latches: BTreeMap<Arc<[u8]>, BTreeSet<u64>>,
    /// Has room for every slot: a drop never allocates and never fails (H15).
    ending: VecDeque<Arc<Attempt>>,
    /// Those of which the client's record says more than their ids do, and since when: see [`Table::tell`].
    told: BTreeMap<u64, u64>,
    /// The last counters of upgrades, and of all others.
    last: [u64; 2],
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot, before anything is sent. `from`: the least counter, which says when it is; of an upgrade `None`.
    pub(crate) fn insert(&self, from: Option<u64>, make: impl FnOnce(u64) -> Attempt) -> Arc<Attempt> {
        let mut inner = self.lock();
        // A record keeps the counters of upgrades as small numbers, so these do not grow with time: they are odd.
        let (kind, bit) = if from.is_some() { (1, 0) } else { (0, 1) };
        let counter = (inner.last[kind] + 2).max(from.unwrap_or(0)) & !1 | bit;
        inner.last[kind] = counter;
        let attempt = Arc::new(make(counter));
        inner.slots.insert(attempt.counter, Arc::clone(&attempt));
        if attempt.spec.latch().is_some() {
            let key = Arc::clone(&attempt.key);
            inner.latches.entry(key).or_default().insert(attempt.counter);
        }
        let missing = inner.slots.len().saturating_sub(inner.ending.len());
        inner.ending.reserve(missing);
        attempt
    }

    pub(crate) fn get(&self, counter: u64) -> Option<Arc<Attempt>> {
        self.lock().slots.get(&counter).cloned()
    }

    pub(crate) fn remove(&self, attempt: &Attempt) {
        let mut inner = self.lock();
        inner.slots.remove(&attempt.counter);
        inner.told.remove(&attempt.counter);
        if attempt.spec.latch().is_some()
            && let Some(counters) = inner.latches.get_mut(&attempt.key)
        {
            counters.remove(&attempt.counter);
            if counters.is_empty() {
                inner.latches.remove(&attempt.key);
            }
        }
    }

    /// Puts it into the queue of those to be ended. An attempt comes here once: see `Effects::enqueue`.
    pub(crate) fn push_ending(&self, attempt: &Arc<Attempt>) {
        self.lock().ending.push_back(Arc::clone(attempt));
    }

    pub(crate) fn pop_ending(&self) -> Option<Arc<Attempt>> {
        self.lock().ending.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Returns the attempts on the latch with this key, or on any latch.
    pub(crate) fn on_latch(&self, key: Option<&[u8]>) -> Vec<Arc<Attempt>> {
        let inner = self.lock();
        let find = |counter: &u64| inner.slots.get(counter).cloned();
        match key {
            Some(key) => {
                let counters = inner.latches.get(key).into_iter().flatten();
                counters.filter_map(find).collect()
            }
            None => inner.latches.values().flatten().filter_map(find).collect(),
        }
    }

    /// Returns the other attempts on the key of this one.
    pub(crate) fn beside(&self, attempt: &Attempt) -> Vec<Arc<Attempt>> {
        let is_beside = |other: &&Arc<Attempt>| other.key == attempt.key && other.counter != attempt.counter;
        self.lock().slots.values().filter(is_beside).cloned().collect()
    }

    /// The client's record is to say more of this attempt: since when it holds or waits, if that is not 0. Returns whether
    /// that is news.
    pub(crate) fn tell(&self, attempt: &Attempt, since: u64) -> bool {
        let mut inner = self.lock();
        if !inner.slots.contains_key(&attempt.counter) {
            return false;
        }
        match inner.told.entry(attempt.counter) {
            Entry::Vacant(entry) => {
                entry.insert(since);
                true
            }
            Entry::Occupied(mut entry) if since > 0 => entry.insert(since) != since,
            Entry::Occupied(_) => false,
        }
    }

    /// The first of these attempts, which are the oldest.
    pub(crate) fn told(&self, most: usize) -> Vec<(Arc<Attempt>, u64)> {
        let inner = self.lock();
        let Inner { slots, told, .. } = &*inner;
        let told = told.iter().take(most);
        let found = told.filter_map(|(counter, since)| Some((slots.get(counter).cloned()?, *since)));
        let found = found.collect();
        drop(inner);
        found
    }

    /// A copy of the slots, for a scan.
    pub(crate) fn all(&self) -> Vec<Arc<Attempt>> {
        self.lock().slots.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::event::Event;
    use crate::attempt::rules::Plan;
    use crate::attempt::spec::Spec;
    use crate::base::clock::Moment;
    use crate::types::name::Name;
    use crate::types::options::Options;
    use std::time::Duration;

    fn attempt(counter: u64) -> Attempt {
        let spec = Spec::exclusive(Duration::from_secs(1));
        let spec = Plan::new(spec, Options::default().drift, false);
        let name = Name::new(b"a").expect("a name");
        let id = (format!("c.{counter}"), counter);
        Attempt::new(id, b"k".as_slice().into(), name, spec, Moment::now())
    }

    #[test]
    fn h15_the_queue_of_ends_has_room_for_every_slot() {
        let table = Table::default();
        let slots: Vec<_> = (0..1000).map(|_| table.insert(Some(0), attempt)).collect();
        let room = table.lock().ending.capacity();
        for slot in &slots {
            slot.note(Event::Asked { not_after: 1 });
            for first in [true, false] {
                let given_up = slot.on(Event::GivenUp, Moment::now());
                assert_eq!(given_up.enqueue, first, "only once");
                if given_up.enqueue {
                    table.push_ending(slot);
                }
            }
        }
        assert_eq!(table.lock().ending.capacity(), room, "nothing was allocated");
        assert_eq!(table.pop_ending().map(|slot| slot.counter), Some(2), "in order");
    }

    /// A record keeps the counters of upgrades as small numbers, and inspections read all others as times.
    #[test]
    fn counters_follow_the_time_but_those_of_upgrades() {
        let table = Table::default();
        let froms = [Some(0), None, Some(1001), Some(900), None, Some(2000), None];
        let slots = froms.map(|from| table.insert(from, attempt));
        let counters = slots.each_ref().map(|slot| slot.counter);
        assert_eq!(counters, [2, 3, 1000, 1002, 5, 2000, 7], "upgrades are odd");
    }

    #[test]
    fn what_is_told_of_an_attempt_goes_with_it() {
        let table = Table::default();
        let [first, second] = [Some(0), Some(0)].map(|from| table.insert(from, attempt));
        let told = || {
            let told = table.told(10).into_iter();
            told.map(|(slot, since)| (slot.counter, since))
                .collect::<Vec<_>>()
        };
        assert!(table.tell(&second, 0) && !table.tell(&second, 0), "once");
        assert!(
            table.tell(&first, 7) && !table.tell(&first, 0),
            "its time is kept"
        );
        assert!(table.tell(&first, 8) && !table.tell(&first, 8), "a later grant");
        assert_eq!(told(), [(2, 8), (4, 0)], "the oldest first");
        assert_eq!(table.told(1).len(), 1, "no more than asked for");
        table.remove(&first);
        assert!(!table.tell(&first, 9), "it is gone");
        assert_eq!(told(), [(4, 0)]);
    }

    #[test]
    fn a_message_about_a_latch_is_compared_with_the_attempts_on_it_alone() {
        let table = Table::default();
        let on_latch = |key: &str, counter: u64| {
            let asked = crate::attempt::ask::LatchAsk {
                on_missing: crate::types::latch::OnMissing::Fail,
                by: 0,
                once: None,
                to: None,
                at_once: false,
                adopts: false,
                keep: Duration::from_secs(60),
            };
            let spec = Spec {
                mode: crate::attempt::spec::Mode::Latch(Arc::new(asked)),
                ..Spec::exclusive(Duration::from_secs(1))
            };
            let spec = Plan::new(spec, Options::default().drift, false);
            let name = Name::new(b"a").expect("a name");
            let id = (format!("c.{counter}"), counter);
            Attempt::new(id, key.as_bytes().into(), name, spec, Moment::now())
        };
        let key = |number: usize| format!("latch {}", number % 1000);
        let slots: Vec<_> = (0..2000)
            .map(|number| table.insert(Some(0), |counter| on_latch(&key(number), counter)))
            .collect();
        table.insert(Some(0), attempt); // on a lock
        let found = table.on_latch(Some(b"latch 7"));
        let counters: Vec<_> = found.iter().map(|attempt| attempt.counter).collect();
        assert_eq!(counters, [slots[7].counter, slots[1007].counter], "of 2000");
        assert_eq!(table.on_latch(None).len(), 2000, "all of them");
        for slot in &slots {
            table.remove(slot);
        }
        assert!(table.on_latch(None).is_empty(), "none is left");
        assert!(table.lock().latches.is_empty(), "and no key");
    }
}
