//! The awaited release of a hold.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project::{pin_project, pinned_drop};

use crate::attempt::{Attempt, Ended, Stage};
use crate::base::clock::{Moment, Timer};
use crate::connection::failure::Failure;
use crate::runtime::shared::Life;
use crate::tasks::client::Client;
use crate::tasks::keeper::ending::{finish, try_end};
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::loss::Loss;

type EndWork = Pin<Box<dyn Future<Output = Result<Ended, Failure>> + Send>>;

/// Releases a hold. See [`Guard::unlock`](crate::Guard::unlock).
///
/// # Errors
/// `Lost` if the hold had ended before: then nobody else's is touched. `Unavailable` if nothing was heard until the
/// lease was over.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Unlock {
    attempt: Arc<Attempt>,
    client: Client,
    work: Option<EndWork>,
    started: bool,
    done: bool,
    /// The lease is over, and one request had its time.
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
            started: false,
            done: false,
            over: Moment::NEVER,
            timer: Timer::new(),
        }
    }
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
        if !*this.started {
            *this.started = true;
            let now = Moment::now();
            let mut state = this.attempt.state();
            *this.over = state.deadline.max(now + shared.options.operation_timeout);
            if let Some(loss) = state.check(now) {
                drop(state);
                *this.done = true;
                shared.end(this.attempt);
                return Poll::Ready(Err(named(Error::lost(loss))));
            }
            // No renewal is sent from here on (H19).
            state.stage = Stage::Ending;
            state.wake_watchers();
            drop(state);
            let (attempt, client) = (Arc::clone(this.attempt), this.client.clone());
            *this.work = Some(Box::pin(async move {
                let shared = client.shared();
                try_end(shared, &attempt, shared.request_deadline(attempt.spec.lease)).await
            }));
        }
        if let Some(work) = this.work {
            let result = ready!(work.as_mut().poll(cx));
            *this.work = None;
            match result {
                Ok(ended) => finish(shared, this.attempt, ended),
                Err(failure) if failure.passing => shared.end(this.attempt),
                Err(failure) => {
                    finish(shared, this.attempt, Ended::Unknown);
                    *this.done = true;
                    return Poll::Ready(Err(named(failure.error)));
                }
            }
        }
        let mut state = this.attempt.state();
        let result = match state.ended {
            Some(Ended::GaveUp) => Ok(()),
            Some(Ended::HadNothing) if Moment::now() >= state.deadline => {
                Err(named(Error::lost(Loss::Expired)))
            }
            Some(Ended::HadNothing) => Err(named(Error::lost(Loss::Vanished))),
            Some(Ended::Unknown) => Err(named(unanswered())),
            None if matches!(shared.life(), Life::Closed | Life::Orphaned) => {
                Err(named(shared.closed_error()))
            }
            None => {
                state.watch_for(cx);
                drop(state);
                ready!(
                    this.timer
                        .as_mut()
                        .poll_until(cx, *this.over, Some(&shared.driver))
                );
                // The keeper goes on; the caller has nothing to wait for any more (H44).
                *this.done = true;
                return Poll::Ready(Err(named(unanswered())));
            }
        };
        drop(state);
        *this.done = true;
        Poll::Ready(result)
    }
}

fn unanswered() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the release was not answered until the lease was over",
    )
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
