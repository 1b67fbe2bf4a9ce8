//! Renews holds and refreshes places: finds what is due, sends ticks, and applies their answers.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::attempt::event::{Asked, Event};
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, millis, until};
use crate::base::limit;
use crate::base::trace::{debug, warn};
use crate::connection::failure::Failure;
use crate::runtime::schedule::{POLL_LEAST, POLL_MOST, TICK_MOST};
use crate::runtime::shared::Shared;
use crate::wire::reply::{TickItem, TickReply};
use crate::wire::request::{TickArgs, TickOp, tick};

/// Items in one request: at 100 the script takes about 0.1 ms.
const BATCH: usize = 100;

/// One item of a tick.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) asked: Asked,
}

impl Item {
    /// Renews (or confirms) the hold with this token for its lease.
    pub(crate) fn renew(attempt: Arc<Attempt>, token: u64) -> Self {
        let lease = attempt.spec.lease;
        Self {
            attempt,
            asked: Asked::Hold { token, lease },
        }
    }

    fn refresh(attempt: Arc<Attempt>) -> Self {
        Self {
            attempt,
            asked: Asked::Place,
        }
    }

    fn is_renewal(&self) -> bool {
        self.asked != Asked::Place
    }
}

/// What the keeper remembers between scans.
#[derive(Debug)]
pub(super) struct Plan {
    poll: Backoff,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            poll: Backoff::new((POLL_LEAST, POLL_MOST)),
        }
    }
}

impl Plan {
    /// Looks at every attempt: who has to be renewed, who is lost, whose place is to be refreshed.
    pub(super) fn scan(&mut self, shared: &Shared) -> Vec<Vec<Item>> {
        let now = Moment::now();
        // Whoever comes to wait after this sets it anew; whoever came before is seen below.
        let (tick_at, at_once) = shared.schedule.begin_scan();
        let mut next = Moment::NEVER;
        let mut items = Vec::new();
        let mut waiting = Vec::new();
        let (mut shortest, mut shortest_held) = (TICK_MOST * 3, TICK_MOST * 3);
        let mut worst = Duration::ZERO;
        for attempt in shared.table.all() {
            let found = attempt.on(Event::Scanned, now);
            shared.follow_scan(&attempt, &found);
            next = next.min(found.due);
            worst = worst.max(found.late);
            if found.held {
                shortest_held = shortest_held.min(attempt.spec.lease);
            }
            if found.waits {
                shortest = shortest.min(attempt.spec.lease);
                waiting.push(attempt);
            } else if let Some(token) = found.renew {
                items.push(Item::renew(attempt, token));
            }
        }
        shared.schedule.note_lateness(worst);
        if worst > shortest_held / 6 && worst > Duration::from_millis(20) {
            warn!(late = ?worst, "the keeper is late: something blocks its runtime; keeper_thread(true) gives it a thread of its own");
        }
        let tick_at = if at_once { now } else { tick_at };
        self.places(shared, (now, tick_at), shortest, waiting, &mut items, &mut next);
        shared.schedule.no_later_than(next);
        batches(items)
    }

    /// Adds the waiters whose place is to be refreshed.
    fn places(
        &mut self,
        shared: &Shared,
        (now, tick_at): (Moment, Moment),
        shortest: Duration,
        mut waiting: Vec<Arc<Attempt>>,
        items: &mut Vec<Item>,
        next: &mut Moment,
    ) {
        let schedule = &shared.schedule;
        let mut first_of: HashMap<Arc<[u8]>, Arc<Attempt>> = HashMap::new();
        for attempt in &waiting {
            let first = first_of
                .entry(Arc::clone(&attempt.key))
                .or_insert_with(|| Arc::clone(attempt));
            if attempt.counter < first.counter {
                *first = Arc::clone(attempt);
            }
        }
        let (due, next_key) = schedule.due_keys(now, |key| first_of.contains_key(key));
        let pause = if schedule.is_listening() {
            self.poll.reset();
            // A quiet queue must not look like a silent server.
            shortest.min(shared.options.unavailable_after) / 3
        } else {
            self.poll.next()
        };
        if waiting.is_empty() {
            return;
        }
        let mut tick_at = tick_at.min(now + pause);
        if now >= tick_at {
            tick_at = now + pause;
            // While the server is silent, one request about a place is enough.
            waiting.retain(|attempt| attempt.on(Event::Refreshing, now).refresh);
            items.extend(waiting.into_iter().map(Item::refresh));
        } else {
            let first = due.iter().filter_map(|key| first_of.remove(key));
            items.extend(first.map(Item::refresh));
        }
        schedule.tick_no_later_than(tick_at);
        *next = (*next).min(next_key);
    }
}

