//! The permit of a semaphore.

use latchwork_core::Result;
use latchwork_core::kit::{Guard, Shell, guard_type};

/// One permit of a semaphore, or several that were acquired together: nobody else has them, as long
/// as its [`Hold`](crate::Hold), to which it derefs, is valid.
///
/// A keeper renews the hold in the background. If it cannot (the server is gone, the process was paused), the hold ends,
/// the permits go back, and this one says so by its own clock, before the server gives them to somebody else.
///
/// Dropping it gives the permits back in the background; [`release`](Self::release) waits for the answer.
/// `std::mem::forget` would leave the hold renewed for as long as the process lives: use [`forget`](Self::forget).
/// (tokio's `forget` makes the semaphore smaller forever; here that is [`Semaphore::resize`](crate::Semaphore::resize).)
#[must_use = "the permits are given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphorePermit {
    guard: Guard,
}

guard_type!(
    SemaphorePermit,
    "latchwork_semaphore::SemaphorePermit",
    release,
    release_after
);

impl SemaphorePermit {
    /// How many permits these are.
    pub fn permits(&self) -> u32 {
        self.guard.weight()
    }

    /// Makes a permit of its own of `n` of these, and renews both. `Ok(None)`: there are not more than `n` here.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): then the `n` return to these.
    /// `Invalid` for zero. `Lost` if the hold has ended.
    ///
    /// # Cancel safety
    /// Dropping the future returns the `n` to these, in the background. [`permits`](Self::permits) counts them again when
    /// the server has confirmed it, which is usually within a round trip. If the server does not answer for about a lease,
    /// they are not counted any longer, and go with the release of these, or at the end of a lease.
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
        Ok(self.guard.split(n).await?.map(Self::from_guard))
    }

    /// Adds the permits of another to these, and renews them. Both have to be of one client and one name.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if they are not of one
    /// client and one name. `Lost` if one of them has ended. In each of these cases the other's
    /// permits are given back, and these are what they were.
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
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn guard<T: std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    guard::<SemaphorePermit>();
}
