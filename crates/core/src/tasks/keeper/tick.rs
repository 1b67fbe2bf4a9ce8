//! Renewals and places: what is due, in batches, and what the replies mean.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::{Attempt, Stage, Standing};
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, millis, until};
use crate::base::limit;
use crate::base::trace::{debug, warn};
use crate::connection::failure::Failure;
use crate::runtime::schedule::{POLL_LEAST, POLL_MOST, TICK_MOST};
use crate::runtime::shared::Shared;
use crate::types::error::Result;
use crate::types::loss::Loss;
use crate::wire::request::{Reply, Request};
use crate::wire::script;

/// Items in one request: at 100 the script takes about 0.1 ms.
const BATCH: usize = 100;

/// One item of a tick.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Renew (or confirm) the hold with this token.
    Renew { token: u64 },
    /// The same for longer than the lease in the id.
    Extend { token: u64, lease: Duration },
    /// Refresh the place.
    Refresh,
}

/// What an item came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Held(Duration),
    Standing(Standing, Option<Duration>),
    Lost(u64),
    /// Not our record, or an error of this key alone.
    Broken,
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
        let keeper = &shared.keeper;
        // Whoever comes to wait after this sets it anew; whoever came before is seen below.
        let tick_at = keeper.take_tick_at();
        let mut next = Moment::NEVER;
        let mut items = Vec::new();
        let mut waiting = Vec::new();
        let (mut shortest, mut shortest_held) = (TICK_MOST * 3, TICK_MOST * 3);
        let mut worst = Duration::ZERO;
        for attempt in shared.table.all() {
            let mut state = attempt.state();
            let lost = state.check(now).is_some();
            match state.stage {
                Stage::Held if lost => {
                    debug!(name = %attempt.name, "a hold's time is over");
                    drop(state);
                    shared.end(&attempt); // rule 9: at once
                }
                Stage::Held => {
                    shortest_held = shortest_held.min(attempt.spec.lease);
                    // What is due soon comes along, so that holds of one lease end up in the same requests.
                    let renewable = state.due < state.deadline;
                    // A claim does not: its critical section may be over before it has to be confirmed.
                    let soon = if state.claim {
                        Duration::ZERO
                    } else {
                        attempt.spec.lease / 6
                    };
                    if renewable && !state.busy && state.due <= now + soon {
                        worst = worst.max(now.since(state.due));
                        state.busy = true;
                        let kind = Kind::Renew { token: state.token };
                        drop(state);
                        items.push(Item { attempt, kind });
                    } else {
                        next = next.min(if state.busy { state.deadline } else { state.due });
                    }
                }
                Stage::Queued | Stage::Granted => {
                    shortest = shortest.min(attempt.spec.lease);
                    drop(state);
                    waiting.push(attempt);
                }
                Stage::Asking | Stage::Ending | Stage::Gone => {}
            }
        }
        keeper.note_lateness(worst);
        if worst > shortest_held / 6 && worst > Duration::from_millis(20) {
            warn!(late = ?worst, "the keeper is late: something blocks its runtime; keeper_thread(true) gives it a thread of its own");
        }
        self.places(shared, (now, tick_at), shortest, waiting, &mut items, &mut next);
        keeper.no_later_than(next);
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
        let keeper = &shared.keeper;
        let mut first_of: HashMap<Arc<[u8]>, Arc<Attempt>> = HashMap::new();
        for attempt in &waiting {
            let first = first_of
                .entry(Arc::clone(&attempt.key))
                .or_insert_with(|| Arc::clone(attempt));
            if attempt.counter < first.counter {
                *first = Arc::clone(attempt);
            }
        }
        let (due, next_key) = keeper.due_keys(now, |key| first_of.contains_key(key));
        let listening = keeper.is_listening();
        let pause = if listening {
            self.poll.reset();
            // A quiet queue must not look like a silent server.
            shortest.min(shared.options.unavailable_after) / 3
        } else {
            self.poll.next()
        };
        let at_once = keeper.take_tick_now();
        if waiting.is_empty() {
            return;
        }
        let refresh = |attempt| Item {
            attempt,
            kind: Kind::Refresh,
        };
        let mut tick_at = tick_at.min(now + pause);
        if at_once || now >= tick_at {
            tick_at = now + pause;
            // While the server is silent, one request about a place is enough.
            waiting.retain(|attempt| !std::mem::replace(&mut attempt.state().refreshing, true));
            items.extend(waiting.into_iter().map(refresh));
        } else {
            items.extend(due.iter().filter_map(|key| first_of.remove(key)).map(refresh));
        }
        keeper.tick_no_later_than(tick_at);
        *next = (*next).min(next_key);
    }
}

