//! A hold that becomes another: shared and exclusive, more and less, without being given up in between.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::guard::Guard;
use crate::attempt::event::{Event, HoldEvent};
use crate::attempt::spec::{Mode, Spec};
use crate::attempt::state::State;
use crate::base::clock::Moment;
use crate::ops::acquire::Acquire;
use crate::ops::request::{AcquireRequest, Wait};
use crate::types::error::{Error, Result};
use crate::wire::id::{self, Base};
use crate::wire::request::TakeOver;

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
        let mut spec = Spec::clone(&base.spec);
        if let Mode::Lock(share) = spec.mode {
            let origin = Base {
                counter: base.counter,
                weight: share.weight,
                window: id::window(&base.id),
            };
            spec.mode = Mode::Upgrade(share, origin);
        }
        let request = AcquireRequest {
            name: base.name.clone(),
            key: Arc::clone(&base.key),
            spec: base.spec.with(spec),
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
                    None => self.secured_after(true).await.map_err(|error| NotUpgraded {
                        guard: None,
                        error: Some(error),
                    }),
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
    pub(super) fn lasts_no_longer_than(&self, cap: Moment) {
        let shared = self.client.shared();
        shared.on(
            &self.view.attempt,
            Event::Hold(HoldEvent::Capped(cap)),
            Moment::now(),
        );
    }

    fn becomes_exclusive(&mut self, granted: &Self) {
        self.view.token = granted.view.token;
        self.has_everything();
    }

    /// Its token is that of an exclusive hold.
    pub(crate) fn has_everything(&mut self) {
        self.weight = self.view.attempt.spec.whole();
        let upgraded = Event::Hold(HoldEvent::Upgraded {
            token: self.token_number(),
            weight: self.weight,
        });
        self.view.attempt.note(upgraded);
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
        let request = AcquireRequest {
            name: old.name.clone(),
            key: Arc::clone(&old.key),
            spec: old.spec.with_weight(weight),
        };
        let cap = self.cap();
        // It is renewed until it is replaced: a request may be lost, and its lease may be short.
        old.note(Event::Hold(HoldEvent::Converting));
        let client = self.client.clone();
        let what = TakeOver::Downgrade {
            old: &old.id,
            token: self.token_number(),
            capacity: old.spec.capacity(),
        };
        let mut shared = client.take_over(request, what, None).await?;
        shared.held = self.held;
        if let Some(cap) = cap {
            shared.lasts_no_longer_than(cap);
        }
        // It is gone at the server. Only if a copy of its acquire may still be on its way there is something to end.
        if !old.with(State::is_asked) {
            self.leave();
        }
        Ok(shared)
    }
}
