//! The future of one call: asks once, sleeps once, goes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project::{pin_project, pinned_drop};

use super::ask::{Asker, Reservation};
use crate::base::clock::{Moment, Timer};
use crate::ops::request::Wait;
use crate::runtime::refunds::Pending;
use crate::types::error::{Error, Result};
use crate::types::rate::Decision;

type Asking = Pin<Box<dyn Future<Output = Result<Reservation>> + Send>>;

enum Step {
    New,
    Asking(Asking),
    Sleeping(Decision, Moment),
    Done,
}

/// Asks a limiter for permits, and waits for their slot.
///
/// Dropping it before it is ready gives the reservation back if nobody reserved behind it; otherwise it stays consumed.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct RateAcquire {
    limiter: Arc<Asker>,
    weight: u32,
    /// `None`: now, or a decision that says when.
    wait: Option<Wait>,
    step: Step,
    pending: Option<Arc<Pending>>,
    #[pin]
    timer: Timer,
}

impl fmt::Debug for RateAcquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateAcquire")
            .field("limiter", &self.limiter)
            .field("weight", &self.weight)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl RateAcquire {
    /// Nothing happens before the first poll.
    pub(super) fn new(limiter: Arc<Asker>, weight: u32, wait: Option<Wait>) -> Self {
        let timer = Timer::new();
        Self {
            limiter,
            weight,
            wait,
            step: Step::New,
            pending: None,
            timer,
        }
    }

    fn start(self: Pin<&mut Self>) -> Result<()> {
        let this = self.project();
        *this.step = Step::Done;
        if *this.weight == 0 {
            return Err(Error::invalid("the number of permits must be at least 1"));
        }
        let shared = this.limiter.client().shared();
        let pending = shared.refunds.insert(this.limiter.key(), *this.weight);
        *this.pending = Some(Arc::clone(&pending));
        // Looked at after the place is taken: the end of the client's life tells whoever has one, and this one it may
        // just have missed.
        shared.check_open()?;
        let (limiter, weight, wait) = (Arc::clone(this.limiter), *this.weight, *this.wait);
        let asking = async move { limiter.ask(weight, wait, Some(pending)).await };
        *this.step = Step::Asking(Box::pin(asking));
        Ok(())
    }

    fn advance(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Decision>> {
        if matches!(self.step, Step::New) {
            self.as_mut().start()?;
        }
        let mut this = self.project();
        let Some(pending) = this.pending.as_ref() else {
            return Poll::Pending; // polled after it was done
        };
        if pending.poll_closed(cx) {
            return Poll::Ready(Err(this.limiter.client().shared().closed_error()));
        }
        if let Step::Asking(asking) = this.step {
            let Reservation { decision, slot, .. } = ready!(asking.as_mut().poll(cx))?;
            *this.step = Step::Sleeping(decision, slot.unwrap_or_else(Moment::now));
        }
        let Step::Sleeping(decision, slot) = *this.step else {
            return Poll::Pending;
        };
        let driver = &this.limiter.client().shared().driver;
        ready!(this.timer.as_mut().poll_until(cx, slot, Some(driver)));
        if !pending.is_used() {
            return Poll::Ready(Err(this.limiter.client().shared().closed_error()));
        }
        Poll::Ready(Ok(decision))
    }

    /// What it may have reserved, and does not use, goes back. Never blocks, allocates or fails (H15).
    fn finish(self: Pin<&mut Self>) {
        let this = self.project();
        *this.step = Step::Done;
        if let Some(pending) = this.pending.take() {
            let shared = this.limiter.client().shared();
            if shared.refunds.give_back(&pending) {
                shared.schedule.wake.notify_one();
            }
        }
    }
}

impl Future for RateAcquire {
    type Output = Result<Decision>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.as_mut().advance(cx));
        self.as_mut().finish();
        let name = self.limiter.name();
        Poll::Ready(result.map_err(|error| error.named(name)))
    }
}

#[pinned_drop]
impl PinnedDrop for RateAcquire {
    fn drop(self: Pin<&mut Self>) {
        self.finish();
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<RateAcquire>();
}
