//! Going on with the hold of a ticket.

use std::sync::Arc;
use std::time::Duration;

use super::guard::{Guard, Held};
use crate::attempt::Attempt;
use crate::attempt::event::{Event, Step};
use crate::attempt::state::State;
use crate::base::clock::{Moment, millis, sleep_until};
use crate::connection::failure::Failure;
use crate::ops::request::AcquireRequest;
use crate::runtime::returns::Return;
use crate::runtime::shared::Shared;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result, floor_ahead, foreign};
use crate::types::loss::Loss;
use crate::types::ticket::Ticket;
use crate::wire::reply::{AcquireReply, TakeOverReply, Why};
use crate::wire::request::{TakeOver, take_over};

impl Client {
    /// Goes on with a hold that another process turned into a ticket. Of several that try, one succeeds.
    ///
    /// # Errors
    /// `Lost` if the hold has ended or was resumed by somebody else.
    ///
    /// # Cancel safety
    /// Dropping it gives the hold up.
    #[doc(hidden)]
    pub async fn resume(&self, request: AcquireRequest, ticket: &Ticket) -> Result<Guard> {
        let new = self.shared().check_new(&request.spec);
        new.map_err(|error| error.named(&request.name))?;
        let old = TakeOver::Adopt {
            old: &ticket.id,
            token: ticket.token.get(),
        };
        let most = request.spec.max_hold;
        let mut guard = self.take_over(request, old, None).await?;
        // The maximum hold counts from the first grant, and as the one who left the ticket had it.
        let (sent, stamp) = guard
            .view
            .attempt
            .with(State::last_reply)
            .unwrap_or_else(|| (Moment::now(), 0));
        let (held, left) = ticket.times(stamp.div_ceil(1000));
        guard.held = Held {
            since: sent,
            before: held,
        };
        let most = most.map(|most| most.saturating_sub(held));
        if let Some(left) = most.into_iter().chain(left).min() {
            guard.lasts_no_longer_than(sent + left);
        }
        match guard.lost_error() {
            None => guard.secured().await,
            Some(error) => Err(error), // its maximum is over: it is given up
        }
    }

    /// A new attempt gets what another has, or a part of it. `back`: where a part goes if nobody takes it.
    ///
    /// All copies of the request may be run until the same moment, which comes before the new hold could be over. So a
    /// copy that is run finds what an earlier one did.
    pub(crate) async fn take_over(
        &self,
        request: AcquireRequest,
        what: TakeOver<'_>,
        back: Option<Return>,
    ) -> Result<Guard> {
        let shared = self.shared();
        let name = request.name.clone();
        let start = Moment::now();
        let attempt = shared.attempt(request.key, request.name, request.spec, start)?;
        if let Some(back) = back {
            shared.returns.insert(attempt.counter, back);
        }
        // If this future is dropped, or fails: whatever came of it is undone.
        let mut undo = Undo {
            client: self.clone(),
            attempt: Some(Arc::clone(&attempt)),
        };
        let taken = taken(shared, &attempt, what, start).await;
        let error = match taken.map_err(|error| error.named(&name))? {
            TakeOverReply::Done(_) => {
                let step = attempt.on(Event::TakenOver, Moment::now()).step;
                if let Some(lease) = attempt.held().filter(|_| step == Step::HandOut) {
                    undo.attempt = None;
                    shared.returns.remove(attempt.counter);
                    return Ok(Guard::new(self.clone(), attempt, &lease, Moment::now()));
                }
                Error::lost(Loss::Expired)
            }
            TakeOverReply::Foreign => foreign(),
            TakeOverReply::FloorAhead => floor_ahead(),
            TakeOverReply::Late => late(attempt.with(State::is_asked)),
            TakeOverReply::Ended(Why::Forced) => Error::lost(Loss::Forced),
            TakeOverReply::Ended(_) | TakeOverReply::Gone if matches!(what, TakeOver::Adopt { .. }) => {
                Error::new(
                    ErrorKind::Lost,
                    "the ticket's hold has ended, or was resumed by somebody else",
                )
            }
            TakeOverReply::Ended(why) => Error::lost(why.loss()),
            TakeOverReply::Gone => Error::lost(Loss::Taken),
        };
        Err(error.named(&name))
    }
}

