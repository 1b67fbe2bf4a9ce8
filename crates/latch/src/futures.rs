//! The named futures of this crate. All are `Send + 'static`, and undo their waiting when they are dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use latchwork_core::kit::LatchCall;
use latchwork_core::{Error, Result};
use pin_project::pin_project;

/// Waits until a latch is at zero. See [`CountdownLatch::wait`](crate::CountdownLatch::wait).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct LatchWait {
    #[pin]
    call: LatchCall,
}

impl LatchWait {
    pub(crate) const fn new(call: LatchCall) -> Self {
        Self { call }
    }
}

impl Future for LatchWait {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let passed = ready!(self.project().call.poll(cx))?;
        // Without a deadline nobody answers "not at zero until the wait was over".
        Poll::Ready(passed.map(drop).ok_or_else(Error::no_deadline))
    }
}

/// Waits for a bounded time, or not at all, until a latch is at zero. See
/// [`CountdownLatch::try_wait`](crate::CountdownLatch::try_wait).
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct TryLatchWait {
    #[pin]
    call: LatchCall,
}

impl TryLatchWait {
    pub(crate) const fn new(call: LatchCall) -> Self {
        Self { call }
    }
}

impl Future for TryLatchWait {
    type Output = Result<bool>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let passed = ready!(self.project().call.poll(cx))?;
        Poll::Ready(Ok(passed.is_some()))
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<LatchWait>();
    future::<TryLatchWait>();
}
