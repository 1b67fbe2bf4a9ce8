//! What a primitive has to tell about itself so that the conformance suite and the cancellation sweeps can run for it.
//!
//! A new primitive is one file beside `mutex.rs`, an entry in [`all`], and a line in
//! `tests/conformance/main.rs` and in `tests/cancellation/main.rs`. What only it can do (`split`,
//! `resume`, an order of its own) has tests of its own; of those calls that are async the sweeps
//! need to know: [`Handle::extras`].

mod fair;
mod mutex;
mod reentrant;
mod rwlock;
mod semaphore;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Renew, Result, Ticket};

pub use fair::FAIR;
pub use mutex::MUTEX;
pub use reentrant::REENTRANT;
pub use rwlock::{READ, UPGRADABLE, WRITE};
pub use semaphore::SEMAPHORE;

/// A future that nothing ties to anything.
pub type Boxed<T> = BoxFuture<'static, T>;

/// A guard or permit of some primitive.
pub type Guard = Box<dyn Held>;

/// The body of a `run`.
pub type Body = Box<dyn FnOnce(&dyn Held) -> Boxed<()> + Send>;

/// Every primitive that has holders and waiters.
pub fn all() -> Vec<&'static dyn Subject> {
    vec![MUTEX, FAIR, REENTRANT, READ, UPGRADABLE, WRITE, SEMAPHORE]
}

/// The one of this name.
///
/// # Panics
/// If there is none.
pub fn by_name(name: &str) -> &'static dyn Subject {
    let found = all().into_iter().find(|subject| subject.name() == name);
    found.unwrap_or_else(|| panic!("no subject is called {name}"))
}

/// A primitive, in one of its forms: an `RwLock` is three of them.
pub trait Subject: Debug + Send + Sync {
    /// What its tests are called.
    fn name(&self) -> &'static str;

    /// The kind in its keys.
    fn kind(&self) -> &'static str;

    /// How many may hold at once; `None`: as many as like.
    fn most(&self) -> Option<usize>;

    /// What is in its record besides attempts, for as long as there is one.
    fn marks(&self) -> &'static [&'static str] {
        &["t1"]
    }

    /// A handle. Local, as with the primitive itself.
    ///
    /// # Errors
    /// Those of the primitive.
    fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>>;

    /// Waits until nobody holds it in any form, and takes all there is: whoever comes after has to wait for it.
    ///
    /// # Panics
    /// If there can be no such handle.
    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>>;
}

/// Options that all of them have.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "tests make them")]
pub struct Options {
    /// Length of the lease; the client's if `None`.
    pub lease: Option<Duration>,
    /// Whether the keeper renews.
    pub renew: Renew,
    /// The longest that a hold is renewed for.
    pub max_hold: Option<Duration>,
    /// The shortest that a hold is in use.
    pub at_least: Option<Duration>,
}

impl Options {
    /// None.
    pub const NONE: Self = Self {
        lease: None,
        renew: Renew::Watchdog,
        max_hold: None,
        at_least: None,
    };

    /// Nobody renews.
    pub const MANUAL: Self = Self {
        renew: Renew::Manual,
        ..Self::NONE
    };
}

/// What every handle can do. The futures do nothing until they are polled.
pub trait Handle: Debug + Send + Sync {
    /// `lock`, `read`, `acquire`.
    fn acquire(&self) -> Boxed<Result<Guard>>;
    /// `try_lock`.
    fn try_acquire(&self) -> Boxed<Result<Option<Guard>>>;
    /// `try_lock_for`.
    fn try_acquire_for(&self, wait: Duration) -> Boxed<Result<Option<Guard>>>;
    /// `try_lock_until`.
    fn try_acquire_until(&self, deadline: Instant) -> Boxed<Result<Option<Guard>>>;
    /// `run`.
    fn run(&self, body: Body) -> Boxed<Result<()>>;
    /// `try_run`: whether the body ran.
    fn try_run(&self, body: Body) -> Boxed<Result<bool>>;
    /// `inspect`.
    fn inspect(&self) -> Boxed<Result<LockInfo>>;
    /// `force_unlock`, `force_release`.
    fn force(&self) -> Boxed<Result<bool>>;
    /// The async calls that only this primitive has, for the cancellation sweeps.
    fn extras(&self) -> Vec<Extra> {
        Vec::new()
    }
    /// The handle itself, for the extras.
    fn as_any(&self) -> &dyn Any;
}

/// What every guard and permit can do.
pub trait Held: Debug + Send + Sync {
    /// Whether it was lost.
    fn is_lost(&self) -> bool;
    /// How long it can be relied on.
    fn valid_for(&self) -> Duration;
    /// Resolves when it is lost.
    fn lost(&self) -> Boxed<Loss>;
    /// A view of it.
    fn hold(&self) -> Hold;
    /// Its token, if the primitive is exclusive.
    fn token(&self) -> Option<FencingToken>;
    /// Lasts so long from now.
    fn extend(&self, lease: Duration) -> BoxFuture<'_, Result<()>>;
    /// `unlock`, `release`.
    fn release(self: Box<Self>) -> Boxed<Result<()>>;
    /// `unlock_after`, `release_after`.
    fn release_after(self: Box<Self>, after: Duration) -> Boxed<Result<()>>;
    /// Lets the lease run out.
    fn forget(self: Box<Self>);
    /// The guard itself, for the extras.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// An async call that only one primitive has.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "subjects make them")]
pub struct Extra {
    /// What it is called.
    pub name: &'static str,
    /// What it is called with.
    pub needs: Needs,
    /// It waits if somebody has all there is.
    pub queues: bool,
    /// A hold that it leaves, or does not get to take over, ends with its lease only.
    pub leaves_lease: bool,
    /// The future of the call. What it yields is dropped with it.
    pub begin: fn(Given) -> Boxed<Result<()>>,
}

/// What an [`Extra`] is called with, besides the handle.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_enums, reason = "the sweeps know them all")]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A guard of its own.
    Guard,
    /// The ticket of somebody else's guard.
    Ticket(fn(Guard) -> Boxed<Result<Ticket>>),
}

