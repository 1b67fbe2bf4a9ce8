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

use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use self::plan::Plan;
use self::refund::refund;
use crate::base::clock::{Moment, sleep_until};
use crate::runtime::shared::{Life, Shared};

/// The maximum number of ends under way at once.
const ENDS: usize = 256;
/// The maximum number of refunds under way at once.
const REFUNDS: usize = 16;
/// The maximum number of ticks under way at once, those included that are overdue.
const TICKS: usize = 256;

/// Ends attempts that were given up, until the client's life ends and the queue is empty.
pub(crate) async fn run(shared: &Shared) {
    let schedule = &shared.schedule;
    let mut life = shared.life.subscribe();
    let mut ends = FuturesUnordered::new();
    let mut refunds = FuturesUnordered::new();
    let mut give_up = Moment::NEVER;
    loop {
        // Read before the queue: once it is set, nothing that has to be sent is added to the queue.
        let collected = shared.collected.load(Ordering::Acquire);
        while ends.len() < ENDS
            && let Some(attempt) = shared.table.pop_ending()
        {
            ends.push(end::end(shared, attempt));
        }
        while refunds.len() < REFUNDS {
            let batch = shared.refunds.take();
            if batch.is_empty() {
                break;
            }
            refunds.push(refund(shared, batch));
        }
        if give_up == Moment::NEVER && *life.borrow_and_update() != Life::Open {
            give_up = Moment::now() + shared.options.operation_timeout;
        }
        if give_up != Moment::NEVER
            && (collected && ends.is_empty() && refunds.is_empty() || Moment::now() >= give_up)
        {
            return;
        }
        tokio::select! {
            () = schedule.wake.notified() => {}
            _ = life.changed() => {}
            Some(()) = ends.next(), if !ends.is_empty() => {}
            Some(()) = refunds.next(), if !refunds.is_empty() => {}
            () = sleep_until(give_up, None) => {}
        }
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