/// Sends the request until it is answered for good.
async fn taken(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    what: TakeOver<'_>,
    start: Moment,
) -> Result<TakeOverReply> {
    let spec = &attempt.spec;
    // The new hold lasts for a lease from when it was made.
    let over = start + shared.options.operation_timeout.min(spec.lease * 2 / 3);
    loop {
        let now = Moment::now();
        // Only if no other copy may be run, a new one may be run later than the first was to be.
        let not_after = match attempt.with(|state| (state.is_asked(), state.not_after())) {
            (true, fixed) => fixed,
            (false, _) => shared.route.not_after(&attempt.key, over),
        };
        let deadline = shared.request_deadline(spec.lease, now).min(over);
        match ask(shared, attempt, what, not_after, deadline).await {
            Ok(TakeOverReply::Late) if Moment::now() < over => {
                // Another copy fixes the time. So all will be late, unless the script only had more
                // to do (a theft).
                if attempt.with(State::is_asked) {
                    pause(shared, over).await;
                }
            }
            Ok(reply) => return Ok(reply),
            Err(failure) if failure.passing && Moment::now() < over => {
                pause(shared, over).await;
            }
            Err(failure) => return Err(failure.error),
        }
    }
}

async fn pause(shared: &Shared, over: Moment) {
    let pause = Moment::now() + Duration::from_millis(20);
    sleep_until(pause.min(over), Some(&shared.driver)).await;
}

/// The error of a request whose last copy was late. `others`: the answer to another copy has not
/// come. That copy ran before this one, if it ran in time. The late one says nothing of it if what
/// came of it had ended by then, as after the server's clock was set forward.
fn late(others: bool) -> Error {
    let text = if others {
        "the request came too late at the server, but an earlier copy may have been run in time"
    } else {
        "the request came too late at the server, again and again, and changed nothing"
    };
    Error::new(ErrorKind::Unavailable, text)
}

/// Sends one copy, and applies its answer.
async fn ask(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    what: TakeOver<'_>,
    not_after: u64,
    deadline: Moment,
) -> Result<TakeOverReply, Failure> {
    let spec = &attempt.spec;
    let route = &shared.route;
    if !route.is_ready(&attempt.key) {
        route.ready(&attempt.key, deadline).await?; // nothing was sent
    }
    attempt.note(Event::Asked { not_after });
    let lease = spec.first_lease();
    let times = (millis(lease), shared.key_life_ms(spec, lease));
    let request = take_over(what, &attempt.key, &attempt.id, times, not_after);
    let answer = match route.call(&request, deadline).await {
        Ok(answer) => answer,
        Err(failure) => {
            if !failure.unknown {
                attempt.note(Event::NotAsked);
            }
            return Err(failure);
        }
    };
    let sent = answer.sent;
    let read = TakeOverReply::read(&answer.reply);
    let (stamp, grant) = match &read {
        Ok((stamp, TakeOverReply::Done(grant))) => (*stamp, Some(AcquireReply::Granted(*grant))),
        Ok((stamp, _)) => (*stamp, None),
        Err(_) => (0, None),
    };
    let event = Event::Answered {
        reply: grant,
        stamp,
        sent,
    };
    attempt.on(event, Moment::now());
    let (stamp, reply) = read.map_err(Failure::refused)?;
    answer.note_stamp(stamp);
    Ok(reply)
}

struct Undo {
    client: Client,
    attempt: Option<Arc<Attempt>>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(attempt) = &self.attempt {
            let shared = self.client.shared();
            // If no copy may be under way and none did it, the server has done nothing, and nobody has to ask it.
            if attempt.with(|state| !state.is_asked() && !state.has_heard()) {
                shared.returns.unchanged(attempt.counter);
            }
            shared.end(attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::rules::Plan;
    use crate::attempt::spec::Spec;
    use crate::types::name::Name;
    use crate::types::options::Options;

    /// A late copy proves that nothing was changed only if every other copy was answered.
    #[test]
    fn a_late_copy_says_nothing_of_one_that_was_not_answered() {
        let name = Name::new(b"a").expect("a name");
        let spec = Spec::exclusive(Duration::from_secs(10));
        let plan = Plan::new(spec, Options::default().drift, false);
        let (id, key) = (("c.1:1:10000:1000".to_owned(), 1), b"k".as_slice().into());
        let now = Moment::now();
        let attempt = Attempt::new(id, key, name, plan, now);
        let is_late = Event::Answered {
            reply: None,
            stamp: 5,
            sent: now,
        };
        let text = || late(attempt.with(State::is_asked)).to_string();
        attempt.note(Event::Asked { not_after: 5 });
        attempt.note(is_late);
        assert!(text().contains("changed nothing"), "{}", text());
        for _ in 0..2 {
            attempt.note(Event::Asked { not_after: 5 });
        }
        attempt.note(is_late);
        assert!(text().contains("may have been run"), "{}", text());
    }
}
