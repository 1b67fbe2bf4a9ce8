//! Going on with the hold of a ticket.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::{Attempt, Stage, Standing};
use crate::base::clock::{Moment, millis, sleep_until};
use crate::ops::guard::Guard;
use crate::ops::request::AcquireRequest;
use crate::tasks::client::Client;
use crate::types::error::foreign;
use crate::types::error::{Error, Result};
use crate::types::loss::Loss;
use crate::types::ticket::Ticket;
use crate::wire::request::Request;
use crate::wire::script;
use crate::wire::script::Script;

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
        let args = |request: Request| request.arg(ticket.id()).arg(ticket.token().get());
        self.take_over(&script::ADOPT, request, args).await
    }

    /// A new attempt gets what another has, or a part of it, by a script like `adopt`; `args` are those between the key's
    /// life and `not_after`.
    pub(crate) async fn take_over(
        &self,
        script: &'static Script,
        request: AcquireRequest,
        args: impl Fn(Request) -> Request,
    ) -> Result<Guard> {
        let shared = self.shared();
        let name = request.name.clone();
        let attempt = shared.attempt(request.key, request.name, request.spec)?;
        // If this future is dropped, or fails: whatever came of it is undone.
        let mut undo = Undo {
            client: self.clone(),
            attempt: Some(Arc::clone(&attempt)),
        };
        let over = Moment::now() + shared.options.operation_timeout;
        loop {
            let deadline = shared.request_deadline(attempt.spec.lease).min(over);
            let not_after = shared.commands.server_time(deadline) / 1000 + 1;
            {
                let mut state = attempt.state();
                state.unanswered += 1;
                state.not_after = state.not_after.max(not_after);
            }
            let request = Request::new(script, &[&*attempt.key])
                .arg(&attempt.id)
                .arg(millis(attempt.spec.lease))
                .arg(shared.key_life_ms(&attempt.spec, attempt.spec.lease));
            let request = args(request).arg(not_after);
            let answer = match shared.commands.run(&request, deadline).await {
                Ok(answer) => answer,
                Err(failure) => {
                    if !failure.unknown {
                        attempt.state().unanswered -= 1;
                    }
                    if failure.passing && Moment::now() < over {
                        let pause = Moment::now() + Duration::from_millis(20);
                        sleep_until(pause, Some(&shared.driver)).await;
                        continue;
                    }
                    return Err(failure.error.named(&name));
                }
            };
            attempt.state().unanswered -= 1;
            let stamp = answer.reply.count_at(1)?;
            shared.commands.note_stamp(answer.sent, stamp);
            match answer.reply.int_at(0)? {
                1 => {
                    let left = Duration::from_millis(answer.reply.count_at(3)?);
                    let standing = Standing::Granted {
                        token: answer.reply.count_at(2)?,
                        left,
                        claim: false,
                        delay: None,
                    };
                    let now = Moment::now();
                    let mut state = attempt.state();
                    state.apply(
                        standing,
                        stamp,
                        answer.sent,
                        now,
                        &attempt.spec,
                        shared.options.drift,
                    );
                    if state.stage != Stage::Granted {
                        return Err(Error::lost(Loss::Expired).named(&name));
                    }
                    state.take(now, &attempt.spec);
                    drop(state);
                    undo.attempt = None;
                    return Ok(Guard::new(self.clone(), attempt));
                }
                4 if Moment::now() < over => {}
                8 => return Err(foreign().named(&name)),
                _ => return Err(Error::lost(Loss::Taken).named(&name)),
            }
        }
    }
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
