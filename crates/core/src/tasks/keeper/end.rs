//! Ends attempts whose guard or future was dropped: releases holds, removes places.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::attempt::event::{EndEvent, Ended, Event};
use crate::attempt::rules::NOT_KEPT;
use crate::attempt::state::State;
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, millis, sleep_until, until};
use crate::base::limit;
use crate::base::trace::debug;
use crate::connection::failure::Failure;
use crate::runtime::batch::Call;
use crate::runtime::shared::Shared;
use crate::types::options::MAX_LEASE;
use crate::wire::reply::EndReply;
use crate::wire::request::{Args, CountedArgs, EndArgs};

/// How long a place that nobody refreshes can still be granted, beside its claims: the engine's
/// patience of 10 s, and 7 s for each of the two times that it returns to the front after a claim.
const PLACE: Duration = Duration::from_secs(10 + 7 + 7);

/// A late acquire and the three claims after it, none of which is longer than a lease.
const LEASES: u32 = 4;

/// Repeats `end` until it is answered or nothing can be left to end. Then frees the slot.
pub(super) async fn end(shared: &Shared, attempt: Arc<Attempt>) {
    let over = Moment::now() + attempt.spec.first_lease() * LEASES + PLACE;
    let mut backoff = Backoff::new((Duration::from_millis(10), Duration::from_millis(500)));
    let ended = loop {
        let deadline = shared
            .request_deadline(attempt.spec.lease.max(Duration::from_millis(30)), Moment::now())
            .min(over);
        match try_end(shared, &attempt, deadline).await {
            Ok(ended) => break ended,
            Err(failure) => {
                debug!(name = %attempt.name, error = %failure.error, "an end failed");
                if !failure.passing || Moment::now() >= over {
                    break Ended::Unknown;
                }
                let generation = shared.commands.generation();
                let pause = Moment::now() + backoff.next();
                if shared.commands.is_up() {
                    sleep_until(pause, None).await;
                } else {
                    // Try again as soon as there is a new connection.
                    until(pause, None, shared.commands.wait_for_other(generation)).await;
                }
            }
        }
    };
    if attempt.spec.is_counted() {
        shared.returns.ended(attempt.counter, ended);
    }
    shared.note(&attempt, Event::End(EndEvent::Over(ended)));
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

/// Sends `end`, and repeats it while the script reports that there is more to grant.
pub(crate) async fn try_end(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    deadline: Moment,
) -> Result<Ended, Failure> {
    let mut ended = None;
    for _ in 0..limit::MORE {
        let look = |state: &State| (state.tombstone(attempt.rules()), state.kept_until());
        let sent = Event::End(EndEvent::Sent);
        let (_, (not_after, kept_until)) = attempt.on_then(sent, Moment::from_nanos(0), look);
        let keep = keep_ms(kept_until);
        let call = Call {
            attempt: Arc::clone(attempt),
            args: Args::End(EndArgs {
                capacity: attempt.spec.capacity(),
                retention: millis(shared.options.retention),
                keep,
            }),
            not_after,
            deadline,
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
        let answer = shared
            .batcher
            .send(&shared.commands, &call, batched, counted)
            .await;
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