/// The arguments of an [`Extra`].
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "the sweeps make them")]
pub struct Given {
    /// The handle.
    pub handle: Arc<dyn Handle>,
    /// If it needs one.
    pub guard: Option<Guard>,
    /// If it needs one.
    pub ticket: Option<Ticket>,
}

impl Given {
    /// The handle, as what it is.
    fn handle<H: Clone + 'static>(&self) -> H {
        let handle = self.handle.as_any().downcast_ref::<H>();
        handle.expect("the call's own kind of handle").clone()
    }

    /// The guard, as what it is.
    fn guard<G: 'static>(&mut self) -> G {
        own(self.guard.take().expect("it asked for a guard"))
    }
}

/// A guard as what it is.
fn own<G: 'static>(guard: Guard) -> G {
    let guard = guard.into_any().downcast::<G>();
    *guard.expect("the primitive's own kind of guard")
}

fn boxed<T: Held + 'static>(
    acquired: impl Future<Output = Result<T>> + Send + 'static,
) -> Boxed<Result<Guard>> {
    let erase = |guard: T| -> Guard { Box::new(guard) };
    acquired.map(move |guard| guard.map(erase)).boxed()
}

fn boxed_try<T: Held + 'static>(
    acquired: impl Future<Output = Result<Option<T>>> + Send + 'static,
) -> Boxed<Result<Option<Guard>>> {
    let erase = |guard: T| -> Guard { Box::new(guard) };
    acquired.map(move |guard| Ok(guard?.map(erase))).boxed()
}

/// `impl Held for $guard`.
macro_rules! impl_held {
    ($guard:ty, release: $release:ident, $release_after:ident, token: $token:expr) => {
        impl Held for $guard {
            fn is_lost(&self) -> bool {
                Hold::is_lost(self)
            }
            fn valid_for(&self) -> Duration {
                Hold::valid_for(self)
            }
            fn lost(&self) -> Boxed<Loss> {
                Hold::lost(self).boxed()
            }
            fn hold(&self) -> Hold {
                <$guard>::hold(self)
            }
            fn token(&self) -> Option<FencingToken> {
                let token: fn(&$guard) -> Option<FencingToken> = $token;
                token(self)
            }
            fn extend(&self, lease: Duration) -> BoxFuture<'_, Result<()>> {
                <$guard>::extend(self, lease).boxed()
            }
            fn release(self: Box<Self>) -> Boxed<Result<()>> {
                <$guard>::$release(*self).boxed()
            }
            fn release_after(self: Box<Self>, after: Duration) -> Boxed<Result<()>> {
                <$guard>::$release_after(*self, after).boxed()
            }
            fn forget(self: Box<Self>) {
                <$guard>::forget(*self);
            }
            fn into_any(self: Box<Self>) -> Box<dyn Any> {
                self
            }
        }
    };
}
use impl_held;

/// `impl Handle for $handle`, by the methods of the primitive in it; `$body` is what a `run` gets.
macro_rules! impl_handle {
    (
        $handle:ty, $guard:ty, |$this:ident| $primitive:expr,
        acquire: $acquire:ident, $try_acquire:ident, $for:ident, $until:ident,
        run: $run:ident, $try_run:ident, force: $force:ident, extras: $extras:expr
    ) => {
        impl Handle for $handle {
            fn acquire(&self) -> Boxed<Result<Guard>> {
                let $this = self;
                boxed($primitive.$acquire())
            }

            fn try_acquire(&self) -> Boxed<Result<Option<Guard>>> {
                let $this = self;
                boxed_try($primitive.$try_acquire())
            }

            fn try_acquire_for(&self, wait: Duration) -> Boxed<Result<Option<Guard>>> {
                let $this = self;
                boxed_try($primitive.$for(wait))
            }

            fn try_acquire_until(&self, deadline: Instant) -> Boxed<Result<Option<Guard>>> {
                let $this = self;
                boxed_try($primitive.$until(deadline))
            }

            fn run(&self, body: Body) -> Boxed<Result<()>> {
                let $this = self.clone();
                Box::pin(async move {
                    $primitive
                        .$run(async |guard: &$guard| body(guard).await)
                        .await
                })
            }

            fn try_run(&self, body: Body) -> Boxed<Result<bool>> {
                let $this = self.clone();
                Box::pin(async move {
                    let ran = $primitive
                        .$try_run(async |guard: &$guard| body(guard).await)
                        .await;
                    Ok(ran?.is_some())
                })
            }

            fn inspect(&self) -> Boxed<Result<LockInfo>> {
                let $this = self.clone();
                Box::pin(async move { $primitive.inspect().await })
            }

            fn force(&self) -> Boxed<Result<bool>> {
                let $this = self.clone();
                Box::pin(async move { $primitive.$force().await })
            }

            fn extras(&self) -> Vec<Extra> {
                $extras
            }

            fn as_any(&self) -> &dyn Any {
                self
            }
        }
    };
}
use impl_handle;

/// Applies the options that all builders have.
macro_rules! with_options {
    ($builder:expr, $options:expr) => {{
        let mut builder = $builder.renew($options.renew);
        if let Some(lease) = $options.lease {
            builder = builder.lease(lease);
        }
        if let Some(most) = $options.max_hold {
            builder = builder.max_hold(most);
        }
        if let Some(least) = $options.at_least {
            builder = builder.hold_at_least(least);
        }
        builder.build()?
    }};
}
use with_options;
