//! Sends ticks, which renew holds and refresh places, and applies their answers.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::pace::{BATCH, Slot};
use crate::attempt::Attempt;
use crate::attempt::event::{Asked, Event};
use crate::attempt::state::State;
use crate::base::clock::{Moment, millis, until};
use crate::base::limit;
use crate::base::trace::debug;
use crate::connection::failure::Failure;
use crate::runtime::shared::Shared;
use crate::types::error::Error;
use crate::wire::command::Request;
use crate::wire::reply::{TickItem, TickReply};
use crate::wire::request::{TickArgs, TickOp, tick};
use crate::wire::value::Answer;

/// One item of a tick.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) asked: Asked,
}

impl Item {
    /// Renews (or confirms) the hold with this token for its lease.
    pub(crate) fn renew(attempt: Arc<Attempt>, token: u64) -> Self {
        let spec = &attempt.spec;
        let is_grant = spec.at_least.is_some() && attempt.with(State::is_claim);
        let lease = if is_grant { spec.first_lease() } else { spec.lease };
        Self {
            attempt,
            asked: Asked::Hold { token, lease },
        }
    }

    pub(super) fn refresh(attempt: Arc<Attempt>) -> Self {
        Self {
            attempt,
            asked: Asked::Place,
        }
    }

    /// Applies what the server answered to it.
    pub(crate) fn apply(&self, shared: &Shared, item: TickItem, (stamp, sent): (u64, Moment)) {
        let attempt = &self.attempt;
        if let TickItem::Granted(grant) = &item
            && attempt.spec.is_shared()
            && attempt.with(|state| state.is_queued() == Some(true))
        {
            shared.tell(attempt, attempt.granted_at(grant, stamp)); // the message was lost
        }
        let event = Event::Ticked {
            asked: self.asked,
            item,
            stamp,
            sent,
        };
        shared.on(attempt, event, Moment::now());
    }

    pub(super) fn is_renewal(&self) -> bool {
        self.asked != Asked::Place
    }
}

/// A batch that is over.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) items: Vec<Item>,
    pub(super) sent: Moment,
    /// There was no answer.
    pub(super) failed: bool,
}

/// When a batch is sent again if there is no answer, and until when an answer counts.
fn patience(shared: &Shared, items: &[Item], now: Moment) -> (Duration, Duration) {
    let most = shared.options.operation_timeout;
    if !items.iter().any(Item::is_renewal) {
        return (most, most); // a place lasts for ten seconds
    }
    let leases = items.iter().map(|item| item.attempt.spec.lease);
    let lease = leases.min().unwrap_or(most);
    let left = || {
        let left = |item: &Item| item.attempt.with(|state| state.held().map(|held| held.left(now)));
        items.iter().map(move |item| left(item).unwrap_or_default())
    };
    let (shortest, longest) = (left().min().unwrap_or(lease), left().max().unwrap_or(lease));
    let again = limit::renewal(most, lease, shortest, shared.route.round_trip());
    (again, longest.min(most).max(again))
}

/// Sends one batch and applies its replies. Its time begins here.
pub(super) async fn send(shared: &Shared, items: Vec<Item>, slot: Slot) -> Over {
    let sent = Moment::now();
    let failed = !is_answered(shared, &items, sent, slot).await;
    Over { items, sent, failed }
}

/// Survives every error: what failed is due again soon.
async fn is_answered(shared: &Shared, items: &[Item], now: Moment, slot: Slot) -> bool {
    let (again, most) = patience(shared, items, now);
    let mut work = pin!(exchange_all(shared, items, now + most));
    let result = match until(now + again, None, work.as_mut()).await {
        None if again < most => {
            debug!(items = items.len(), "a tick is overdue");
            note_trouble(items, &shared.route.why_silent().to_string());
            free(shared, items); // to be sent again; the answer to this one still counts
            drop(slot);
            shared.schedule.look.notify_one(); // another may be sent
            let is_answered = work.await;
            if is_answered {
                free(shared, items);
            }
            return is_answered;
        }
        None => work.await,
        Some(result) => result,
    };
    free(shared, items);
    result
}

/// Remembers why these holds were not renewed, for the case that one of them is lost.
fn note_trouble(items: &[Item], why: &str) {
    let why: Arc<str> = why.into();
    for item in items.iter().filter(|item| item.is_renewal()) {
        item.attempt.note_trouble(&why);
    }
}

/// How many items of a batch that was refused are under way at once, each in a request of its own.
const ALONE: usize = 16;

/// The exchange, in a request for each slot. Returns whether any was answered.
async fn exchange_all(shared: &Shared, items: &[Item], deadline: Moment) -> bool {
    let Some(parts) = by_slot(shared, items) else {
        return exchange_each(shared, items, deadline).await;
    };
    let requests: Vec<Request> = parts.iter().map(|part| request(shared, part)).collect();
    let answers = shared.route.run_all(&requests, deadline).await;
    let settling = parts.iter().zip(answers).map(|(part, answer)| async move {
        let applied = answer.and_then(|answer| apply(shared, part, answer));
        settle(shared, part, applied, deadline).await
    });
    let mut under_way: FuturesUnordered<_> = settling.collect();
    let mut any = false;
    while let Some(is_answered) = under_way.next().await {
        any |= is_answered;
    }
    any
}

