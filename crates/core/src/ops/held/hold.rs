//! Looking at a hold: cheap views of it, why it ended, and the future that says so.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

use crate::attempt::Attempt;
use crate::base::clock::{Moment, Timer};
use crate::types::durability::Reached;
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::types::token::FencingToken;

/// A cheap view of a hold, for tasks that work under it. It cannot release.
#[derive(Clone)]
pub struct Hold {
    pub(crate) attempt: Arc<Attempt>,
    /// `None`: a shared hold has none.
    pub(crate) token: Option<FencingToken>,
    pub(crate) driver: tokio::runtime::Handle,
    /// How far its grant had got when the guard was handed out.
    pub(crate) reached: Reached,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("name", self.name())
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Hold {
    /// The name of the primitive.
    pub fn name(&self) -> &Name {
        &self.attempt.name
    }

    /// The token of this hold, if it is exclusive. See [`FencingToken`].
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.token
    }

    /// Returns how far the grant had got when the guard was handed out: at least as far as the
    /// [`Durability`](crate::Durability) of the handle asks for.
    ///
    /// A hold that was made from another one by a downgrade or a split has
    /// [`Reached::Primary`]: it is the hold it came from that the replicas have.
    ///
    /// # Examples
    /// ```no_run
    /// # fn example(hold: &latchwork_core::Hold) {
    /// println!("granted, and {:?}", hold.reached()); // "granted, and Replicas(2)"
    /// # }
    /// ```
    pub fn reached(&self) -> Reached {
        self.reached
    }

    /// Whether the hold ended *under its guard*. A hold that was released or dropped is not lost; to work as long as it is held,
    /// look at [`is_valid`](Self::is_valid).
    pub fn is_lost(&self) -> bool {
        self.attempt.check(Moment::now()).is_some()
    }

    /// Whether the hold can be relied on now: not lost, and not released. Looks at the clock: needs no task and no network.
    pub fn is_valid(&self) -> bool {
        !self.valid_for().is_zero()
    }

    /// How long the hold can still be relied on if no renewal comes through; zero when it was lost or released.
    pub fn valid_for(&self) -> Duration {
        let now = Moment::now();
        let state = self.attempt.look(now);
        match state.held() {
            Some(held) if state.loss().is_none() => held.left(now),
            _ => Duration::ZERO,
        }
    }

    /// Resolves with the reason when the hold ends under its guard; never after a normal release.
    ///
    /// # Cancel safety
    /// Cancel safe: it can be dropped and called again at any time, nothing is lost.
    pub fn lost(&self) -> Lost {
        Lost {
            attempt: Arc::clone(&self.attempt),
            key: None,
            timer: Timer::new(),
            driver: self.driver.clone(),
            released: false,
        }
    }

    /// A token that is cancelled when the hold ends, lost or released.
    ///
    /// It is cancelled by a task on the present runtime, or on the client's.
    #[cfg(feature = "cancellation-token")]
    pub fn cancellation_token(&self) -> tokio_util::sync::CancellationToken {
        let token = tokio_util::sync::CancellationToken::new();
        let mut end = self.lost();
        end.released = true;
        let done = token.clone();
        let runtime = tokio::runtime::Handle::try_current().unwrap_or_else(|_| self.driver.clone());
        drop(runtime.spawn(async move {
            let _cancels = done.drop_guard();
            end.await;
        }));
        token
    }
}

/// Resolves when a hold ends under its guard. See [`Hold::lost`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Lost {
    attempt: Arc<Attempt>,
    key: Option<u64>,
    #[pin]
    timer: Timer,
    driver: tokio::runtime::Handle,
    /// Resolve after a release, too.
    released: bool,
}

impl Future for Lost {
    type Output = Loss;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Loss> {
        let mut this = self.project();
        loop {
            let state = this.attempt.watch(this.key, cx, Moment::now());
            if let Some(loss) = state.loss() {
                return Poll::Ready(loss);
            }
            let Some(deadline) = state.held().map(|held| held.deadline) else {
                // Released: `lost` never resolves.
                return if *this.released {
                    Poll::Ready(Loss::Closed)
                } else {
                    Poll::Pending
                };
            };
            // Its own timer: right even if the keeper is dead. The deadline may have moved on by then.
            ready!(this.timer.as_mut().poll_until(cx, deadline, Some(this.driver)));
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Lost {
    fn drop(self: Pin<&mut Self>) {
        if let Some(key) = self.key {
            self.attempt.remove_watcher(key);
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Send + Sync + Unpin + 'static>() {}
    fn future<T: Send + 'static>() {}
    all::<Hold>();
    future::<Lost>();
}
