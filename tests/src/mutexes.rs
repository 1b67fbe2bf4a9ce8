//! Mutexes by name, for tests of the client: any primitive would do, and this is the simplest one.
//!
//! What waits here needs tokio's timer.

use std::time::Duration;

use latchwork_core::{Client, Result};
use latchwork_mutex::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::acquiring::until_extended;
use crate::{go, soon};

/// A mutex of this name.
///
/// # Panics
/// If the name is refused.
pub fn mutex(client: &Client, name: impl AsRef<[u8]>) -> Mutex {
    Mutex::new(client, name).expect("a mutex")
}

/// The lock of this name.
///
/// # Panics
/// If it cannot be acquired.
pub async fn locked(client: &Client, name: impl AsRef<[u8]>) -> MutexGuard {
    let locked = soon("a lock", mutex(client, name).lock()).await;
    locked.expect("the lock")
}

/// A task that acquires the lock of this name.
pub fn locking(client: &Client, name: impl AsRef<[u8]>) -> JoinHandle<Result<MutexGuard>> {
    go(mutex(client, name).lock())
}

/// The lock that such a task got.
///
/// # Panics
/// If it got none.
pub async fn granted(locking: JoinHandle<Result<MutexGuard>>) -> MutexGuard {
    let granted = soon("a grant", locking).await.expect("no panic");
    granted.expect("the lock")
}

/// Releases the lock, and checks that it was still held.
///
/// # Panics
/// If it was not.
pub async fn unlocked(guard: MutexGuard) {
    soon("an unlock", guard.unlock()).await.expect("released");
}

/// Checks that the server still knows the hold, and renews it. For a while it may be unable to
/// answer.
///
/// # Panics
/// If the hold is lost.
pub async fn still_held(guard: &MutexGuard, lease: Duration) {
    until_extended(async || guard.extend(lease).await).await;
    assert!(!guard.is_lost(), "still held");
}