/// Items of one kind and of about one lease together: the shortest sets the request's deadline.
fn batches(mut items: Vec<Item>) -> Vec<Vec<Item>> {
    let refresh = |item: &Item| item.kind == Kind::Refresh;
    items.sort_by_key(|item| (refresh(item), item.attempt.spec.lease));
    let mut batches: Vec<Vec<Item>> = Vec::new();
    for item in items {
        match batches.last_mut() {
            Some(batch)
                if batch.len() < BATCH
                    && refresh(&batch[0]) == refresh(&item)
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
fn patience(shared: &Shared, items: &[Item]) -> (Duration, Duration) {
    let most = shared.options.operation_timeout;
    let Some(first) = items.first().filter(|item| item.kind != Kind::Refresh) else {
        return (most, most); // a place lasts for ten seconds
    };
    let lease = first.attempt.spec.lease;
    let now = Moment::now();
    let left = || items.iter().map(|item| item.attempt.state().deadline.since(now));
    let (shortest, longest) = (left().min().unwrap_or(lease), left().max().unwrap_or(lease));
    let again = limit::renewal(most, lease, shortest, shared.commands.round_trip());
    (again, longest.min(most).max(again))
}

/// Sends one batch and applies its replies. Survives every error: what failed is due again soon.
pub(super) async fn send(shared: &Shared, items: Vec<Item>) {
    let now = Moment::now();
    let (again, most) = patience(shared, &items);
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
        if items.iter().any(|item| item.kind == Kind::Refresh) {
            shared.keeper.tick_no_later_than(Moment::now() + POLL_MOST);
        }
    }
    free(shared, &items);
}

/// Nothing is under way for these items any more, or it takes too long: says when they are due.
fn free(shared: &Shared, items: &[Item]) {
    let now = Moment::now();
    for item in items {
        let mut state = item.attempt.state();
        if item.kind == Kind::Refresh {
            state.refreshing = false;
            continue;
        }
        state.busy = false;
        state.schedule(now, &item.attempt.spec);
        // After a failure the same would be due at once; while anything is left, it is tried again.
        let left = state.deadline.since(now);
        let pause = (item.attempt.spec.lease / 24)
            .min(left / 8)
            .max(Duration::from_millis(1));
        state.due = state.due.max(now + pause).min(state.deadline);
        shared.keeper.no_later_than(state.due);
    }
}

/// One round trip for these items; applies what each came to, and returns it.
pub(crate) async fn exchange(
    shared: &Shared,
    items: &[Item],
    deadline: Moment,
) -> Result<Vec<Outcome>, Failure> {
    let request = request(shared, items);
    let answer = shared.commands.run(&request, deadline).await?;
    let sent = answer.sent;
    let outcomes = apply(shared, items, answer.reply, sent).map_err(Failure::refused)?;
    Ok(outcomes)
}

fn request(shared: &Shared, items: &[Item]) -> Request {
    let keys: Vec<&[u8]> = items.iter().map(|item| &*item.attempt.key).collect();
    let mut request = Request::new(&script::TICK, &keys);
    let place = if shared.keeper.is_listening() { "w" } else { "p" };
    for Item { attempt, kind } in items {
        let (op, token, lease) = match *kind {
            Kind::Renew { token } => ("h", token, attempt.spec.lease),
            Kind::Extend { token, lease } => ("x", token, lease),
            Kind::Refresh => (place, 0, attempt.spec.lease),
        };
        request = request
            .arg(op)
            .arg(&attempt.id)
            .arg(token)
            .arg(millis(lease))
            .arg(shared.key_life_ms(&attempt.spec, lease))
            .arg(attempt.spec.capacity());
    }
    request
}

fn apply(shared: &Shared, items: &[Item], reply: Reply, sent: Moment) -> Result<Vec<Outcome>> {
    let mut replies = reply.items()?.into_iter();
    let mut head = || replies.next().ok_or_else(missing)?.int();
    let stamp = u64::try_from(head()?).map_err(|_| missing())?;
    let refused = head()?;
    shared.commands.note_stamp(sent, stamp);
    shared.note_publish(refused != 0);
    let mut outcomes = Vec::with_capacity(items.len());
    for item in items {
        let outcome = read(&replies.next().ok_or_else(missing)?).unwrap_or(Outcome::Broken);
        settle(shared, item, outcome, stamp, sent);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn missing() -> crate::types::error::Error {
    crate::types::error::Error::new(
        crate::types::error::ErrorKind::Protocol,
        "the server's reply to a tick is too short",
    )
}

fn read(reply: &Reply) -> Result<Outcome> {
    let ms = |index| reply.count_at(index).map(Duration::from_millis);
    Ok(match reply.int_at(0)? {
        1 => Outcome::Held(ms(1)?),
        2 => {
            let standing = Standing::Granted {
                token: reply.count_at(1)?,
                left: ms(2)?,
                claim: reply.int_at(3)? != 0,
                delay: reply.count_at(4).ok().map(Duration::from_micros),
            };
            Outcome::Standing(standing, None)
        }
        3 => {
            // -1: nobody holds. `more`: the script met its bound, look again at once.
            let wake = if reply.int_at(2)? != 0 {
                Some(Duration::ZERO)
            } else {
                ms(1).ok()
            };
            Outcome::Standing(Standing::Queued, wake)
        }
        4 => Outcome::Standing(Standing::Missing, None),
        5 => Outcome::Lost(reply.count_at(1)?),
        _ => Outcome::Broken,
    })
}

/// Applies what one item came to.
#[allow(
    clippy::significant_drop_tightening,
    reason = "one critical section, a few instructions long"
)]
fn settle(shared: &Shared, item: &Item, outcome: Outcome, stamp: u64, sent: Moment) {
    let now = Moment::now();
    let Item { attempt, kind } = item;
    let drift = shared.options.drift;
    let mut state = attempt.state();
    match (kind, outcome) {
        (Kind::Refresh, Outcome::Standing(standing, wake)) => {
            state.apply(standing, stamp, sent, now, &attempt.spec, drift);
            drop(state);
            if let Some(wake) = wake {
                shared.keeper.look_at(attempt, now + wake, stamp, Some(sent));
            }
        }
        (Kind::Refresh, Outcome::Lost(_) | Outcome::Broken) => {
            // A tombstone: its end was under way, or it was forced open before it was handed out. Or its key is not
            // ours any more: acquire has the error (H41).
            state.apply(Standing::Missing, stamp, sent, now, &attempt.spec, drift);
        }
        // A late answer about an earlier grant of the same attempt.
        (Kind::Renew { token } | Kind::Extend { token, .. }, _) if *token != state.token => {}
        (Kind::Renew { .. } | Kind::Extend { .. }, Outcome::Held(left)) => {
            state.sample = Some((sent, stamp));
            // Never more than was asked for: after a backward step of its clock the server may say so (H49).
            let asked = match *kind {
                Kind::Extend { lease, .. } => lease,
                _ => attempt.spec.lease,
            };
            state.renewed(left.min(asked), sent, now, drift);
        }
        (Kind::Renew { .. } | Kind::Extend { .. }, Outcome::Lost(why)) => {
            state.check(now); // its own deadline comes first
            let stepped = state.sample.is_some_and(|(then, before)| {
                let ours = sent.since(then);
                let theirs = Duration::from_micros(stamp.saturating_sub(before));
                theirs > ours + Duration::from_millis(250)
            });
            let loss = match why {
                3 => Loss::Forced,
                2 => Loss::Taken,
                _ if stepped => Loss::ClockStep,
                _ if now < state.deadline => Loss::Vanished,
                _ => Loss::Expired,
            };
            lost(shared, attempt, state, loss);
        }
        _ => {
            debug!(name = %attempt.name, "a tick's item failed");
            if matches!(kind, Kind::Renew { .. }) && state.stage == Stage::Granted {
                state.stage = Stage::Asking; // it was to be confirmed; acquire says what is wrong
                state.wake();
            }
        }
    }
}

fn lost(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    mut state: std::sync::MutexGuard<'_, crate::attempt::State>,
    loss: Loss,
) {
    match state.stage {
        Stage::Held => {
            state.lose(loss);
            drop(state);
            warn!(name = %attempt.name, why = %loss, "a hold was lost");
            shared.end(attempt);
        }
        // Confirmed too late: it has to ask again.
        Stage::Granted => {
            state.stage = Stage::Asking;
            state.wake();
        }
        _ => {}
    }
}
