//! The named futures of this crate. All are `Send + 'static`, and undo or finish their work when they are dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use latchwork_core::{Acquire, Error, Result};
use pin_project::pin_project;

use crate::guard::MutexGuard;

pub use latchwork_core::{Lost, Unlock};

/// Waits for a mutex. See [`Mutex::lock`](crate::Mutex::lock).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct MutexLock {
    #[pin]
    acquire: Acquire,
}

impl MutexLock {
    pub(crate) const fn new(acquire: Acquire) -> Self {
        Self { acquire }
    }
}

impl Future for MutexLock {
    type Output = Result<MutexGuard>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        // Without a deadline nobody answers "busy until the wait was over".
        Poll::Ready(granted.map(MutexGuard::new).ok_or_else(Error::no_deadline))
    }
}

/// Waits for a mutex for a bounded time, or not at all. See [`Mutex::try_lock`](crate::Mutex::try_lock).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct TryMutexLock {
    #[pin]
    acquire: Acquire,
}

impl TryMutexLock {
    pub(crate) const fn new(acquire: Acquire) -> Self {
        Self { acquire }
    }
}

impl Future for TryMutexLock {
    type Output = Result<Option<MutexGuard>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        Poll::Ready(Ok(granted.map(MutexGuard::new)))
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<MutexLock>();
    future::<TryMutexLock>();
}
