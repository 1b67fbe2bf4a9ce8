//! A hold that becomes another: shared and exclusive, more and less, without being given up in between.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::attempt::{Attempt, Base, Kin};
use crate::base::clock::Moment;
use crate::ops::acquire::Acquire;
use crate::ops::guard::Guard;
use crate::ops::request::{AcquireRequest, Wait};
use crate::types::error::{Error, Result};
use crate::wire::request::Request;
use crate::wire::script;

/// Why a hold could not be upgraded.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotUpgraded {
    /// The hold as it was, unless it was lost.
    pub guard: Option<Guard>,
    /// What went wrong; `None`: others shared it until the wait was over.
    pub error: Option<Error>,
}

impl Guard {
    /// Makes this shared hold exclusive, as soon as nobody else shares it; goes before the queue.
    ///
    /// # Errors
    /// The hold is handed back if others shared it until the wait was over, or if the server did not answer in time.
    ///
    /// # Cancel safety
    /// Dropping it gives the hold up.
    pub async fn upgrade(mut self, wait: Wait) -> Result<Self, NotUpgraded> {
        let base = Arc::clone(&self.view.attempt);
        let mut spec = base.spec.clone();
        spec.kin = Kin::Base(Base {
            counter: base.counter,
            weight: spec.weight,
            window: base.window(),
        });
        spec.weight = spec.capacity;
        let request = AcquireRequest {
            name: base.name.clone(),
            key: Arc::clone(&base.key),
            spec,
        };
        let mut lost = pin!(self.view.lost());
        let mut acquire = pin!(Acquire::new(&self.client, request, wait));
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(loss) = lost.as_mut().poll(cx) {
                return Poll::Ready(Err(Error::lost(loss).named(&base.name)));
            }
            acquire.as_mut().poll(cx)
        })
        .await;
        match outcome {
            Ok(Some(mut granted)) => {
                self.becomes_exclusive(&granted);
                granted.leave(); // there is one hold, and it is this one
                match self.lost_error() {
                    None => Ok(self),
                    error => Err(NotUpgraded { guard: None, error }),
                }
            }
            Ok(None) => Err(NotUpgraded {
                guard: Some(self),
                error: None,
            }),
            Err(error) => Err(NotUpgraded {
                guard: (!error.is_lost()).then_some(self),
                error: Some(error),
            }),
        }
    }

    /// The maximum hold counts from the first grant, whatever the hold has become since.
    fn lasts_no_longer_than(&self, cap: Moment) {
        let attempt = &self.view.attempt;
        let mut state = attempt.state();
        state.cap = state.cap.min(cap);
        state.deadline = state.deadline.min(state.cap);
        state.schedule(Moment::now(), &attempt.spec);
        let due = state.due;
        drop(state);
        self.client.shared().keeper.no_later_than(due);
    }

    fn becomes_exclusive(&mut self, granted: &Self) {
        self.weight = self.view.attempt.spec.capacity;
        self.view.token = granted.view.token;
        let mut state = self.view.attempt.state();
        state.token = granted.token_number(); // renewals name it from now on
        state.weight = self.weight;
    }

    /// Makes this hold a shared one of so much weight, and lets in those who can share with it.
    ///
    /// # Errors
    /// `Lost` if it has ended; `Unavailable`, `Closed`, `Denied`: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping it gives the hold up.
    pub async fn downgrade(mut self, weight: u32) -> Result<Self> {
        if let Some(error) = self.lost_error() {
            return Err(error);
        }
        let old = Arc::clone(&self.view.attempt);
        let mut spec = old.spec.clone();
        spec.weight = weight;
        let request = AcquireRequest {
            name: old.name.clone(),
            key: Arc::clone(&old.key),
            spec,
        };
        let token = self.token_number();
        let client = self.client.clone();
        let args = |request: Request| request.arg(&old.id).arg(token).arg(old.spec.capacity());
        let shared = client.take_over(&script::DOWNGRADE, request, args).await?;
        shared.lasts_no_longer_than(old.state().cap);
        // It is gone at the server. Only if a copy of its acquire may still be on its way there is something to end.
        if old.state().unanswered == 0 {
            self.leave();
        }
        Ok(shared)
    }
}

impl Attempt {
    /// The claim window in its id, ms.
    fn window(&self) -> u64 {
        let digits = self.id.rsplit(':').next().unwrap_or_default();
        digits.parse().unwrap_or_default()
    }
}
