//! The permit of a semaphore.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use latchwork_core::{Error, Guard, Hold, Name, Result};

use crate::futures::{Lost, Unlock};

/// One permit of a semaphore, or several that were acquired together: nobody else has them, as long as
/// [`is_lost`](Self::is_lost) says no.
///
/// A keeper renews the hold in the background. If it cannot (the server is gone, the process was paused), the hold ends,
/// the permits go back, and this one says so by its own clock, before the server gives them to somebody else.
///
/// Dropping it gives the permits back in the background; [`release`](Self::release) waits for the answer.
/// `std::mem::forget` would leave the hold renewed for as long as the process lives: use [`forget`](Self::forget).
#[must_use = "the permits are given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphorePermit {
    guard: Guard,
}

impl SemaphorePermit {
    pub(crate) const fn new(guard: Guard) -> Self {
        Self { guard }
    }

    /// The name of the semaphore.
    pub fn name(&self) -> &Name {
        self.guard.name()
    }

    /// How many permits these are.
    pub fn permits(&self) -> u32 {
        self.guard.weight()
    }

    /// Whether the hold ended under the permit. Looks at the clock: needs no task and no network.
    ///
    /// # Examples
    /// ```no_run
    /// # fn work(_: u32) {}
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// for part in 0..1000 {
    ///     if permit.is_lost() {
    ///         break; // somebody else may be at it
    ///     }
    ///     work(part); // which is not async
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    /// How long the hold can be relied on if no renewal comes through any more; zero when lost.
    pub fn valid_for(&self) -> Duration {
        self.guard.valid_for()
    }

    /// Resolves with the reason when the hold ends under the permit. It borrows nothing and has its own timer.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn work() {}
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// let lost = permit.lost();
    /// // select between `work()` and `lost`, or use `Semaphore::run`, which does
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) -> Lost {
        self.guard.hold().lost()
    }

    /// A token that is cancelled when the hold ends, lost or released.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// let ended = permit.cancellation_token();
    /// // give `ended` to the tasks that work under it
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "cancellation-token")]
    pub fn cancellation_token(&self) -> tokio_util::sync::CancellationToken {
        self.guard.hold().cancellation_token()
    }

    /// A cheap view of the hold for tasks that work under it. It cannot release.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// let hold = permit.hold();
    /// std::thread::spawn(move || {
    ///     while !hold.is_lost() {
    ///         // a part of the work
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn hold(&self) -> Hold {
        self.guard.hold().clone()
    }

    /// Renews the hold so that it lasts at least `lease` from now. Never shortens it.
    ///
    /// # Errors
    /// `Lost` if it has ended; `Invalid` for a lease out of range or past the maximum hold; `Unavailable` if there was no
    /// answer in time: it may have been extended, and [`valid_for`](Self::valid_for) counts on not.
    ///
    /// # Cancel safety
    /// The extension may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// permit.extend(Duration::from_secs(120)).await?;
    /// // now a step that blocks the runtime for a minute is safe
    /// # Ok(())
    /// # }
    /// ```
    pub async fn extend(&self, lease: Duration) -> Result<()> {
        self.guard.extend(lease).await
    }

    /// Gives the permits back, and says what came of it. The release is under way at the first poll: dropping the future after that
    /// loses only the answer.
    ///
    /// # Errors
    /// `Lost` if the hold had ended before: nobody else loses anything, and there are not more permits than before. `Unavailable` if nothing was heard of the
    /// server until the lease was over.
    ///
    /// # Cancel safety
    /// The release happens all the same.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// if let Err(error) = permit.release().await {
    ///     eprintln!("it was not ours to the end: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn release(self) -> Unlock {
        self.guard.unlock()
    }

    /// Gives up the permits without releasing: nobody renews, and they go back when the lease has run out.
    ///
    /// tokio's `forget` makes the semaphore smaller for ever; here that is [`Semaphore::resize`](crate::Semaphore::resize).
    ///
    /// # Examples
    /// At most so many starts per lease, across a fleet.
    /// ```no_run
    /// # async fn start() {}
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// if let Some(permit) = semaphore.try_acquire().await? {
    ///     start().await;
    ///     permit.forget();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(self) {
        self.guard.forget();
    }

    /// Makes a permit of its own of `n` of these, and renews both. `Ok(None)`: there are not more than `n` here.
    ///
    /// # Errors
    /// `Invalid` for zero, `Lost` if the hold has ended. `Unavailable`, `Closed`, `Denied`: then these are fewer by `n`, and
    /// those `n` go back by the end of the lease, or with this one.
    ///
    /// # Cancel safety
    /// Dropping the future gives the `n` back.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let mut five = semaphore.acquire_many(5).await?;
    /// let two = five.split(2).await?.expect("five are more than two");
    /// assert_eq!((five.permits(), two.permits()), (3, 2));
    /// two.release().await
    /// # }
    /// ```
    pub async fn split(&mut self, n: u32) -> Result<Option<Self>> {
        Ok(self.guard.split(n).await?.map(Self::new))
    }

    /// Adds the permits of another to these, and renews them. Both have to be of one client and one name.
    ///
    /// # Errors
    /// `Invalid` if they are not; `Lost` if one of them has ended; `Unavailable`, `Closed`, `Denied`. In each of these cases
    /// the other's permits are given back, and these are what they were.
    ///
    /// # Cancel safety
    /// Dropping the future gives the other's permits back, unless they are here already.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let mut permit = semaphore.acquire().await?;
    /// if let Some(more) = semaphore.try_acquire_many(3).await? {
    ///     permit.merge(more).await?;
    ///     assert_eq!(permit.permits(), 4);
    /// }
    /// permit.release().await
    /// # }
    /// ```
    pub async fn merge(&mut self, other: Self) -> Result<()> {
        self.guard.merge(other.guard).await
    }

    /// Runs `body` until it is done or the hold is lost, then releases.
    pub(crate) async fn race<T>(self, body: impl AsyncFnOnce(&Self) -> T) -> Result<T> {
        let mut lost = pin!(self.lost());
        let raced = {
            let mut body = pin!(body(&self));
            poll_fn(|cx| {
                // Loss first: after a pause the body must not go on.
                if let Poll::Ready(loss) = lost.as_mut().poll(cx) {
                    return Poll::Ready(Err(loss));
                }
                body.as_mut().poll(cx).map(Ok)
            })
            .await
        };
        let name = self.name().clone();
        match raced {
            Ok(done) => {
                match self.release().await {
                    // The server's word, or the deadline's: somebody else may have been inside.
                    Err(error) if error.is_lost() => Err(error),
                    // Unanswered, but valid to the end.
                    _ => Ok(done),
                }
            }
            Err(reason) => Err(Error::from_loss(reason, &name)),
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn guard<T: std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    guard::<SemaphorePermit>();
}
