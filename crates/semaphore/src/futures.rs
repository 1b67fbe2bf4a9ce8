//! The named futures of this crate. All are `Send + 'static`, and undo or finish their work when they are dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use latchwork_core::{Acquire, Error, Result};
use pin_project::pin_project;

use crate::permit::SemaphorePermit;

pub use latchwork_core::{Lost, Unlock};

/// Waits for permits. See [`Semaphore::acquire`](crate::Semaphore::acquire).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct SemaphoreAcquire {
    #[pin]
    acquire: Acquire,
}

impl SemaphoreAcquire {
    pub(crate) const fn new(acquire: Acquire) -> Self {
        Self { acquire }
    }
}

impl Future for SemaphoreAcquire {
    type Output = Result<SemaphorePermit>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        // Without a deadline nobody answers "busy until the wait was over".
        Poll::Ready(granted.map(SemaphorePermit::new).ok_or_else(Error::no_deadline))
    }
}

/// Waits for permits for a bounded time, or not at all. See [`Semaphore::try_acquire`](crate::Semaphore::try_acquire).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct TrySemaphoreAcquire {
    #[pin]
    acquire: Acquire,
}

impl TrySemaphoreAcquire {
    pub(crate) const fn new(acquire: Acquire) -> Self {
        Self { acquire }
    }
}

impl Future for TrySemaphoreAcquire {
    type Output = Result<Option<SemaphorePermit>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        Poll::Ready(Ok(granted.map(SemaphorePermit::new)))
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<SemaphoreAcquire>();
    future::<TrySemaphoreAcquire>();
}
