//! Where an attempt stands in the queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;

use crate::attempt::Attempt;
use crate::attempt::state::State;
use crate::base::clock::{Moment, Timer};
use crate::tasks::client::Client;
use crate::types::error::Result;
use crate::wire::plain::read_rank;

/// Between two requests of a [`Positions`].
const PAUSE: Duration = Duration::from_secs(1);
/// Until a future that was not polled yet is looked at again.
const NOT_YET: Duration = Duration::from_millis(20);

/// A future's place in the queue; it has one from its first poll on.
#[derive(Clone)]
pub struct Place {
    pub(crate) client: Client,
    pub(crate) attempt: Arc<OnceLock<Arc<Attempt>>>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("attempt", &self.attempt.get())
            .finish_non_exhaustive()
    }
}

/// What is known without asking.
enum Known {
    NotYet,
    Waits(Arc<Attempt>),
    /// It was granted, or given up.
    Over,
}

impl Place {
    fn known(&self) -> Known {
        let Some(attempt) = self.attempt.get() else {
            return Known::NotYet;
        };
        match attempt.with(State::is_queued) {
            Some(false) => Known::NotYet,
            Some(true) => Known::Waits(Arc::clone(attempt)),
            None => Known::Over,
        }
    }

    /// How many are before it, as the server says; `None`: it does not wait. One request.
    ///
    /// # Errors
    /// `Unavailable`, `Closed`, `Denied`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn position(self) -> Result<Option<u64>> {
        let Known::Waits(attempt) = self.known() else {
            return Ok(None);
        };
        let shared = self.client.shared();
        shared.check_open().map_err(|error| error.named(&attempt.name))?;
        let deadline = Moment::now() + shared.options.operation_timeout;
        shared
            .route
            .command(&attempt.key, &read_rank(&attempt.key, &attempt.id), deadline)
            .await
            .and_then(|reply| {
                reply
                    .count_or_nil()
                    .map_err(crate::connection::failure::Failure::refused)
            })
            .map_err(|failure| failure.error.named(&attempt.name))
    }

    /// The positions, once a second.
    pub fn positions(self) -> Positions {
        let timer = Box::pin(Timer::new());
        Positions {
            attempt: Arc::downgrade(&self.attempt),
            client: self.client,
            work: None,
            timer,
            due: Moment::now(),
        }
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<Option<u64>>> + Send>>;

/// How many are before a waiter: once a second while somebody polls it, ending when the waiter has it, or has given up.
///
/// What cannot be found out (the server does not answer) is left out. It does not keep the waiter waiting, and dropping it
/// costs nothing.
#[must_use = "streams do nothing unless polled"]
pub struct Positions {
    client: Client,
    /// Gone with the future: one that was never polled has no attempt that could say that it is over.
    attempt: Weak<OnceLock<Arc<Attempt>>>,
    work: Option<Asked>,
    /// Boxed, so that `next` works without pinning.
    timer: Pin<Box<Timer>>,
    due: Moment,
}

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Positions")
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}

impl Positions {
    fn place(&self) -> Option<Place> {
        let attempt = self.attempt.upgrade()?;
        let client = self.client.clone();
        Some(Place { client, attempt })
    }
}

impl Stream for Positions {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let this = &mut *self;
        loop {
            if let Some(work) = &mut this.work {
                let found = ready!(work.as_mut().poll(cx));
                this.work = None;
                this.due = Moment::now() + PAUSE;
                if let Ok(Some(position)) = found {
                    return Poll::Ready(Some(position));
                }
            }
            let place = this.place();
            let known = place.as_ref().map_or(Known::Over, Place::known);
            let Some(place) = place.filter(|_| !matches!(known, Known::Over)) else {
                return Poll::Ready(None);
            };
            if Moment::now() < this.due {
                let driver = &place.client.shared().driver;
                ready!(this.timer.as_mut().poll_until(cx, this.due, Some(driver)));
            } else if let Known::Waits(_) = known {
                this.work = Some(Box::pin(place.position()));
            } else {
                this.due = Moment::now() + NOT_YET;
            }
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn stream<T: Stream + Send + Unpin + 'static>() {}
    stream::<Positions>();
}
