//! The guard of a mutex.

use latchwork_core::FencingToken;
use latchwork_core::kit::{Guard, guard_type};

/// Proof that nobody else holds the mutex, as long as its [`Hold`](crate::Hold), to which it derefs, is valid.
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

guard_type!(MutexGuard, "latchwork_mutex::MutexGuard", unlock, unlock_after);

impl MutexGuard {
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
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn guard<T: std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    guard::<MutexGuard>();
}
