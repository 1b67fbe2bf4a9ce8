//! The table of all attempts of a client that may have a hold or a place at the server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attempt::Attempt;

/// Slots by counter, and the queue of those to be ended.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<u64, Arc<Attempt>>,
    /// Has room for every slot: a drop never allocates and never fails (H15).
    ending: VecDeque<Arc<Attempt>>,
    next: u64,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot, before anything is sent.
    pub(crate) fn insert(&self, make: impl FnOnce(u64) -> Attempt) -> Arc<Attempt> {
        let mut inner = self.lock();
        inner.next += 1;
        let attempt = Arc::new(make(inner.next));
        inner.slots.insert(attempt.counter, Arc::clone(&attempt));
        let missing = inner.slots.len().saturating_sub(inner.ending.len());
        inner.ending.reserve(missing);
        attempt
    }

    pub(crate) fn get(&self, counter: u64) -> Option<Arc<Attempt>> {
        self.lock().slots.get(&counter).cloned()
    }

    pub(crate) fn remove(&self, attempt: &Attempt) {
        self.lock().slots.remove(&attempt.counter);
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
        let slots: Vec<_> = (0..1000).map(|_| table.insert(attempt)).collect();
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
        assert_eq!(table.pop_ending().map(|slot| slot.counter), Some(1), "in order");
    }
}
