//! What the primitives' crates are made of: a guard type of their own around [`Guard`], the futures that yield it, and
//! `run`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use crate::ops::acquire::Acquire;
use crate::ops::guard::Guard;
use crate::ops::place::Place;
use crate::types::error::{Error, Result};

/// The guard type of a primitive; [`guard_type`](crate::guard_type) implements it.
#[doc(hidden)]
pub trait Shell: fmt::Debug + Sized + Send + Sync + Unpin + 'static {
    /// Puts the hold into its shell.
    fn from_guard(guard: Guard) -> Self;
    /// The hold.
    fn guard(&self) -> &Guard;
    /// Takes the hold out again.
    fn into_guard(self) -> Guard;
}

/// Waits for a hold, and yields it as the primitive's guard.
///
/// # Cancel safety
/// Dropping it undoes the attempt: its place in the queue is lost, a grant on its way goes to the next waiter, and within
/// a round trip nothing of it is left.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct Acquiring<G> {
    #[pin]
    acquire: Acquire,
    guard: PhantomData<fn() -> G>,
}

/// Waits for a hold for a bounded time, or not at all: `Ok(None)` if it was busy.
///
/// # Cancel safety
/// As [`Acquiring`].
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct TryAcquiring<G> {
    #[pin]
    acquire: Acquire,
    guard: PhantomData<fn() -> G>,
}

macro_rules! shell_future {
    ($name:ident) => {
        impl<G> $name<G> {
            #[doc(hidden)]
            pub fn new(acquire: Acquire) -> Self {
                Self {
                    acquire,
                    guard: PhantomData,
                }
            }

            #[doc(hidden)]
            pub fn place(&self) -> Place {
                self.acquire.place()
            }
        }

        impl<G> fmt::Debug for $name<G> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.acquire.fmt(f)
            }
        }
    };
}

shell_future!(Acquiring);
shell_future!(TryAcquiring);

impl<G: Shell> Future for Acquiring<G> {
    type Output = Result<G>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<G>> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        // Without a deadline nobody answers "busy until the wait was over".
        Poll::Ready(granted.map(G::from_guard).ok_or_else(Error::no_deadline))
    }
}

impl<G: Shell> Future for TryAcquiring<G> {
    type Output = Result<Option<G>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<G>>> {
        let granted = ready!(self.project().acquire.poll(cx))?;
        Poll::Ready(Ok(granted.map(G::from_guard)))
    }
}

/// Runs `body` until it is done or the hold is lost, then releases.
///
/// # Errors
/// `Lost` if the hold ended before the body did. A release that is not answered while the hold is valid is none.
///
/// # Cancel safety
/// Dropping it drops the body and releases.
#[doc(hidden)]
pub async fn run<G: Shell, T>(guard: G, body: impl AsyncFnOnce(&G) -> T) -> Result<T> {
    let mut lost = pin!(guard.guard().hold().lost());
    let raced = {
        let mut body = pin!(body(&guard));
        poll_fn(|cx| {
            // Loss first: after a pause the body must not go on.
            if let Poll::Ready(loss) = lost.as_mut().poll(cx) {
                return Poll::Ready(Err(loss));
            }
            body.as_mut().poll(cx).map(Ok)
        })
        .await
    };
    let guard = guard.into_guard();
    match raced {
        Ok(done) => match guard.unlock().await {
            // The server's word, or the deadline's: somebody else may have been inside.
            Err(error) if error.is_lost() => Err(error),
            // Unanswered, but valid to the end.
            _ => Ok(done),
        },
        Err(reason) => Err(Error::lost(reason).named(guard.name())),
    }
}

