//! The guard of a mutex.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use latchwork_core::{Error, FencingToken, Guard, Hold, Name, Result, Ticket};

use crate::futures::{Lost, Unlock};

/// Proof that nobody else holds the mutex, as long as [`is_lost`](Self::is_lost) says no.
///
/// A keeper renews the hold in the background. If it cannot (the server is gone, the process was paused), the hold ends
/// and the guard says so by its own clock, before the server gives the lock to somebody else. What must not happen
/// twice even then is for the resource to refuse: give it the [`fencing_token`](Self::fencing_token).
///
/// Dropping it releases in the background; [`unlock`](Self::unlock) waits for the answer. `std::mem::forget` would leave
/// the hold renewed for as long as the process lives: use [`forget`](Self::forget).
#[must_use = "the mutex is unlocked when the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct MutexGuard {
    guard: Guard,
}

impl MutexGuard {
    pub(crate) const fn new(guard: Guard) -> Self {
        Self { guard }
    }

    /// The name of the mutex.
    pub fn name(&self) -> &Name {
        self.guard.name()
    }

    /// The token of this hold: higher than that of every earlier one. Give it to the resource.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, Fence, Mutex};
    /// # async fn example(client: Client, mutex: Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// let stock = Fence::new(&client, "stock")?;
    /// if !stock.set(guard.fencing_token(), "41").await? {
    ///     // A newer holder has written: this one was lost. Nothing was overwritten.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn fencing_token(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// Whether the hold ended under the guard. Looks at the clock: needs no task and no network.
    ///
    /// # Examples
    /// ```no_run
    /// # fn work(_: u32) {}
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// for part in 0..1000 {
    ///     if guard.is_lost() {
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

    /// Resolves with the reason when the hold ends under the guard. It borrows nothing and has its own timer.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn work() {}
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// let lost = guard.lost();
    /// // select between `work()` and `lost`, or use `Mutex::run`, which does
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
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// let ended = guard.cancellation_token();
    /// // give `ended` to the tasks that work under the lock
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
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// let hold = guard.hold();
    /// std::thread::spawn(move || {
    ///     // Ends when the hold is lost, and when it is released.
    ///     while hold.is_valid() {
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
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// guard.extend(Duration::from_secs(120)).await?;
    /// // now a step that blocks the runtime for a minute is safe
    /// # Ok(())
    /// # }
    /// ```
    pub async fn extend(&self, lease: Duration) -> Result<()> {
        self.guard.extend(lease).await
    }

    /// Releases, and says what came of it. The release is under way at the first poll: dropping the future after that
    /// loses only the answer.
    ///
    /// # Errors
    /// `Lost` if the hold had ended before: whoever holds now is not touched. `Unavailable` if nothing was heard of the
    /// server until the lease was over.
    ///
    /// # Cancel safety
    /// The release happens all the same.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// if let Err(error) = guard.unlock().await {
    ///     eprintln!("it was not ours to the end: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn unlock(self) -> Unlock {
        self.guard.unlock()
    }

    /// Gives up the guard without releasing: nobody renews, and the lease runs out. The name is free again when it has.
    ///
    /// # Examples
    /// A job that runs once across a fleet: the lease keeps late nodes out.
    /// ```no_run
    /// # async fn job() {}
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// if let Some(guard) = mutex.try_lock().await? {
    ///     job().await;
    ///     guard.forget();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(self) {
        self.guard.forget();
    }

    /// Turns the guard into a ticket with which another process can go on: [`Mutex::resume`](crate::Mutex::resume). The
    /// hold is renewed once more, and then lives until its lease ends or it is resumed.
    ///
    /// # Errors
    /// `Lost` if it has ended, `Unavailable` if it could not be renewed. Either way the hold is given up.
    ///
    /// # Cancel safety
    /// Dropping it releases.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let ticket = mutex.lock().await?.into_ticket().await?;
    /// println!("{ticket}"); // the text to give to the other process
    /// # Ok(())
    /// # }
    /// ```
    pub async fn into_ticket(self) -> Result<Ticket> {
        self.guard.into_ticket().await
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
                match self.unlock().await {
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
    guard::<MutexGuard>();
}
