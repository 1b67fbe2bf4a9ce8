//! All attempts of a client that have, or may have, something at the server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attempt::{Attempt, Stage};

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

    /// Puts it into the queue of those to be ended, once. Returns whether the keeper has to be told.
    pub(crate) fn end(&self, attempt: &Arc<Attempt>) -> bool {
        let mut state = attempt.state();
        if state.ending_queued || state.stage == Stage::Gone {
            return false;
        }
        state.stage = Stage::Ending;
        state.ending_queued = true;
        state.wake_watchers();
        drop(state);
        self.lock().ending.push_back(Arc::clone(attempt));
        true
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
    use crate::attempt::Spec;
    use crate::types::name::Name;
    use std::time::Duration;

    fn attempt(counter: u64) -> Attempt {
        let spec = Spec::exclusive(Duration::from_secs(1));
        let name = Name::new(b"a").expect("a name");
        Attempt::new(
            format!("c.{counter}"),
            counter,
            b"k".as_slice().into(),
            name,
            spec,
        )
    }

    #[test]
    fn h15_the_queue_of_ends_has_room_for_every_slot() {
        let table = Table::default();
        let slots: Vec<_> = (0..1000).map(|_| table.insert(attempt)).collect();
        let room = table.lock().ending.capacity();
        for slot in &slots {
            assert!(table.end(slot), "first time");
            assert!(!table.end(slot), "only once");
        }
        assert_eq!(table.lock().ending.capacity(), room, "nothing was allocated");
        assert_eq!(table.pop_ending().map(|slot| slot.counter), Some(1), "in order");
    }
}
