//! Ends attempts whose guard or future is gone: releases, withdraws, undoes.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::{Attempt, Ended, Stage};
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until, until};
use crate::base::trace::debug;
use crate::runtime::batch::{Ask, Words};
use crate::runtime::shared::Shared;
use crate::types::error::Error;
use crate::wire::request::{Answer, Request};
use crate::wire::script;

/// The longest that a place without a sign of life can still be granted: the engine's patience of 10 s, three claims,
/// and a late acquire before them.
const PLACE: Duration = Duration::from_secs(20);

/// How often one answer may say "more" before somebody else has to go on.
const MORE: usize = 100;

/// Repeats `end` until it is answered or nothing can be left to end. Then the slot is free.
pub(super) async fn end(shared: &Shared, attempt: Arc<Attempt>) {
    let over = Moment::now() + attempt.spec.lease * 2 + PLACE;
    let mut backoff = Backoff::new((Duration::from_millis(10), Duration::from_millis(500)));
    let ended = loop {
        let deadline = shared
            .request_deadline(attempt.spec.lease.max(Duration::from_millis(30)))
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
                    // A new connection is worth trying at once.
                    until(pause, None, shared.commands.wait_for_other(generation)).await;
                }
            }
        }
    };
    finish(shared, &attempt, ended);
}

/// One `end`; more if the script met its bound.
pub(crate) async fn try_end(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    deadline: Moment,
) -> Result<Ended, crate::connection::failure::Failure> {
    let mut ended = None;
    for _ in 0..MORE {
        attempt.state().end_unanswered += 1;
        let ask = end_ask(attempt, deadline);
        // After a copy of an acquire was lost, a tombstone is needed: that is out of the ordinary.
        let together = ask.not_after == 0 && attempt.spec.goes_with_others();
        let alone = || {
            let request = Request::new(&script::END, &[&*attempt.key]).arg(&attempt.id);
            ask.words.say(shared, request, ask.not_after, None, None)
        };
        let answer = shared.combiner.send(shared, &ask, together, alone).await;
        let (now_ended, more) = match answer {
            Ok(answer) => {
                read(shared, attempt, &answer).map_err(crate::connection::failure::Failure::refused)?
            }
            Err(failure) => {
                if !failure.unknown {
                    attempt.state().end_unanswered -= 1;
                }
                return Err(failure);
            }
        };
        let ended = *ended.get_or_insert(now_ended);
        if !more {
            return Ok(ended);
        }
    }
    Ok(ended.unwrap_or(Ended::Unknown))
}

fn end_ask(attempt: &Arc<Attempt>, deadline: Moment) -> Ask {
    let state = attempt.state();
    let not_after = if state.unanswered > 0 { state.not_after } else { 0 };
    drop(state);
    Ask {
        attempt: Arc::clone(attempt),
        words: Words::End {
            capacity: attempt.spec.capacity(),
        },
        not_after,
        deadline,
    }
}

#[allow(
    clippy::significant_drop_tightening,
    reason = "one critical section, a few instructions long"
)]
fn read(shared: &Shared, attempt: &Attempt, answer: &Answer) -> Result<(Ended, bool), Error> {
    let reply = &answer.reply;
    let (code, more) = if let Some(code) = reply.alone() {
        (code, false)
    } else {
        shared.note_publish(reply.int_at(2)? != 0);
        (reply.int_at(0)?, reply.int_at(1)? != 0)
    };
    let mut state = attempt.state();
    state.end_unanswered -= 1;
    // "Nothing there" after an earlier copy was lost on the way: that copy did it. A record that is not ours has
    // nothing of ours either.
    let earlier = state.end_unanswered > 0 || state.ended == Some(Ended::GaveUp);
    let ended = if matches!(code, 0 | 8) && !earlier {
        Ended::HadNothing
    } else {
        Ended::GaveUp
    };
    Ok((ended, more))
}

/// The slot is free; whoever awaits the end is told.
pub(crate) fn finish(shared: &Shared, attempt: &Attempt, ended: Ended) {
    let mut state = attempt.state();
    state.stage = Stage::Gone;
    if state.ended != Some(Ended::GaveUp) {
        state.ended = Some(ended);
    }
    state.wake();
    drop(state);
    shared.table.remove(attempt);
}
