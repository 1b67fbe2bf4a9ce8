//! Going on with the hold of a ticket.

use std::sync::Arc;
use std::time::Duration;

use super::guard::Guard;
use crate::attempt::Attempt;
use crate::attempt::event::{Event, Step};
use crate::base::clock::{Moment, millis, sleep_until};
use crate::ops::request::AcquireRequest;
use crate::runtime::returns::Return;
use crate::runtime::shared::Shared;
use crate::tasks::client::Client;
use crate::types::error::{Error, Result, foreign};
use crate::types::loss::Loss;
use crate::types::ticket::Ticket;
use crate::wire::reply::{AcquireReply, TakeOverReply};
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
        let old = TakeOver::Adopt {
            old: ticket.id(),
            token: ticket.token().get(),
        };
        self.take_over(request, old, None).await
    }

    /// A new attempt gets what another has, or a part of it.
    /// `back`: where a part goes if nobody takes it.
    pub(crate) async fn take_over(
        &self,
        request: AcquireRequest,
        what: TakeOver<'_>,
        back: Option<Return>,
    ) -> Result<Guard> {
        let shared = self.shared();
        let name = request.name.clone();
        let attempt = shared.attempt(request.key, request.name, request.spec, Moment::now())?;
        if let Some(back) = back {
            shared.returns.insert(attempt.counter, back);
        }
        // If this future is dropped, or fails: whatever came of it is undone.
        let mut undo = Undo {
            client: self.clone(),
            attempt: Some(Arc::clone(&attempt)),
        };
        let over = Moment::now() + shared.options.operation_timeout;
        loop {
            let Some(reply) = ask(shared, &attempt, what, over)
                .await
                .map_err(|error| error.named(&name))?
            else {
                continue;
            };
            match reply {
                TakeOverReply::Done(_) => {
                    let step = attempt.on(Event::TakenOver, Moment::now()).step;
                    let Some(lease) = attempt.held().filter(|_| step == Step::HandOut) else {
                        return Err(Error::lost(Loss::Expired).named(&name));
                    };
                    undo.attempt = None;
                    shared.returns.remove(attempt.counter);
                    return Ok(Guard::new(self.clone(), attempt, &lease));
                }
                TakeOverReply::Late if Moment::now() < over => {}
                TakeOverReply::Foreign => return Err(foreign().named(&name)),
                TakeOverReply::Late | TakeOverReply::Ended | TakeOverReply::Gone => {
                    return Err(Error::lost(Loss::Taken).named(&name));
                }
            }
        }
    }
}

/// Sends one copy, and applies its answer; `None`: it failed, and another may work.
async fn ask(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    what: TakeOver<'_>,
    over: Moment,
) -> Result<Option<TakeOverReply>> {
    let spec = &attempt.spec;
    let deadline = shared.request_deadline(spec.lease, Moment::now()).min(over);
    let not_after = shared.commands.not_after(deadline);
    attempt.note(Event::Asked { not_after });
    let lease = spec.first_lease();
    let times = (millis(lease), shared.key_life_ms(spec, lease));
    let request = take_over(what, &attempt.key, &attempt.id, times, not_after);
    let answer = match shared.commands.run(&request, deadline).await {
        Ok(answer) => answer,
        Err(failure) => {
            if !failure.unknown {
                attempt.note(Event::NotAsked);
            }
            if failure.passing && Moment::now() < over {
                let pause = Moment::now() + Duration::from_millis(20);
                sleep_until(pause, Some(&shared.driver)).await;
                return Ok(None);
            }
            return Err(failure.error);
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
    let (stamp, reply) = read?;
    shared.commands.note_stamp(sent, stamp);
    Ok(Some(reply))
}

struct Undo {
    client: Client,
    attempt: Option<Arc<Attempt>>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(attempt) = &self.attempt {
            self.client.shared().end(attempt);
        }
    }
}