/// Items of one kind and of about one lease together: the shortest sets the request's deadline.
fn batches(mut items: Vec<Item>) -> Vec<Vec<Item>> {
    items.sort_by_key(|item| (!item.is_renewal(), item.attempt.spec.lease));
    let mut batches: Vec<Vec<Item>> = Vec::new();
    for item in items {
        match batches.last_mut() {
            Some(batch)
                if batch.len() < BATCH
                    && batch[0].is_renewal() == item.is_renewal()
                    && item.attempt.spec.lease <= batch[0].attempt.spec.lease * 2 =>
            {
                batch.push(item);
            }
            _ => batches.push(vec![item]),
        }
    }
    batches
}

/// When a batch is sent again if there is no answer, and until when an answer counts.
fn patience(shared: &Shared, items: &[Item], now: Moment) -> (Duration, Duration) {
    let most = shared.options.operation_timeout;
    let Some(first) = items.first().filter(|item| item.is_renewal()) else {
        return (most, most); // a place lasts for ten seconds
    };
    let lease = first.attempt.spec.lease;
    let left = || {
        let left = |item: &Item| item.attempt.with(|state| state.held().map(|held| held.left(now)));
        items.iter().map(move |item| left(item).unwrap_or_default())
    };
    let (shortest, longest) = (left().min().unwrap_or(lease), left().max().unwrap_or(lease));
    let again = limit::renewal(most, lease, shortest, shared.commands.round_trip());
    (again, longest.min(most).max(again))
}

/// Sends one batch and applies its replies. Survives every error: what failed is due again soon.
pub(super) async fn send(shared: &Shared, items: Vec<Item>) {
    let now = Moment::now();
    let (again, most) = patience(shared, &items, now);
    let mut work = pin!(exchange(shared, &items, now + most));
    let result = match until(now + again, None, work.as_mut()).await {
        None if again < most => {
            debug!(items = items.len(), "a tick is overdue");
            free(shared, &items); // to be sent again; the answer to this one still counts
            if work.await.is_ok() {
                free(shared, &items);
            }
            return;
        }
        None => work.await,
        Some(result) => result,
    };
    if let Err(failure) = &result {
        debug!(error = %failure.error, items = items.len(), "a tick failed");
        if items.iter().any(|item| !item.is_renewal()) {
            shared.schedule.tick_no_later_than(Moment::now() + POLL_MOST);
        }
    }
    free(shared, &items);
}

/// Nothing is under way for these items any more, or it takes too long: says when they are due.
fn free(shared: &Shared, items: &[Item]) {
    let now = Moment::now();
    for item in items {
        let renewal = item.is_renewal();
        shared.on(&item.attempt, Event::TickOver { renewal }, now);
    }
}

/// One round trip for these items; applies what each came to, and returns it.
pub(crate) async fn exchange(
    shared: &Shared,
    items: &[Item],
    deadline: Moment,
) -> Result<Vec<TickItem>, Failure> {
    let request = {
        let args: Vec<TickArgs<'_>> = items.iter().map(|item| args(shared, item)).collect();
        tick(&args)
    };
    let answer = shared.commands.run(&request, deadline).await?;
    let sent = answer.sent;
    let mut reply = TickReply::read(answer.reply).map_err(Failure::refused)?;
    let stamp = reply.stamp;
    shared.commands.note_stamp(sent, stamp);
    shared.note_publish(reply.refused);
    let mut answers = Vec::with_capacity(items.len());
    for Item { attempt, asked } in items {
        let item = reply.next().map_err(Failure::refused)?;
        let event = Event::Ticked {
            asked: *asked,
            item,
            stamp,
            sent,
        };
        shared.on(attempt, event, Moment::now());
        answers.push(item);
    }
    Ok(answers)
}

fn args<'a>(shared: &Shared, item: &'a Item) -> TickArgs<'a> {
    let attempt = &item.attempt;
    let (op, lease) = match item.asked {
        Asked::Place => {
            let polls = !shared.schedule.is_listening();
            (TickOp::Refresh { polls }, attempt.spec.lease)
        }
        Asked::Hold { token, lease } if lease > attempt.spec.lease => (TickOp::Extend { token }, lease),
        Asked::Hold { token, .. } => (TickOp::Renew { token }, attempt.spec.lease),
    };
    TickArgs {
        key: &attempt.key,
        id: &attempt.id,
        op,
        lease: millis(lease),
        life: shared.key_life_ms(&attempt.spec, lease),
        capacity: attempt.spec.capacity(),
    }
}
