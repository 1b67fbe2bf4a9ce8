//! The futures that yield the guards of primitives, and `run`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use crate::ops::acquire::Acquire;
use crate::ops::held::shell::Shell;
use crate::ops::place::Place;
use crate::types::error::{Error, Result};

/// Waits for a hold, and yields it as the primitive's guard.
///
/// # Cancel safety
/// Dropping it undoes the attempt: its place in the queue is lost, a grant on its way goes to the next waiter, and within
/// a round trip nothing of it is left.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct Acquiring<G> {
    #[pin]
    acquire: Acquire,
    guard: PhantomData<fn() -> G>,
}

/// Waits for a hold for a bounded time, or not at all: `Ok(None)` if it was busy.
///
/// # Cancel safety
/// As [`Acquiring`].
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct TryAcquiring<G> {
    #[pin]
    acquire: Acquire,
    guard: PhantomData<fn() -> G>,
}

macro_rules! shell_future {
    ($name:ident) => {
        impl<G> $name<G> {
            #[doc(hidden)]
            pub fn new(acquire: Acquire) -> Self {
                Self {
                    acquire,
                    guard: PhantomData,
                }
            }

            #[doc(hidden)]
            pub fn place(&self) -> Place {
                self.acquire.place()
            }
        }

        impl<G> fmt::Debug for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.acquire.fmt(f)
            }
        }
    };
}

shell_future!(Acquiring);
shell_future!(TryAcquiring);

impl<G: Shell> Future for Acquiring<G> {
    type Output = Result<G>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<G>> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        // Without a deadline nobody answers "busy until the wait was over".
        Poll::Ready(granted.map(G::from_guard).ok_or_else(Error::no_deadline))
    }
}

impl<G: Shell> Future for TryAcquiring<G> {
    type Output = Result<Option<G>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<G>>> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        Poll::Ready(Ok(granted.map(G::from_guard)))
    }
}

/// Runs `body` until it is done or the hold is lost, then releases.
///
/// # Errors
/// `Lost` if the hold ended before the body did. A release that is not answered while the hold is valid is none.
///
/// # Cancel safety
/// Dropping it drops the body and releases.
#[doc(hidden)]
pub async fn run<G: Shell, T>(guard: G, body: impl AsyncFnOnce(&G) -> T) -> Result<T> {
    let mut lost = pin!(guard.guard().hold().lost());
    let raced = {
        let mut body = pin!(body(&guard));
        poll_fn(|cx| {
            // Loss first: after a pause the body must not go on.
            if let Poll::Ready(loss) = lost.as_mut().poll(cx) {
                return Poll::Ready(Err(loss));
            }
            body.as_mut().poll(cx).map(Ok)
        })
        .await
    };
    let guard = guard.into_guard();
    match raced {
        Ok(done) => match guard.unlock().await {
            // The server's word, or the deadline's: somebody else may have been inside.
            Err(error) if error.is_lost() => Err(error),
            // Unanswered, but valid to the end.
            _ => Ok(done),
        },
        Err(reason) => Err(Error::lost(reason).named(guard.name())),
    }
}
