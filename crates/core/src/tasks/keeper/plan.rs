//! Decides what the keeper sends, and when: finds what is due, queues it, and takes batches from the queues.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::pace::{BATCH, Due, Slot, Window, batches};
use super::renew::{Item, Over};
use crate::attempt::Attempt;
use crate::attempt::event::{Asked, Effects, Event};
use crate::attempt::state::State;
use crate::base::backoff::Backoff;
use crate::base::clock::Moment;
use crate::base::trace::warn;
use crate::runtime::schedule::{POLL_LEAST, POLL_MOST, TICK_MOST};
use crate::runtime::shared::Shared;

/// How many batches of renewals are under way in time, near the server.
const RENEWALS: usize = 8;
/// How many batches of places are under way, near the server.
const PLACES: usize = 4;

/// What the keeper remembers between scans. The queues are bounded by the number of attempts: one is queued when a scan finds
/// it due and it is not queued already, or when the one request about its place is over.
#[derive(Debug)]
pub(super) struct Plan {
    poll: Backoff,
    renewals: Renewals,
    /// The first waiters of keys whose timer is due, by their counters.
    looks: BTreeMap<u64, Arc<Attempt>>,
    round: Round,
    places: Window,
    /// Places that are to be sent again, from that moment on.
    again: (VecDeque<Arc<Attempt>>, Moment),
    /// It was late once.
    was_late: bool,
}

/// The renewals to be sent.
#[derive(Debug)]
struct Renewals {
    /// Batches, by the moment when the first of their holds ends; the number makes each unique.
    queue: BTreeMap<(Moment, u64), Vec<Item>>,
    number: u64,
    window: Window,
}

/// One refresh of all places.
#[derive(Debug)]
struct Round {
    places: VecDeque<Arc<Attempt>>,
    began: Moment,
    /// The pause between two batches.
    gap: Duration,
    /// The number of batches so far.
    sent: u32,
    /// A place that was heard of since is left out.
    heard: Moment,
    /// The answer to a tick that was sent before does not count: a message may have been lost since.
    counts: Moment,
    /// The next round is due already.
    next_is_due: bool,
}

impl Round {
    /// When the next batch is due.
    fn due(&self) -> Moment {
        self.began + self.gap.saturating_mul(self.sent)
    }
}

/// What a scan found.
struct Found {
    now: Moment,
    /// When something is due next.
    next: Moment,
    /// Who waits, the oldest first.
    waiting: Vec<Arc<Attempt>>,
    /// The shortest lease of those that wait.
    shortest: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        let past = Moment::from_nanos(0);
        Self {
            poll: Backoff::new((POLL_LEAST, POLL_MOST)),
            renewals: Renewals {
                queue: BTreeMap::new(),
                number: 0,
                window: Window::new(RENEWALS),
            },
            looks: BTreeMap::new(),
            round: Round {
                places: VecDeque::new(),
                began: past,
                gap: Duration::ZERO,
                sent: 0,
                heard: Moment::NEVER,
                counts: past,
                next_is_due: false,
            },
            places: Window::new(PLACES),
            again: (VecDeque::new(), past),
            was_late: false,
        }
    }
}

/// Finding what is due.
impl Plan {
    /// Looks at every attempt: who has to be renewed, who is lost, whose place is to be refreshed.
    pub(super) fn scan(&mut self, shared: &Shared, now: Moment) {
        // Whoever comes to wait after this sets it anew; whoever came before is seen below.
        let (tick_at, at_once) = shared.schedule.begin_scan();
        let mut found = Found {
            now,
            next: Moment::NEVER,
            waiting: Vec::new(),
            shortest: TICK_MOST * 3,
        };
        let mut due = Vec::new();
        let (mut shortest_held, mut worst) = (TICK_MOST * 3, shared.schedule.latest());
        let mut any_lost = false;
        let attempts = shared.table.all();
        let number = attempts.len();
        for attempt in attempts {
            let effects = attempt.on(Event::Scanned, now);
            shared.follow_scan(&attempt, &effects);
            found.next = found.next.min(effects.due);
            worst = worst.max(effects.late);
            any_lost |= effects.lost.is_some();
            let lease = attempt.spec.lease;
            if effects.held {
                shortest_held = shortest_held.min(lease);
            }
            if effects.waits {
                found.shortest = found.shortest.min(lease);
                found.waiting.push(attempt);
            } else {
                due.extend(renewal(attempt, &effects));
            }
        }
        self.renewals.forget_ended(shared, now);
        let trip = shared.route.distance();
        self.renewals.add(due, trip);
        shared.schedule.note_lateness(worst);
        let is_late = worst > shortest_held / 6 && worst > Duration::from_millis(20);
        if is_late && !any_lost && !self.was_late {
            warn!(late = ?worst, "the keeper is late: something blocks its runtime; keeper_thread(true) gives it a thread of its own");
        }
        self.was_late |= is_late; // said once; each loss says it again
        let next = self.find_places(shared, found, tick_at, at_once);
        shared.schedule.end_scan(next, number);
    }

