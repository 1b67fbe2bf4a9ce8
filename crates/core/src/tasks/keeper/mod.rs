//! The keeper: two background tasks of a client. One renews and refreshes, the other ends attempts
//! that were given up.
//!
//! - here: its loops;
//! - `plan`: what is due, and when it is sent;
//! - `pace`: how many requests are under way at once, and what shares one;
//! - `renew`: one request about many holds or places;
//! - `end`: releases after drops, undoing after cancellations;
//! - `refund`: refunds of a rate limiter's unused reservations.

pub(crate) mod end;
mod pace;
mod plan;
mod refund;
pub(crate) mod renew;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use self::end::Debt;
use self::plan::Plan;
use self::refund::refund;
use crate::base::clock::{Moment, sleep_until};
use crate::runtime::shared::{Life, Shared};

/// The maximum number of ends under way at once.
const ENDS: usize = 256;
/// How many of these may be about attempts whose first end failed: others come first.
const DEBTS: usize = 128;
/// The maximum number of refunds under way at once.
const REFUNDS: usize = 16;
/// The maximum number of ticks under way at once, those included that are overdue.
const TICKS: usize = 256;

/// Ends attempts that were given up, until the client's life ends and the queue is empty.
pub(crate) async fn run(shared: &Shared) {
    let schedule = &shared.schedule;
    let timeout = shared.options.operation_timeout;
    let mut life = shared.life.subscribe();
    let mut ends = FuturesUnordered::new();
    let mut debts = Debts::default();
    let mut refunds = FuturesUnordered::new();
    let mut give_up = Moment::NEVER;
    loop {
        // Read before the queue: once it is set, nothing that has to be sent is added to the queue.
        let collected = shared.collected.load(Ordering::Acquire);
        let now = Moment::now();
        // Nothing is begun without a connection, so that nothing has to be given up and begun again.
        let up = shared.route.is_up();
        let mut next = Moment::NEVER;
        let mut unsent = false;
        if up {
            while ends.len() < ENDS
                && let Some(attempt) = shared.table.pop_ending()
            {
                ends.push(end::end(shared, Debt::new(attempt, now)));
            }
            while ends.len() < DEBTS
                && let Some(debt) = debts.take_due(now)
            {
                ends.push(end::end(shared, debt));
            }
            while refunds.len() < REFUNDS {
                let batch = shared.refunds.take(now - timeout);
                if batch.is_empty() {
                    break;
                }
                refunds.push(refund(shared, batch));
            }
            if ends.len() < DEBTS {
                next = debts.first_due();
            }
        } else {
            // What is new then comes before them.
            while let Some(attempt) = shared.table.pop_ending() {
                debts.add(Debt::new(attempt, now));
            }
            if let Some(since) = shared.refunds.expire(now - timeout) {
                next = since + timeout + Duration::from_millis(1);
                unsent = true;
            }
        }
        if give_up == Moment::NEVER && *life.borrow_and_update() != Life::Open {
            give_up = now + timeout;
        }
        if give_up != Moment::NEVER
            && (collected && ends.is_empty() && debts.is_empty() && refunds.is_empty() && !unsent
                || now >= give_up)
        {
            return;
        }
        tokio::select! {
            () = schedule.wake.notified() => {}
            _ = life.changed() => {}
            Some(left) = ends.next(), if !ends.is_empty() => left.into_iter().for_each(|debt| debts.add(debt)),
            Some(()) = refunds.next(), if !refunds.is_empty() => {}
            () = shared.route.wait_until_up(), if !up => {}
            () = sleep_until(give_up.min(next), None) => {}
        }
    }
}

/// Attempts whose end failed, by when it is tried again. Each has a slot in the table.
#[derive(Debug, Default)]
struct Debts {
    queue: BTreeMap<(Moment, u64), Debt>,
    number: u64,
}

impl Debts {
    fn add(&mut self, debt: Debt) {
        self.number += 1;
        self.queue.insert((debt.due, self.number), debt);
    }

    fn take_due(&mut self, now: Moment) -> Option<Debt> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    fn first_due(&self) -> Moment {
        let first = self.queue.first_key_value();
        first.map_or(Moment::NEVER, |((due, _), _)| *due)
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Renews holds, refreshes places and looks at keys when they are due, until it is dropped.
pub(crate) async fn look(shared: &Shared) -> ! {
    let schedule = &shared.schedule;
    let mut plan = Plan::default();
    let mut ticks = FuturesUnordered::new();
    loop {
        let now = Moment::now();
        if now >= schedule.due() {
            schedule.note_scan(schedule.overdue());
            plan.scan(shared, now);
        }
        while ticks.len() < TICKS
            && let Some((items, slot)) = plan.next(shared, Moment::now())
        {
            ticks.push(renew::send(shared, items, slot));
        }
        schedule.no_later_than(plan.first_end());
        let next = if ticks.len() < TICKS {
            plan.due()
        } else {
            Moment::NEVER
        };
        tokio::select! {
            () = schedule.look.notified() => {}
            Some(over) = ticks.next(), if !ticks.is_empty() => plan.over(over, Moment::now()),
            () = sleep_until(schedule.due().min(next), None) => {}
        }
    }
}
