//! The keeper: two background tasks of a client. One looks after everything that needs time, the other ends what was given up.
//!
//! - here: its loops;
//! - `tick`: renewals and places, many in one request;
//! - `ending`: releases after drops, undoing after cancellations.

pub(crate) mod ending;
pub(crate) mod tick;

use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::base::clock::{Moment, sleep_until};
use crate::runtime::refunds::refund;
use crate::runtime::shared::{Life, Shared};

/// Ends that are under way at once.
const ENDS: usize = 256;
/// Requests that give reservations back and are under way at once.
const REFUNDS: usize = 16;

/// Ends what is given up, until the client's life ends and what was queued is sent.
pub(crate) async fn run(shared: &Shared) {
    let keeper = &shared.keeper;
    let mut life = shared.life.subscribe();
    let mut ends = FuturesUnordered::new();
    let mut refunds = FuturesUnordered::new();
    let mut give_up = Moment::NEVER;
    loop {
        // Read before the queue is looked at: once it is set, nothing that has to be sent comes into the queue any more.
        let collected = shared.collected.load(Ordering::Acquire);
        while ends.len() < ENDS
            && let Some(attempt) = shared.table.pop_ending()
        {
            ends.push(ending::end(shared, attempt));
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
            () = keeper.wake.notified() => {}
            _ = life.changed() => {}
            Some(()) = ends.next(), if !ends.is_empty() => {}
            Some(()) = refunds.next(), if !refunds.is_empty() => {}
            () = sleep_until(give_up, None) => {}
        }
    }
}

/// Renews, refreshes and looks again in time, until it is dropped.
pub(crate) async fn look(shared: &Shared) -> ! {
    let keeper = &shared.keeper;
    let mut plan = tick::Plan::default();
    let mut ticks = FuturesUnordered::new();
    loop {
        let due = keeper.due();
        if Moment::now() >= due {
            keeper.begin_scan();
            for batch in plan.scan(shared) {
                ticks.push(tick::send(shared, batch));
            }
            continue;
        }
        tokio::select! {
            () = keeper.look.notified() => {}
            Some(()) = ticks.next(), if !ticks.is_empty() => {}
            () = sleep_until(due, None) => {}
        }
    }
}