    /// Queues the waiters whose place is to be refreshed. Returns when something is due next.
    fn find_places(&mut self, shared: &Shared, found: Found, tick_at: Moment, at_once: bool) -> Moment {
        let schedule = &shared.schedule;
        let now = found.now;
        if found.waiting.is_empty() {
            schedule.forget_keys(now, |_| false);
            self.round.places.clear();
            self.round.next_is_due = false;
            return found.next;
        }
        let (mut due, next_key) = schedule.due_keys(now);
        // A quiet queue must not look like a silent server.
        let pause = found.shortest.min(shared.options.unavailable_after) / 3;
        // It is not piled upon one that is not over.
        self.round.next_is_due |= now >= tick_at;
        let begins = at_once || self.round.next_is_due && self.round.places.is_empty();
        if !(begins && found.waiting.len() <= BATCH) {
            for attempt in &found.waiting {
                if !due.is_empty() && due.remove(&attempt.key) {
                    self.looks.insert(attempt.counter, Arc::clone(attempt));
                }
            }
        }
        let next = found.next.min(next_key);
        if begins {
            let pause = self.begin_round(shared, found, pause, at_once);
            schedule.tick_no_later_than(now + pause);
        } else if !self.round.next_is_due {
            schedule.tick_no_later_than(tick_at.min(now + pause));
        }
        next
    }

    /// Begins a round, and returns when the next one is due.
    fn begin_round(&mut self, shared: &Shared, found: Found, pause: Duration, at_once: bool) -> Duration {
        let Found { now, waiting, .. } = found;
        let time = pause * 2 / 3; // for the whole round
        let listening = shared.schedule.is_listening();
        let mut places: Vec<_> = waiting
            .into_iter()
            .map(|attempt| (attempt.with(State::heard), attempt))
            .collect();
        let keys: HashSet<&[u8]> = places.iter().map(|(_, one)| &*one.key).collect();
        shared.schedule.forget_keys(now, |key| keys.contains(&**key));
        if listening && !at_once {
            // The next round may be in time for a long lease, if this one is for a short one.
            let late = now + pause + time;
            let own = |attempt: &Attempt| {
                let own = attempt.spec.lease.min(shared.options.unavailable_after) / 3;
                own.min(TICK_MOST)
            };
            places.retain(|(heard, attempt)| *heard + own(attempt) < late);
        }
        places.sort_by_key(|(heard, _)| *heard);
        let batches = places.len().div_ceil(BATCH).max(1);
        let trip = shared.route.distance();
        self.places.fit(batches, trip, time);
        let paced = listening && !at_once;
        let number = u32::try_from(batches).unwrap_or(u32::MAX);
        self.round = Round {
            places: places.into_iter().map(|(_, attempt)| attempt).collect(),
            began: now,
            gap: if paced { time / number } else { Duration::ZERO },
            sent: 0,
            heard: if at_once { Moment::NEVER } else { now },
            counts: if at_once { now } else { self.round.counts },
            next_is_due: false,
        };
        self.again.0.clear();
        if listening {
            self.poll.reset();
            pause
        } else {
            self.poll.next()
        }
    }
}

/// The renewal that a scan found due.
fn renewal(attempt: Arc<Attempt>, effects: &Effects) -> Option<Due<Item>> {
    let token = effects.renew?;
    let deadline = attempt.held().map_or(Moment::NEVER, |held| held.deadline);
    Some(Due {
        lease: attempt.spec.lease,
        deadline,
        item: Item::renew(attempt, token),
    })
}

impl Renewals {
    fn add(&mut self, due: Vec<Due<Item>>, trip: Duration) {
        let Some(shortest) = due.iter().map(|due| due.lease).min() else {
            return;
        };
        for (deadline, items) in batches(due) {
            self.number += 1;
            self.queue.insert((deadline, self.number), items);
        }
        self.window.fit(self.queue.len(), trip, shortest / 12);
    }