/// Makes a struct with the field `guard: Guard` the guard type of a primitive: it derefs to its [`Hold`](crate::Hold), and
/// has the methods that all guards have. `$release` is what its release is called, `$path` its name for the examples.
#[doc(hidden)]
#[macro_export]
macro_rules! guard_type {
    ($type:ident, $path:literal, $release:ident) => {
        impl $crate::Shell for $type {
            fn from_guard(guard: $crate::Guard) -> Self {
                Self { guard }
            }

            fn guard(&self) -> &$crate::Guard {
                &self.guard
            }

            fn into_guard(self) -> $crate::Guard {
                self.guard
            }
        }

        /// The hold that it stands for: how long it is valid, whether and why it was lost.
        impl std::ops::Deref for $type {
            type Target = $crate::Hold;

            fn deref(&self) -> &$crate::Hold {
                self.guard.hold()
            }
        }

        impl $type {
            /// A cheap view of the hold for tasks that work under it. It cannot release.
            ///
            /// # Examples
            /// ```no_run
            #[doc = concat!("# fn example(guard: &", $path, ") {")]
            /// let hold = guard.hold();
            /// std::thread::spawn(move || {
            ///     while hold.is_valid() {
            ///         // a part of the work
            ///     }
            /// });
            /// # }
            /// ```
            pub fn hold(&self) -> $crate::Hold {
                self.guard.hold().clone()
            }

            /// Renews the hold so that it lasts at least `lease` from now. Never shortens it.
            ///
            /// # Errors
            /// `Lost` if it has ended; `Invalid` for a lease out of range or past the maximum hold; `Unavailable` if there
            /// was no answer in time: it may have been extended, and `valid_for` counts on not.
            ///
            /// # Cancel safety
            /// The extension may or may not happen.
            ///
            /// # Examples
            /// ```no_run
            /// # use std::time::Duration;
            #[doc = concat!("# async fn example(guard: &", $path, ") -> Result<(), latchwork_core::Error> {")]
            /// guard.extend(Duration::from_secs(120)).await?;
            /// // Now a step that blocks the runtime for a minute is safe.
            /// # Ok(())
            /// # }
            /// ```
            pub async fn extend(&self, lease: std::time::Duration) -> $crate::Result<()> {
                self.guard.extend(lease).await
            }

            /// Releases, and says what came of it. The release is under way at the first poll: dropping the future after
            /// that loses only the answer.
            ///
            /// # Errors
            /// `Lost` if the hold had ended before: nobody else's is touched. `Unavailable` if nothing was heard of the
            /// server until the lease was over.
            ///
            /// # Cancel safety
            /// The release happens all the same.
            ///
            /// # Examples
            /// ```no_run
            #[doc = concat!("# async fn example(guard: ", $path, ") {")]
            #[doc = concat!("if let Err(error) = guard.", stringify!($release), "().await {")]
            ///     eprintln!("it was not ours to the end: {error}");
            /// }
            /// # }
            /// ```
            pub fn $release(self) -> $crate::Unlock {
                self.guard.unlock()
            }

            /// Gives it up without releasing: nobody renews, and what it held is free again when the lease has run out.
            ///
            /// # Examples
            /// A job that starts once per lease across a fleet: the lease keeps late nodes out.
            /// ```no_run
            /// # async fn job() {}
            #[doc = concat!("# async fn example(guard: ", $path, ") {")]
            /// job().await;
            /// guard.forget();
            /// # }
            /// ```
            pub fn forget(self) {
                self.guard.forget();
            }
        }
    };
}

/// The options that the builders of all primitives with holds have, on a struct with the field `options: PrimitiveOptions`.
#[doc(hidden)]
#[macro_export]
macro_rules! builder_options {
    ($builder:ident) => {
        impl $builder {
            /// How long the server keeps a hold without hearing of its holder: 10 ms to 24 h. Defaults to the client's, 10 s.
            pub fn lease(mut self, lease: std::time::Duration) -> Self {
                self.options.lease = Some(lease);
                self
            }

            /// Whether the keeper renews the lease. Defaults to [`Renew::Watchdog`]($crate::Renew::Watchdog).
            pub fn renew(mut self, renew: $crate::Renew) -> Self {
                self.options.renew = renew;
                self
            }

            /// The longest that a hold is kept: renewals stop, and it reads lost. At least the lease. Defaults to no limit.
            pub fn max_hold(mut self, most: std::time::Duration) -> Self {
                self.options.max_hold = Some(most);
                self
            }

            /// The most that may wait at once, in all processes together: more are refused with `QueueFull` at once. 1 to
            /// 1 000 000. Defaults to the client's, 10 000. It counts for the attempts of this handle.
            pub fn max_waiters(mut self, most: u32) -> Self {
                self.options.max_waiters = Some(most);
                self
            }
        }
    };
}
