//! The awaited release of a hold.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

use crate::attempt::Attempt;
use crate::attempt::event::{EndEvent, Ended, Event, HoldEvent};
use crate::attempt::rules::NOT_KEPT;
use crate::attempt::state::State;
use crate::base::clock::{Moment, Timer, millis};
use crate::connection::failure::Failure;
use crate::runtime::shared::Shared;
use crate::tasks::client::Client;
use crate::tasks::keeper::end::try_end;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::loss::Loss;

type EndWork = Pin<Box<dyn Future<Output = Result<Ended, Failure>> + Send>>;

/// The future that releases a hold, returned by the `unlock` or `release` of a guard.
///
/// # Errors
/// `Lost` if the hold had already ended; nobody else's hold is affected. `Closed` if the client is
/// closed, or its runtime ends, before the answer. Those of [every
/// request](crate::ErrorKind#every-request) if the server does not answer within
/// `unavailable_after`, or until the lease is over if that is sooner (but within an operation
/// timeout at least), or if it refuses. The text names the time that passed, and the client
/// continues to release the hold.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Unlock {
    attempt: Arc<Attempt>,
    client: Client,
    work: Option<EndWork>,
    /// The hold is being released, unless it was lost: when its lease ends, and why it was lost.
    begun: Option<(Moment, Option<Loss>)>,
    sent: bool,
    done: bool,
    /// It is refused, and the hold released as by a drop.
    refused: Option<Error>,
    /// When the lease ends.
    deadline: Moment,
    /// When the release began.
    began: Moment,
    /// When the caller gets an answer at the latest.
    over: Moment,
    #[pin]
    timer: Timer,
}

impl Unlock {
    pub(crate) fn new(attempt: Arc<Attempt>, client: Client) -> Self {
        Self {
            attempt,
            client,
            work: None,
            begun: None,
            sent: false,
            done: false,
            refused: None,
            deadline: Moment::NEVER,
            began: Moment::NEVER,
            over: Moment::NEVER,
            timer: Timer::new(),
        }
    }

    /// One that only returns this error, for a hold that was dropped.
    pub(crate) fn refused(attempt: Arc<Attempt>, client: Client, error: Error) -> Self {
        let mut unlock = Self::new(attempt, client);
        unlock.done = true;
        unlock.refused = Some(error);
        unlock
    }

    /// The same for a hold that stays in use until this moment. From now on it is not renewed.
    pub(crate) fn after(attempt: Arc<Attempt>, client: Client, until: Moment) -> Self {
        let begun = begin(&attempt, &client, until, Moment::now());
        let mut unlock = Self::new(attempt, client);
        unlock.begun = Some(begun);
        unlock
    }
}

fn begin(attempt: &Arc<Attempt>, client: &Client, until: Moment, now: Moment) -> (Moment, Option<Loss>) {
    let deadline = attempt.with(|state| state.held().map_or(now, |held| held.deadline));
    let releasing = Event::Hold(HoldEvent::Releasing { until });
    let (effects, loss) = attempt.on_then(releasing, now, State::loss);
    client.shared().follow(attempt, &effects, now);
    (deadline, loss)
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlock")
            .field("attempt", &self.attempt)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Future for Unlock {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut this = self.project();
        let shared = this.client.shared();
        let named = |error: Error| error.named(&this.attempt.name);
        if let Some(error) = this.refused.take() {
            return Poll::Ready(Err(named(error)));
        }
        if !*this.sent {
            *this.sent = true;
            let now = Moment::now();
            let (attempt, client) = (&*this.attempt, &*this.client);
            let begun = *this.begun;
            let (deadline, loss) = begun.unwrap_or_else(|| begin(attempt, client, NOT_KEPT, now));
            *this.deadline = deadline;
            *this.began = now;
            *this.over = deadline
                .min(now + shared.options.unavailable_after)
                .max(now + shared.options.operation_timeout);
            if let Some(loss) = loss {
                *this.done = true;
                shared.end(this.attempt);
                return Poll::Ready(Err(named(Error::lost(loss))));
            }
            let (attempt, client, over) = (Arc::clone(this.attempt), this.client.clone(), *this.over);
            *this.work = Some(Box::pin(
                async move { try_end(client.shared(), &attempt, over).await },
            ));
        }
        if let Some(work) = this.work {
            let result = ready!(work.as_mut().poll(cx));
            *this.work = None;
            match result {
                Ok(ended) => {
                    shared.note(this.attempt, Event::End(EndEvent::Over(ended)));
                }
                Err(failure) if failure.passing => shared.end(this.attempt),
                Err(failure) => {
                    shared.end(this.attempt); // the keeper goes on: a right may be given back
                    *this.done = true;
                    return Poll::Ready(Err(named(failure.error)));
                }
            }
        }
        let ended = this.attempt.with(State::ended);
        let ended = ended.or_else(|| this.attempt.register_waker(cx, State::ended));
        let result = match ended {
            Some(Ended::GaveUp) => Ok(()),
            Some(Ended::Forced) => Err(named(Error::lost(Loss::Forced))),
            Some(Ended::HadNothing) if Moment::now() >= *this.deadline => {
                Err(named(Error::lost(Loss::Expired)))
            }
            Some(Ended::HadNothing) => Err(named(Error::lost(Loss::Vanished))),
            Some(Ended::Unknown) => Err(named(unanswered(
                shared,
                this.attempt,
                (*this.began, *this.deadline),
            ))),
            None if shared.life().is_over() => Err(named(shared.closed_error())),
            None => {
                let timer = this.timer.as_mut();
                ready!(timer.poll_until(cx, *this.over, Some(&shared.driver)));
                // The keeper continues; the caller has nothing left to wait for (H44).
                Err(named(unanswered(
                    shared,
                    this.attempt,
                    (*this.began, *this.deadline),
                )))
            }
        };
        *this.done = true;
        Poll::Ready(result)
    }
}

/// Says how long nobody answered, and whether the lease is over. The kind says why, if that is known.
fn unanswered(shared: &Shared, attempt: &Attempt, (began, deadline): (Moment, Moment)) -> Error {
    let now = Moment::now();
    let passed = Duration::from_millis(millis(now.since(began)));
    let rest = if now >= deadline {
        "its lease is over".to_owned()
    } else {
        let left = Duration::from_millis(millis(deadline.since(now)));
        format!("the client continues to try; otherwise the lease ends in {left:?}")
    };
    let text = format!("the server did not answer the release for {passed:?}; {rest}");
    match shared.route.of(&attempt.key).outage().cause() {
        Some(cause) => Error::new(cause.kind(), format!("{text}: {cause}")),
        None => Error::new(ErrorKind::Unavailable, text),
    }
}

#[pinned_drop]
impl PinnedDrop for Unlock {
    fn drop(self: Pin<&mut Self>) {
        if !self.done {
            self.client.shared().end(&self.attempt);
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<Unlock>();
}