    /// Leaves out holds that have ended while their renewal waited, so that the first one in the queue has not.
    fn forget_ended(&mut self, shared: &Shared, now: Moment) {
        while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= now) {
            let (_, number) = *first.key();
            let (end, items) = still_held(shared, first.remove(), now);
            if !items.is_empty() {
                self.queue.insert((end, number), items);
            }
        }
    }

    /// The next batch: holds that still need a renewal.
    fn next(&mut self, shared: &Shared, now: Moment) -> Option<(Vec<Item>, Slot)> {
        while self.window.is_open()
            && let Some((_, items)) = self.queue.pop_first()
        {
            let (_, items) = still_held(shared, items, now);
            if !items.is_empty() {
                return Some((items, self.window.enter()));
            }
        }
        None
    }
}

/// Those of these holds that can still be renewed, and when the first of them ends.
fn still_held(shared: &Shared, mut items: Vec<Item>, now: Moment) -> (Moment, Vec<Item>) {
    let mut end = Moment::NEVER;
    items.retain_mut(|item| {
        let held = item.attempt.held().filter(|held| held.deadline > now);
        if let (Some(held), Asked::Hold { token, .. }) = (held, &mut item.asked) {
            *token = held.token; // it may have been upgraded
            end = end.min(held.deadline);
            return true;
        }
        shared.on(&item.attempt, Event::TickOver { renewal: true }, now);
        false
    });
    (end, items)
}

/// Taking what is to be sent.
impl Plan {
    /// Takes the next batch that may be sent now: renewals first.
    pub(super) fn next(&mut self, shared: &Shared, now: Moment) -> Option<(Vec<Item>, Slot)> {
        let batch = self.renewals.next(shared, now);
        if batch.is_some() || !self.renewals.queue.is_empty() || !self.places.is_open() {
            return batch;
        }
        let items = self.next_places(shared, now);
        if items.is_empty() {
            return self.renewals.next(shared, now); // a place may have become a hold that is due
        }
        Some((items, self.places.enter()))
    }

    fn next_places(&mut self, shared: &Shared, now: Moment) -> Vec<Item> {
        let mut items = Vec::new();
        while items.len() < BATCH
            && let Some((_, attempt)) = self.looks.pop_first()
        {
            items.extend(self.place(shared, attempt, now));
        }
        if items.is_empty() && now >= self.round.due() && !self.round.places.is_empty() {
            while items.len() < BATCH
                && let Some(attempt) = self.round.places.pop_front()
            {
                if attempt.with(State::heard) < self.round.heard {
                    items.extend(self.place(shared, attempt, now));
                }
            }
            self.round.sent += 1;
            if self.round.places.is_empty() && std::mem::take(&mut self.round.next_is_due) {
                shared.schedule.tick_no_later_than(now);
            }
        }
        let (again, from) = &mut self.again;
        if items.is_empty() && self.round.places.is_empty() && now >= *from {
            let mut again = std::mem::take(again);
            while items.len() < BATCH
                && let Some(attempt) = again.pop_front()
            {
                items.extend(self.place(shared, attempt, now));
            }
            self.again.0 = again;
        }
        items
    }

    /// The place of this attempt, if it still waits and no request about it is under way.
    fn place(&mut self, shared: &Shared, attempt: Arc<Attempt>, now: Moment) -> Option<Item> {
        let effects = attempt.on(Event::Scanned, now);
        shared.follow_scan(&attempt, &effects);
        if effects.waits {
            let refresh = attempt.on(Event::Refreshing, now).refresh;
            return refresh.then(|| Item::refresh(attempt));
        }
        let due = renewal(attempt, &effects); // it was granted since
        let trip = shared.route.distance();
        self.renewals.add(due.into_iter().collect(), trip);
        None
    }

    /// When the next batch may be sent, if nothing happens before.
    pub(super) fn due(&self) -> Moment {
        if !self.renewals.queue.is_empty() || !self.places.is_open() {
            Moment::NEVER // an answer, or an overdue batch, makes room
        } else if !self.round.places.is_empty() {
            self.round.due()
        } else if !self.again.0.is_empty() {
            self.again.1
        } else {
            Moment::NEVER
        }
    }

    /// A hold may end while its renewal waits to be sent: then it has to be looked at.
    pub(super) fn first_end(&self) -> Moment {
        let first = self.renewals.queue.first_key_value();
        first.map_or(Moment::NEVER, |((deadline, _), _)| *deadline)
    }

    /// A batch is over. Its places are sent again if that has to be.
    pub(super) fn over(&mut self, batch: Over, now: Moment) {
        let (again, from) = &mut self.again;
        if batch.failed {
            *from = now + POLL_MOST;
        }
        if batch.failed || batch.sent < self.round.counts {
            let places = batch.items.into_iter().filter(|item| !item.is_renewal());
            again.extend(places.map(|item| item.attempt));
        }
    }
}
