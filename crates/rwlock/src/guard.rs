//! The three guards of a read-write lock, and how one becomes another.

use std::time::{Duration, Instant};

use latchwork_core::kit::{Guard, Shell, Wait, guard_type};
use latchwork_core::{FencingToken, Result};

use crate::rwlock::{READ, UPGRADABLE};
use crate::upgrade::UpgradeError;

/// A share: nobody writes, as long as its [`Hold`](crate::Hold), to which it derefs, is valid.
///
/// Each share has a lease of its own, which a keeper renews. Dropping it gives it back in the background;
/// [`unlock`](Self::unlock) waits for the answer. `std::mem::forget` would leave it renewed for as long as the process lives:
/// use [`forget`](Self::forget).
#[must_use = "the share is given back when the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct RwLockReadGuard {
    guard: Guard,
}

/// The upgradable share: others may read, nobody writes, and this one alone can become the writer
/// ([`upgrade`](Self::upgrade)) without anybody writing in between.
///
/// There is one at a time: who wants another waits. Otherwise as [`RwLockReadGuard`].
#[must_use = "the share is given back when the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct RwLockUpgradableReadGuard {
    guard: Guard,
}

/// The whole: nobody else reads or writes, as long as its [`Hold`](crate::Hold), to which it derefs, is valid.
///
/// What must not happen twice even if the hold is lost is for the resource to refuse: give it the
/// [`fencing_token`](Self::fencing_token). Otherwise as [`RwLockReadGuard`].
#[must_use = "the lock is released when the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct RwLockWriteGuard {
    guard: Guard,
}

guard_type!(
    RwLockReadGuard,
    "latchwork_rwlock::RwLockReadGuard",
    unlock,
    unlock_after
);
guard_type!(
    RwLockUpgradableReadGuard,
    "latchwork_rwlock::RwLockUpgradableReadGuard",
    unlock,
    unlock_after
);
guard_type!(
    RwLockWriteGuard,
    "latchwork_rwlock::RwLockWriteGuard",
    unlock,
    unlock_after
);

impl RwLockUpgradableReadGuard {
    /// Becomes the writer as soon as the other readers have gone. It goes before the queue: new readers wait, and no writer
    /// comes in between, so what was read still holds.
    ///
    /// The lease is renewed meanwhile, unless it is [`Renew::Manual`](crate::Renew::Manual).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), as the
    /// [`error`](UpgradeError::error) of an [`UpgradeError`], which hands the guard back. `Invalid`
    /// if the server refuses the [`token_floor`](crate::RwLockBuilder::token_floor). `Lost` if the
    /// hold has ended, and `NotDurable` if the upgrade does not get as far as
    /// [`durability`](crate::RwLockBuilder::durability) asks for: only then the guard is not handed
    /// back.
    ///
    /// # Cancel safety
    /// Dropping the future gives up both the share and the upgrade.
    ///
    /// # Examples
    /// ```no_run
    /// # fn stale() -> bool { true }
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let reading = config.upgradable_read().await?;
    /// if stale() {
    ///     let writing = reading.upgrade().await?;
    ///     // still stale: nobody has written since
    ///     writing.unlock().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn upgrade(self) -> Result<RwLockWriteGuard, UpgradeError> {
        self.upgrade_within(Wait::Forever).await
    }

    /// Becomes the writer if nobody else reads; else the guard is handed back.
    ///
    /// # Errors
    /// As [`upgrade`](Self::upgrade). If others read, the [`UpgradeError`] has the guard and no
    /// error: see [`UpgradeError::is_busy`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up both the share and the upgrade.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let reading = config.upgradable_read().await?;
    /// match reading.try_upgrade().await {
    ///     Ok(writing) => writing.unlock().await?,
    ///     Err(busy) if busy.is_busy() => {
    ///         let reading = busy.into_guard(); // others read
    ///     }
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_upgrade(self) -> Result<RwLockWriteGuard, UpgradeError> {
        self.upgrade_within(Wait::Try).await
    }

    /// Becomes the writer if the other readers have gone before `wait` is over; else the guard is handed back.
    ///
    /// # Errors
    /// As [`upgrade`](Self::upgrade). If others read until then, the [`UpgradeError`] has the guard
    /// and no error: see [`UpgradeError::is_busy`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up both the share and the upgrade.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let reading = config.upgradable_read().await?;
    /// let writing = reading.try_upgrade_for(Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_upgrade_for(self, wait: Duration) -> Result<RwLockWriteGuard, UpgradeError> {
        self.upgrade_within(Wait::for_duration(wait)).await
    }

    /// Becomes the writer if the other readers have gone before `deadline`. See [`try_upgrade_for`](Self::try_upgrade_for).
    ///
    /// # Errors
    /// As [`try_upgrade_for`](Self::try_upgrade_for).
    ///
    /// # Cancel safety
    /// As there.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let writing = config.upgradable_read().await?.try_upgrade_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_upgrade_until(self, deadline: Instant) -> Result<RwLockWriteGuard, UpgradeError> {
        self.upgrade_within(Wait::Until(deadline)).await
    }

    async fn upgrade_within(self, wait: Wait) -> Result<RwLockWriteGuard, UpgradeError> {
        match self.guard.upgrade(wait).await {
            Ok(guard) => Ok(RwLockWriteGuard::from_guard(guard)),
            Err(why) => Err(UpgradeError::new(why)),
        }
    }

    /// Becomes an ordinary share, so that somebody else may have the upgradable one.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `Lost` if the hold has ended.
    /// In each case it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the share up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let reading = config.upgradable_read().await?.downgrade().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn downgrade(self) -> Result<RwLockReadGuard> {
        self.guard.downgrade(READ).await.map(RwLockReadGuard::from_guard)
    }
}

impl RwLockWriteGuard {
    /// The token of this hold: higher than that of every earlier writer. Give it to the resource.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_rwlock::{Client, Fence, RwLockWriteGuard};
    /// # async fn example(client: Client, guard: RwLockWriteGuard) -> Result<(), latchwork_rwlock::Error> {
    /// let config = Fence::new(&client, "config")?;
    /// if !config.set(guard.fencing_token(), "verbose = true").await? {
    ///     // A newer writer was there: this one was lost. Nothing was overwritten.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn fencing_token(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// Becomes a share, without letting a writer in between, and lets in the readers that wait at the front.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `Lost` if the hold has ended.
    /// In each case it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let writing = config.write().await?;
    /// // replace it, then go on reading what was written
    /// let reading = writing.downgrade().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn downgrade(self) -> Result<RwLockReadGuard> {
        self.guard.downgrade(READ).await.map(RwLockReadGuard::from_guard)
    }

    /// Becomes the upgradable share. See [`downgrade`](Self::downgrade).
    ///
    /// # Errors
    /// As [`downgrade`](Self::downgrade).
    ///
    /// # Cancel safety
    /// As [`downgrade`](Self::downgrade).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let reading = config.write().await?.downgrade_to_upgradable().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn downgrade_to_upgradable(self) -> Result<RwLockUpgradableReadGuard> {
        self.guard
            .downgrade(UPGRADABLE)
            .await
            .map(RwLockUpgradableReadGuard::from_guard)
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn guard<T: std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    guard::<RwLockReadGuard>();
    guard::<RwLockUpgradableReadGuard>();
    guard::<RwLockWriteGuard>();
}
