//! How many requests of the keeper are under way at once, and which renewals share one. No I/O and no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::clock::Moment;
use crate::base::limit;

/// The maximum number of items in one request. Measured on a busy machine, the script takes 0.6 ms for a hundred places on
/// one key, 1.2 ms for as many renewals, and 2.7 ms for places on a hundred keys: other requests wait no longer for it.
pub(super) const BATCH: usize = 100;

/// Bounds the number of batches of one kind under way.
#[derive(Debug)]
pub(super) struct Window {
    least: usize,
    size: usize,
    under_way: Arc<AtomicUsize>,
}

/// One batch under way, as long as it counts.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Window {
    /// `least` is enough near a server: it has work while the answers to one batch are applied.
    pub(super) fn new(least: usize) -> Self {
        Self {
            least,
            size: least,
            under_way: Arc::default(),
        }
    }

    /// From now on `batches` are to be sent within `time`, each of which is under way for `trip`.
    pub(super) fn fit(&mut self, batches: usize, trip: Duration, time: Duration) {
        self.size = limit::window(batches, trip, time).max(self.least);
    }

    pub(super) fn is_open(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) < self.size
    }

    /// One more batch is under way.
    pub(super) fn enter(&self) -> Slot {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(&self.under_way))
    }
}

/// A renewal that is due.
#[derive(Debug)]
pub(super) struct Due<T> {
    pub(super) lease: Duration,
    /// When the hold ends.
    pub(super) deadline: Moment,
    pub(super) item: T,
}

/// Renewals of about one lease together, because the shortest decides when a request is repeated; among these, holds that
/// end at about the same time. Each batch has the moment when its first hold ends.
pub(super) fn batches<T>(mut due: Vec<Due<T>>) -> Vec<(Moment, Vec<T>)> {
    due.sort_by_key(|due| due.lease);
    let mut class = Duration::ZERO;
    for due in &mut due {
        if due.lease > class.saturating_mul(2) {
            class = due.lease;
        }
        due.lease = class;
    }
    due.sort_by_key(|due| (due.lease, due.deadline));
    let mut batches: Vec<(Moment, Vec<T>)> = Vec::new();
    let mut class = None;
    for Due {
        lease,
        deadline,
        item,
    } in due
    {
        match batches.last_mut() {
            Some((_, batch)) if class == Some(lease) && batch.len() < BATCH => batch.push(item),
            _ => batches.push((deadline, vec![item])),
        }
        class = Some(lease);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn due(lease: u64, deadline: u64) -> Due<u64> {
        Due {
            lease: ms(lease),
            deadline: Moment::from_nanos(deadline),
            item: deadline,
        }
    }

    #[test]
    fn a_window_is_as_large_as_the_distance_needs() {
        let mut window = Window::new(4);
        for (batches, trip, size) in [
            (500, 1, 4),    // near the server
            (500, 40, 13),  // 500 batches in 1.5 s, 40 ms each
            (500, 500, 64), // never more
            (10, 500, 4),   // a few waiters
            (usize::MAX, u64::MAX / 2_000_000, 64),
        ] {
            window.fit(batches, ms(trip), ms(1500));
            assert_eq!(window.size, size, "{batches} batches, {trip} ms away");
        }
        window.fit(1, ms(1), Duration::ZERO);
        assert_eq!(window.size, 64, "no time at all");
    }

    #[test]
    fn a_window_is_closed_while_as_many_are_under_way_as_it_allows() {
        let window = Window::new(2);
        let first = window.enter();
        assert!(window.is_open(), "one of two");
        let second = window.enter();
        assert!(!window.is_open(), "two of two");
        drop(first);
        assert!(window.is_open(), "one is answered or overdue");
        drop(second);
    }

    #[test]
    fn renewals_share_a_request_with_those_of_their_lease_that_end_next_to_them() {
        let dues = (0..250).map(|n| due(10_000, 1000 - n)).collect();
        let found = batches(dues);
        let sizes: Vec<usize> = found.iter().map(|(_, items)| items.len()).collect();
        assert_eq!(sizes, [100, 100, 50], "no more than a request may have");
        assert_eq!(found[0].0, Moment::from_nanos(751), "the first to end");
        assert_eq!(found[0].1[..2], [751, 752], "are together");
        assert_eq!(found[2].1.last(), Some(&1000));
    }

    #[test]
    fn a_short_lease_does_not_share_a_request_with_a_long_one() {
        let dues = [(300, 7), (10_000, 5), (600, 3), (9_000, 9), (601, 1)];
        let found = batches(dues.map(|(lease, deadline)| due(lease, deadline)).into());
        let items: Vec<&[u64]> = found.iter().map(|(_, items)| &items[..]).collect();
        assert_eq!(
            items,
            [&[3, 7][..], &[1][..], &[5, 9][..]],
            "up to twice the shortest"
        );
        assert!(batches(Vec::<Due<u64>>::new()).is_empty(), "nothing is due");
    }
}
