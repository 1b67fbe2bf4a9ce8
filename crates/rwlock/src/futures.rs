//! The named futures of this crate. All are `Send + 'static`, and undo or finish their work when they are dropped.

use latchwork_core::{Acquiring, TryAcquiring};

use crate::guard::{RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard};

pub use latchwork_core::{Lost, Unlock};

/// Waits for a share. See [`RwLock::read`](crate::RwLock::read).
pub type RwLockRead = Acquiring<RwLockReadGuard>;
/// Waits for a share for a bounded time, or not at all. See [`RwLock::try_read`](crate::RwLock::try_read).
pub type TryRwLockRead = TryAcquiring<RwLockReadGuard>;
/// Waits for the upgradable share. See [`RwLock::upgradable_read`](crate::RwLock::upgradable_read).
pub type RwLockUpgradableRead = Acquiring<RwLockUpgradableReadGuard>;
/// Waits for the upgradable share for a bounded time, or not at all. See
/// [`RwLock::try_upgradable_read`](crate::RwLock::try_upgradable_read).
pub type TryRwLockUpgradableRead = TryAcquiring<RwLockUpgradableReadGuard>;
/// Waits for the whole. See [`RwLock::write`](crate::RwLock::write).
pub type RwLockWrite = Acquiring<RwLockWriteGuard>;
/// Waits for the whole for a bounded time, or not at all. See [`RwLock::try_write`](crate::RwLock::try_write).
pub type TryRwLockWrite = TryAcquiring<RwLockWriteGuard>;

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<RwLockRead>();
    future::<TryRwLockRead>();
    future::<RwLockUpgradableRead>();
    future::<TryRwLockUpgradableRead>();
    future::<RwLockWrite>();
    future::<TryRwLockWrite>();
}
