//! Ends attempts whose guard or future was dropped: releases holds, removes places.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::attempt::event::{EndEvent, Ended, Event};
use crate::attempt::rules::NOT_KEPT;
use crate::attempt::state::State;
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, millis};
use crate::base::limit;
use crate::base::trace::debug;
use crate::connection::failure::Failure;
use crate::runtime::call::Call;
use crate::runtime::shared::Shared;
use crate::tasks::keeper::renew::{Item, exchange};
use crate::types::error::ErrorKind;
use crate::types::options::MAX_LEASE;
use crate::wire::reply::EndReply;
use crate::wire::request::{Args, CountedArgs, EndArgs};

/// How long a place that nobody refreshes can still be granted, beside its claims: the engine drops
/// it after 30 s, and 7 s after each of the two times that it returns to the front after a claim. A
/// second more for each, because it counts in half seconds.
const PLACE: Duration = Duration::from_secs(31 + 8 + 8);

/// A late acquire and the three claims after it, none of which is longer than a lease.
const LEASES: u32 = 4;

/// The pauses between tries that fail, and between those that are refused.
const FAILED: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
const REFUSED: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// An attempt that has to be ended, between two tries.
#[derive(Debug)]
pub(super) struct Debt {
    attempt: Arc<Attempt>,
    /// Nothing can be left to end from then on.
    over: Moment,
    failed: Backoff,
    refused: Backoff,
    /// When to try next.
    pub(super) due: Moment,
}

impl Debt {
    pub(super) fn new(attempt: Arc<Attempt>, now: Moment) -> Self {
        let over = now + attempt.spec.first_lease() * LEASES + PLACE;
        let (failed, refused) = (Backoff::new(FAILED), Backoff::new(REFUSED));
        Self {
            attempt,
            over,
            failed,
            refused,
            due: now,
        }
    }
}

/// Tries once to end an attempt. When it was answered, or nothing can be left to end, its slot is freed; otherwise there is
/// another try, whatever the refusal: a right may be given back. A claim that was left is confirmed instead, if that is still
/// possible.
pub(super) async fn end(shared: &Shared, mut debt: Debt) -> Option<Debt> {
    let attempt = &debt.attempt;
    if !confirms(shared, attempt).await {
        debt.due = Moment::now() + debt.failed.next();
        return Some(debt);
    } else if attempt.with(State::is_gone) {
        return None;
    }
    let deadline = shared
        .request_deadline(attempt.spec.lease.max(Duration::from_millis(30)), Moment::now())
        .min(debt.over);
    let ended = match try_end(shared, attempt, deadline).await {
        Ok(ended) => ended,
        Err(failure) => {
            debug!(name = %attempt.name, error = %failure.error, "an end failed");
            let now = Moment::now();
            // Under a key of another type there is nothing of ours.
            if now < debt.over && failure.error.kind() != ErrorKind::WrongType {
                let pauses = if failure.passing {
                    &mut debt.failed
                } else {
                    &mut debt.refused
                };
                debt.due = (now + pauses.next()).min(debt.over);
                return Some(debt);
            }
            Ended::Unknown
        }
    };
    if attempt.spec.is_counted() {
        shared.returns.ended(attempt.counter, ended);
    }
    shared.note(attempt, Event::End(EndEvent::Over(ended)));
    None
}

/// Tries once to confirm a claim that was left; `false`: it was not answered. When it is over, it is ended like
/// others.
async fn confirms(shared: &Shared, attempt: &Arc<Attempt>) -> bool {
    let Some(lease) = attempt.with(|state| state.leaving().copied()) else {
        return true;
    };
    let now = Moment::now();
    if now < lease.deadline {
        let deadline = shared
            .request_deadline(attempt.spec.lease, now)
            .min(lease.deadline);
        let item = [Item::renew(Arc::clone(attempt), lease.token)];
        if let Err(failure) = exchange(shared, &item, deadline).await {
            debug!(name = %attempt.name, error = %failure.error, "a claim that was left is not confirmed");
            return false;
        }
    }
    shared.note(attempt, Event::End(EndEvent::NotConfirmed)); // unless it was
    true
}

/// How long a hold stays in use, in ms; 0: it does not.
fn keep_ms(until: Moment) -> u64 {
    if until == NOT_KEPT {
        return 0;
    }
    // Rounded up, as it must not be free too early. Never longer than the longest lease.
    let left = until.since(Moment::now()).as_nanos().div_ceil(1_000_000);
    u64::try_from(left).unwrap_or(u64::MAX).min(millis(MAX_LEASE))
}

/// Sends `end`, and repeats it while the script reports that there is more to grant. It is not sent
/// any longer when the caller's time is `over`.
pub(crate) async fn try_end(shared: &Shared, attempt: &Arc<Attempt>, over: Moment) -> Result<Ended, Failure> {
    let mut ended = None;
    for _ in 0..limit::MORE {
        let look = |state: &State| (state.tombstone(attempt.rules()), state.kept_until());
        let sent = Event::End(EndEvent::Sent);
        let (_, (not_after, kept_until)) = attempt.on_then(sent, Moment::from_nanos(0), look);
        let keep = keep_ms(kept_until);
        let timeout = shared.request_timeout(attempt.spec.lease);
        let call = Call {
            attempt: Arc::clone(attempt),
            args: Args::End(EndArgs {
                capacity: attempt.spec.capacity(),
                retention: millis(shared.options.retention),
                keep,
            }),
            not_after,
            deadline: (Moment::now() + timeout).min(over),
            timeout,
            over,
        };
        // A batch cannot leave the tombstone that is needed while a copy of the acquire may be
        // under way.
        let batched = call.not_after == 0 && keep == 0 && attempt.spec.is_batched();
        let back = if attempt.spec.is_counted() {
            shared.returns.get(attempt.counter)
        } else {
            None
        };
        let counted = CountedArgs {
            into: back.as_ref().map(|back| &*back.into),
            ..CountedArgs::default()
        };
        let answer = shared.batcher.send(&shared.route, &call, batched, counted).await;
        let reply = match answer {
            Ok(answer) => EndReply::read(&answer.reply).map_err(Failure::refused)?,
            Err(failure) => {
                if !failure.unknown {
                    attempt.note(Event::End(EndEvent::NotSent));
                }
                // It has ended. Who waits looks by itself for what was left to grant.
                return ended.ok_or(failure);
            }
        };
        shared.note_publish(reply.refused);
        let now_ended = attempt.note(Event::End(EndEvent::Answered(reply.had))).ended;
        let ended = *ended.get_or_insert_with(|| now_ended.unwrap_or(Ended::Unknown));
        if !reply.more {
            return Ok(ended);
        }
    }
    Ok(ended.unwrap_or(Ended::Unknown))
}
