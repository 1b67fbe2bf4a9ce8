//! The named futures and streams of this crate. The futures are `Send + 'static`, and undo or finish their work when they
//! are dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use latchwork_core::kit::Place;
use latchwork_core::{Acquiring, Result, TryAcquiring};
use pin_project::pin_project;

use crate::guard::MutexGuard;
use crate::reentrant::ReentrantMutexGuard;

pub use latchwork_core::{Lost, Positions, Unlock};

/// Waits for the lock. See [`Mutex::lock`](crate::Mutex::lock).
pub type MutexLock = Acquiring<MutexGuard>;

/// Waits for the lock for a bounded time, or not at all. See [`Mutex::try_lock`](crate::Mutex::try_lock).
pub type TryMutexLock = TryAcquiring<MutexGuard>;

/// Waits for the lock. See [`ReentrantMutex::lock`](crate::ReentrantMutex::lock).
pub type ReentrantLock = Acquiring<ReentrantMutexGuard>;

/// Waits for the lock for a bounded time, or not at all. See [`ReentrantMutex::try_lock`](crate::ReentrantMutex::try_lock).
pub type TryReentrantLock = TryAcquiring<ReentrantMutexGuard>;

macro_rules! with_a_place {
    ($name:ident, $inner:ty, $doc:literal) => {
        #[doc = $doc]
        #[must_use = "futures do nothing unless polled"]
        #[pin_project]
        #[derive(Debug)]
        pub struct $name {
            #[pin]
            acquiring: $inner,
            place: Place,
        }

        impl $name {
            pub(crate) fn new(acquiring: $inner) -> Self {
                let place = acquiring.place();
                Self { acquiring, place }
            }

            /// How many wait before this one, as the server says: zero is next. `None`: it does not wait, because it was not
            /// polled yet, or has the lock. One request.
            ///
            /// # Errors
            /// Those of [every request](crate::ErrorKind#every-request).
            ///
            /// # Cancel safety
            /// Cancel safe: it changes nothing.
            pub fn position(&self) -> impl Future<Output = Result<Option<u64>>> + Send + use<> {
                self.place.clone().position()
            }

            /// The [`position`](Self::position), once a second; it ends when this one has the lock. It costs a request a
            /// second while it is polled, and nothing otherwise.
            ///
            /// For `next` take `StreamExt`, from `futures-util` or `tokio-stream`.
            pub fn positions(&self) -> Positions {
                self.place.clone().positions()
            }
        }

        impl Future for $name {
            type Output = <$inner as Future>::Output;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.project().acquiring.poll(cx)
            }
        }
    };
}

with_a_place!(
    FairLock,
    MutexLock,
    "Waits for the lock in the order of arrival. See [`FairMutex::lock`](crate::FairMutex::lock)."
);
with_a_place!(
    TryFairLock,
    TryMutexLock,
    "Waits for the lock for a bounded time. See [`FairMutex::try_lock_for`](crate::FairMutex::try_lock_for)."
);

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<MutexLock>();
    future::<TryMutexLock>();
    future::<FairLock>();
    future::<TryFairLock>();
    future::<ReentrantLock>();
    future::<TryReentrantLock>();
}
