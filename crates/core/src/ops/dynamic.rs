//! "Some lock": object-safe traits, so that an application can take any lock, and swap it in tests.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The attribute for implementations of your own.
pub use async_trait::async_trait;

use super::held::shell::Shell;
use crate::ops::request::Wait;
use crate::types::error::{Error, Result};
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::types::token::FencingToken;

/// A lock, whichever it is: `Mutex`, `FairMutex`, a reentrant mutex with its owner, one side of a `RwLock`, or a fake of
/// your own.
///
/// The concrete types have the same methods with types of their own; those are called unless you have a `dyn Lock`.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use latchwork_core::dynamic::Lock;
///
/// struct Ledger {
///     lock: Arc<dyn Lock>,
/// }
///
/// impl Ledger {
///     async fn book(&self) -> latchwork_core::Result<()> {
///         let guard = self.lock.lock().await?;
///         // ...
///         guard.unlock().await
///     }
/// }
/// ```
#[async_trait]
pub trait Lock: fmt::Debug + Send + Sync {
    /// The name.
    fn name(&self) -> &Name;

    /// Waits for the lock.
    ///
    /// # Errors
    /// Those of the lock that it is.
    async fn lock(&self) -> Result<Box<dyn Guard>>;

    /// Waits for the lock until `deadline` at most: `Ok(None)` if it was busy until then. A deadline that is over is one try.
    ///
    /// # Errors
    /// Those of the lock that it is.
    async fn try_lock_until(&self, deadline: Instant) -> Result<Option<Box<dyn Guard>>>;

    /// Takes the lock if it is free: `Ok(None)` if not.
    ///
    /// # Errors
    /// Those of the lock that it is.
    async fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        self.try_lock_until(Instant::now()).await
    }

    /// Waits for the lock this long at most: `Ok(None)` if it was busy until then.
    ///
    /// # Errors
    /// Those of the lock that it is.
    async fn try_lock_for(&self, wait: Duration) -> Result<Option<Box<dyn Guard>>> {
        match Wait::for_duration(wait) {
            Wait::Until(deadline) => self.try_lock_until(deadline).await,
            Wait::Forever => self.lock().await.map(Some),
            Wait::Try | Wait::Drain => self.try_lock().await,
        }
    }
}

impl dyn Lock + '_ {
    /// Runs `body` under the lock, and drops it at an await when the hold is lost. Then releases.
    ///
    /// # Errors
    /// Those of [`lock`](Lock::lock); `Lost` if the hold ended before the body did.
    ///
    /// # Cancel safety
    /// Dropping the future drops the body and releases.
    ///
    /// # Examples
    /// ```
    /// use latchwork_core::dynamic::Lock;
    ///
    /// async fn book(lock: &dyn Lock) -> latchwork_core::Result<u32> {
    ///     lock.run(async |guard| {
    ///         println!("booking with token {:?}", guard.fencing_token());
    ///         42
    ///     })
    ///     .await
    /// }
    /// ```
    pub async fn run<T>(&self, body: impl AsyncFnOnce(&dyn Guard) -> T) -> Result<T> {
        run(self.lock().await?, self.name(), body).await
    }

    /// Runs `body` if the lock is free: `Ok(None)` if it is not. See `run`.
    ///
    /// # Errors
    /// As [`try_lock`](Lock::try_lock), and `Lost` if the hold ended before the body did.
    ///
    /// # Cancel safety
    /// As `run`.
    pub async fn try_run<T>(&self, body: impl AsyncFnOnce(&dyn Guard) -> T) -> Result<Option<T>> {
        match self.try_lock().await? {
            Some(guard) => run(guard, self.name(), body).await.map(Some),
            None => Ok(None),
        }
    }
}

async fn run<T>(guard: Box<dyn Guard>, name: &Name, body: impl AsyncFnOnce(&dyn Guard) -> T) -> Result<T> {
    let raced = {
        let mut lost = guard.lost();
        let mut body = pin!(body(&*guard));
        poll_fn(|cx| {
            // Loss first: after a pause the body must not go on.
            if let Poll::Ready(loss) = lost.as_mut().poll(cx) {
                return Poll::Ready(Err(loss));
            }
            body.as_mut().poll(cx).map(Ok)
        })
        .await
    };
    match raced {
        Ok(done) => match guard.unlock().await {
            // The server's word, or the deadline's: somebody else may have been inside.
            Err(error) if error.is_lost() => Err(error),
            // Unanswered, but valid to the end.
            _ => Ok(done),
        },
        Err(reason) => Err(Error::lost(reason).named(name)),
    }
}

/// What a [`Lock`] yields. Dropping it releases.
#[async_trait]
pub trait Guard: fmt::Debug + Send + Sync {
    /// The token of the hold, if it is exclusive.
    fn fencing_token(&self) -> Option<FencingToken>;

    /// Whether the hold ended under the guard.
    fn is_lost(&self) -> bool;

    /// How long the hold can be relied on if no renewal comes through any more; zero when lost.
    fn valid_for(&self) -> Duration;

    /// Resolves with the reason when the hold ends under the guard.
    async fn lost(&self) -> Loss;

    /// Renews the hold so that it lasts at least `lease` from now.
    ///
    /// # Errors
    /// Those of the guard that it is.
    async fn extend(&self, lease: Duration) -> Result<()>;

    /// Releases, and says what came of it.
    ///
    /// # Errors
    /// Those of the guard that it is.
    async fn unlock(self: Box<Self>) -> Result<()>;
}

#[async_trait]
impl<G: Shell> Guard for G {
    fn fencing_token(&self) -> Option<FencingToken> {
        self.guard().hold().fencing_token()
    }

    fn is_lost(&self) -> bool {
        self.guard().is_lost()
    }

    fn valid_for(&self) -> Duration {
        self.guard().valid_for()
    }

    async fn lost(&self) -> Loss {
        self.guard().hold().lost().await
    }

    async fn extend(&self, lease: Duration) -> Result<()> {
        self.guard().extend(lease).await
    }

    async fn unlock(self: Box<Self>) -> Result<()> {
        (*self).into_guard().unlock().await
    }
}
