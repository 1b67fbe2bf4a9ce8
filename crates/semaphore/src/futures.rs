//! The named futures of this crate. All are `Send + 'static`, and undo or finish their work when they are dropped.

use latchwork_core::{Acquiring, TryAcquiring};

use crate::permit::SemaphorePermit;

pub use latchwork_core::{Lost, Unlock};

/// Waits for permits. See [`Semaphore::acquire`](crate::Semaphore::acquire).
pub type SemaphoreAcquire = Acquiring<SemaphorePermit>;

/// Waits for permits for a bounded time, or not at all. See [`Semaphore::try_acquire`](crate::Semaphore::try_acquire).
pub type TrySemaphoreAcquire = TryAcquiring<SemaphorePermit>;

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<SemaphoreAcquire>();
    future::<TrySemaphoreAcquire>();
}
