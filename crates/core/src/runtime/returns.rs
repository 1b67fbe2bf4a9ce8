//! Parts of counted holds that are being split off: if nobody takes one, it returns to the hold that it was split off.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::attempt::event::Ended;
use crate::base::clock::Moment;

/// Where a part returns to.
#[derive(Debug, Clone)]
pub(crate) struct Return {
    /// The id of the whole.
    pub(crate) into: Arc<str>,
    pub(crate) weight: u32,
    /// What has returned to the whole, and its guard has not noted yet.
    pub(crate) returned: Arc<AtomicU32>,
    /// Until then the part cannot have lapsed.
    pub(crate) until: Moment,
}

/// The parts, by the counters of their attempts.
#[derive(Debug, Default)]
pub(crate) struct Returns(Mutex<BTreeMap<u64, Return>>);

impl Returns {
    /// Before anything is sent, so that a drop has nothing to add.
    pub(crate) fn insert(&self, counter: u64, part: Return) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(counter, part);
    }

    pub(crate) fn get(&self, counter: u64) -> Option<Return> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.get(&counter).cloned()
    }

    /// The part was taken.
    pub(crate) fn remove(&self, counter: u64) -> Option<Return> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.remove(&counter)
    }

    /// The part was never split off, and never will be.
    pub(crate) fn unchanged(&self, counter: u64) {
        if let Some(part) = self.remove(counter) {
            part.returned.fetch_add(part.weight, Ordering::AcqRel);
        }
    }

    /// The end of the part was answered, or nothing can be left of it. The server says "nothing there" of a part that never
    /// was split off, but also of one that lapsed. So after its time the whole counts on having less.
    pub(crate) fn ended(&self, counter: u64, ended: Ended) {
        if let Some(part) = self.remove(counter)
            && !matches!(ended, Ended::Unknown | Ended::Forced)
            && Moment::now() < part.until
        {
            part.returned.fetch_add(part.weight, Ordering::AcqRel);
        }
    }
}