/// The places of these attempts, in batches of one slot each.
pub(crate) fn batches_of_places(
    shared: &Shared,
    attempts: impl Iterator<Item = Arc<Attempt>>,
) -> Vec<Vec<Item>> {
    let items: Vec<Item> = attempts.map(Item::refresh).collect();
    let parts = by_slot(shared, &items).unwrap_or_else(|| vec![items]);
    let batches = parts.iter().flat_map(|part| part.chunks(BATCH));
    batches.map(<[Item]>::to_vec).collect()
}

/// Refreshes places out of turn.
pub(crate) async fn refresh_places(shared: &Shared, places: Vec<Item>) {
    let deadline = Moment::now() + shared.options.operation_timeout;
    exchange_each(shared, &places, deadline).await;
}

/// The items of each slot, if they are of several.
fn by_slot(shared: &Shared, items: &[Item]) -> Option<Vec<Vec<Item>>> {
    let slot = |item: &Item| shared.route.slot(&item.attempt.key);
    let first = items.first().map(slot)?;
    if items.iter().all(|item| slot(item) == first) {
        return None;
    }
    let mut parts: BTreeMap<u16, Vec<Item>> = BTreeMap::new();
    for item in items {
        parts.entry(slot(item)).or_default().push(item.clone());
    }
    Some(parts.into_values().collect())
}

/// The exchange, item by item if the batch is refused: what is wrong with one of them costs only itself. Returns whether
/// any was answered.
async fn exchange_each(shared: &Shared, items: &[Item], deadline: Moment) -> bool {
    let together = exchange(shared, items, deadline).await;
    settle(shared, items, together, deadline).await
}

/// What an exchange came to.
async fn settle(
    shared: &Shared,
    items: &[Item],
    together: Result<Vec<TickItem>, Failure>,
    deadline: Moment,
) -> bool {
    let Err(failure) = together else { return true };
    debug!(error = %failure.error, items = items.len(), "a tick failed");
    if failure.passing && !failure.is_split() || items.len() < 2 {
        note_trouble(items, &text(&failure.error));
        return false;
    }
    let (mut rest, mut under_way, mut any) = (items.chunks(1), FuturesUnordered::new(), false);
    loop {
        while under_way.len() < ALONE
            && let Some(item) = rest.next()
        {
            under_way.push(exchange_alone(shared, item, deadline));
        }
        match under_way.next().await {
            Some(is_answered) => any |= is_answered,
            None => return any,
        }
    }
}

async fn exchange_alone(shared: &Shared, item: &[Item], deadline: Moment) -> bool {
    let answer = exchange(shared, item, deadline).await;
    if let Err(failure) = &answer {
        debug!(error = %failure.error, "a tick's item failed");
        note_trouble(item, &text(&failure.error));
    }
    answer.is_ok()
}

/// An error with its cause.
fn text(error: &Error) -> String {
    format!("{error:?}")
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
    let answer = shared.route.run(&request(shared, items), deadline).await?;
    apply(shared, items, answer)
}

fn request(shared: &Shared, items: &[Item]) -> Request {
    for Item { attempt, .. } in items {
        shared.confirming(attempt);
    }
    let args: Vec<TickArgs<'_>> = items.iter().map(|item| args(shared, item)).collect();
    tick(&args)
}

/// Applies what each came to, and returns it.
fn apply(
    shared: &Shared,
    items: &[Item],
    Answer { reply, sent, clock }: Answer,
) -> Result<Vec<TickItem>, Failure> {
    let mut reply = TickReply::read(reply).map_err(Failure::refused)?;
    let stamp = reply.stamp;
    clock.note(sent, stamp);
    shared.note_publish(reply.refused);
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let answer = reply.next().map_err(Failure::refused)?;
        item.apply(shared, answer, (stamp, sent));
        answers.push(answer);
    }
    Ok(answers)
}

pub(crate) fn args<'a>(shared: &Shared, item: &'a Item) -> TickArgs<'a> {
    let attempt = &item.attempt;
    let (op, lease) = match item.asked {
        Asked::Place => {
            let polls = shared.polls(&attempt.key);
            (TickOp::Refresh { polls }, attempt.spec.lease)
        }
        Asked::Hold { token, lease } if lease > attempt.spec.first_lease() => {
            (TickOp::Extend { token }, lease)
        }
        Asked::Hold { token, lease } => (TickOp::Renew { token }, lease),
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

/// The same renewal as one that is certainly a write.
pub(crate) const fn secured(mut args: TickArgs<'_>) -> TickArgs<'_> {
    if let TickOp::Renew { token } | TickOp::Extend { token } = args.op {
        args.op = TickOp::Secure { token };
    }
    args
}
