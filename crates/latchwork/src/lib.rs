//! Distributed synchronization primitives over Redis and Valkey for async Rust.
//!
//! ```no_run
//! use latchwork::{Client, Mutex};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), latchwork::Error> {
//!     let client = Client::connect("redis://127.0.0.1").await?;
//!     let mutex = Mutex::new(&client, "orders")?;
//!
//!     let guard = mutex.lock().await?;
//!     println!("mine, with fencing token {}", guard.fencing_token());
//!     guard.unlock().await
//! }
//! ```
//!
//! A waiter never tries twice: the release hands the lock to the next one in the queue and tells it by a message. Every
//! exclusive grant has a [`FencingToken`]. Holds are leased and renewed; losing one is reported. Dropping a future or a guard at
//! any moment leaves nothing behind.
//!
//! # When not to use it
//!
//! - Inside one process: `tokio::sync::Mutex` is what you want.
//! - To guard rows of one SQL database: its own locks end with the transaction that they protect.
//! - Where two holders at once would be a disaster *and* the resource cannot check a fencing token: a Redis that
//!   fails over, is flushed or evicts keys can forget a lock, and no client can change that.
//!
//! # Words
//!
//! - A [`Client`] is one process's connection to a server, with the tasks that look after its locks. Make one and clone it.
//! - A [`Mutex`] is a handle: a client, a name, options. Handles of one name are one lock, in one process as in many, as
//!   long as server and [key prefix](ClientBuilder::prefix) are the same.
//! - A [`FairMutex`] also promises the order of arrival; a [`ReentrantMutex`] is locked again by whoever has its [`Owner`]. The
//!   three are one lock, if they have one name.
//! - An [`RwLock`] lets in any number of readers, or one writer.
//! - A [`Semaphore`] lets so many in at once. A [`SemaphorePermit`] is to it what a guard is to a mutex, except that it has no
//!   fencing token.
//! - A [`RateLimiter`] lets so many in per time. Its permits come back by themselves, so it has nothing to release.
//! - A [`CountdownLatch`] lets nobody pass until it was counted down to zero, and then everybody. Nothing is held: there is no
//!   guard, and nothing to lose.
//! - A *lease* is how long the server keeps a hold without hearing of it: 10 s unless you say otherwise. The *keeper*, a
//!   task of the client, renews it at a third of that for as long as the [`MutexGuard`] lives.
//! - A hold is *lost* when it ends under its guard: the server says so, or the lease ran out by the guard's own clock
//!   because no renewal came through. Lost never turns back.
//!
//! # Lost holds
//!
//! A guard is a promise with a date. [`is_lost`](Hold::is_lost) and [`valid_for`](Hold::valid_for) look at a clock and need no
//! network; [`lost`](Hold::lost) is a future that resolves when the hold is lost. [`Mutex::run`] uses it: it drops the
//! body at an await when the hold is lost.
//!
//! ```no_run
//! # use latchwork::{Error, Mutex};
//! # async fn rebuild() {}
//! # async fn example(mutex: Mutex) -> Result<(), Error> {
//! match mutex.run(async |_guard| rebuild().await).await {
//!     Ok(()) => println!("done, under the lock from the first to the last moment"),
//!     Err(error) if error.is_lost() => println!("stopped in the middle: {error}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Synchronous code cannot be dropped: let it look at [`Hold::is_valid`] now and then. Between the last look and the write
//! there is always room for a pause, and against that only the resource can help:
//!
//! # Fencing
//!
//! Every exclusive grant has a token that is higher than that of every earlier one. Send it along with each write, and let
//! the resource refuse a token that is lower than the highest it has seen: then a holder that was paused past its
//! lease cannot overwrite the work of the next one, whatever happened to the lock.
//!
//! If the resource is a Redis key, [`Fence`] does it, in one step with the write:
//!
//! ```no_run
//! # use latchwork::{Client, Error, Fence, Mutex};
//! # async fn example(client: Client, mutex: Mutex) -> Result<(), Error> {
//! let stock = Fence::new(&client, "stock:42")?;
//! let guard = mutex.lock().await?;
//! if !stock.set(guard.fencing_token(), "41").await? {
//!     println!("somebody newer has written; nothing was overwritten");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! In an SQL database it is one more column and one more condition:
//!
//! ```sql
//! UPDATE stock SET left = $2, token = $1 WHERE id = $3 AND token <= $1
//! ```
//!
//! If no row was changed, a newer holder has written. It is `<=`, so that one holder may write more than once. Bind the token as a
//! 64-bit integer: [`FencingToken::get`] fits an `i64` until the year 2255. The repository has this as an
//! example that runs, `fenced_sql`.
//!
//! If the token that the resource has seen is worth more than the server's memory, give it to
//! [`MutexBuilder::token_floor`]: tokens are then above it even if the server has lost everything and its clock was set
//! back.
//!
//! # Errors
//!
//! Busy is no error: [`Mutex::try_lock`] and its kin answer `Ok(None)`; a [`RateLimiter`] answers with a
//! [`Decision`], or with [`ErrorKind::TooLate`] if it was to wait and the slot is too far ahead. An [`Error`] has a
//! [`kind`](Error::kind), and a text that names the lock and says what to do.
//!
//! ```no_run
//! # use latchwork::{Error, ErrorKind, Mutex};
//! # async fn example(mutex: Mutex) -> Result<(), Error> {
//! match mutex.lock().await {
//!     Ok(guard) => guard.unlock().await,
//!     Err(error) if error.is_transient() => {
//!         println!("the server cannot serve it now; later perhaps: {error}");
//!         Ok(())
//!     }
//!     // As when a right is missing: the text has the rule to add.
//!     Err(error) => Err(error),
//! }
//! # }
//! ```
//!
//! [`ErrorKind::Unavailable`] means that no usable answer came in time. Whether the server granted the lock is not known
//! then, so the attempt is undone: a grant is given up, and a copy of the request that arrives late grants nothing.
//!
//! What could lose locks on the server at hand, such as an eviction policy or a lack of persistence, is in
//! [`Client::warnings`].
//!
//! # Cancellation
//!
//! Any future of this crate may be dropped at any moment, in a `select!`, by a timeout, by a task that is aborted. A
//! dropped [`lock`](Mutex::lock) leaves, within a round trip, no hold and no place in the queue, and a grant that was on its
//! way goes to the next waiter. Each method says under *Cancel safety* what dropping it means.
//!
//! A dropped guard releases in the background; that neither blocks nor fails, and works outside a runtime, too.
//! [`MutexGuard::unlock`] waits for the answer. When the process ends before the release was sent, the lease does it:
//! call [`Client::close`] before you exit.
//!
//! # Runtimes
//!
//! A client runs on the tokio runtime that connected it, which needs its timer and I/O (`enable_all`). Handles, guards and futures
//! work in any other runtime. When the client's runtime ends, everything answers [`ErrorKind::Closed`].
//!
//! Code that blocks delays the keeper, and with it the renewals, most of all on a runtime with one thread;
//! [`Client::keeper_lateness`] shows it. [`ClientBuilder::keeper_thread`] gives the client a thread of its own. Use it also for
//! a client in a `static`, which several runtimes share, as several `#[tokio::test]`s do.
//!
//! Connect after `fork`, not before.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `limiter` | yes | [`RateLimiter`] |
//! | `mutex` | yes | [`Mutex`], [`FairMutex`], [`ReentrantMutex`] |
//! | `rwlock` | yes | [`RwLock`] |
//! | `semaphore` | yes | [`Semaphore`] |
//! | `latch` | yes | [`CountdownLatch`] |
//! | `tracing` | yes | logs reconnects, losses, late renewals and degraded waiting through `tracing` |
//! | `serde` | | `Serialize` and `Deserialize` for `Owner`, [`Ticket`] and [`FencingToken`] |
//! | `cancellation-token` | | `cancellation_token` of guards and permits, and `Hold::cancellation_token` |
//! | `tls-rustls` | | `rediss://` URLs, with rustls; its provider is `ring` unless the program has installed one |
//! | `tls-native-tls` | | `rediss://` URLs, with the platform's TLS |
//!
//! Redis 6.2 or later, or Valkey; one server, not a cluster. Rust 1.88.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use latchwork_core::dynamic::{self, Guard, Lock};
pub use latchwork_core::{
    Client, ClientBuilder, Closed, Error, ErrorKind, FENCE_MEMORY, Fence, FenceReply, FencingToken, Hold,
    HolderInfo, LockInfo, Loss, MAX_LEASE, MAX_NAME, MIN_LEASE, Name, Renew, Result, ServerInfo, Ticket,
    WaiterInfo, Warning, redis,
};

#[cfg(any(feature = "limiter", feature = "semaphore"))]
pub use latchwork_core::Rate;

#[cfg(feature = "limiter")]
pub use latchwork_limiter::{Algorithm, Decision, MAX_PERIOD, MIN_PERIOD, RateLimiter, RateLimiterBuilder};

#[cfg(feature = "mutex")]
pub use latchwork_mutex::{
    FairMutex, FairMutexBuilder, Mutex, MutexBuilder, MutexGuard, OwnedHandle, Owner, ReentrantMutex,
    ReentrantMutexBuilder, ReentrantMutexGuard,
};

#[cfg(feature = "rwlock")]
pub use latchwork_rwlock::{
    ReadLock, RwLock, RwLockBuilder, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard, RwPolicy,
    UpgradeError, WriteLock,
};

#[cfg(feature = "semaphore")]
pub use latchwork_semaphore::{Semaphore, SemaphoreBuilder, SemaphorePermit};

#[cfg(feature = "latch")]
pub use latchwork_latch::{CountdownLatch, CountdownLatchBuilder, LatchInfo};

/// The named futures of all primitives.
pub mod futures {
    pub use latchwork_core::{Lost, Unlock};
    #[cfg(feature = "latch")]
    pub use latchwork_latch::futures::{LatchWait, TryLatchWait};
    #[cfg(feature = "limiter")]
    pub use latchwork_limiter::futures::RateAcquire;
    #[cfg(feature = "mutex")]
    pub use latchwork_mutex::futures::{
        FairLock, MutexLock, Positions, ReentrantLock, TryFairLock, TryMutexLock, TryReentrantLock,
    };
    #[cfg(feature = "rwlock")]
    pub use latchwork_rwlock::futures::{
        RwLockRead, RwLockUpgradableRead, RwLockWrite, TryRwLockRead, TryRwLockUpgradableRead, TryRwLockWrite,
    };
    #[cfg(feature = "semaphore")]
    pub use latchwork_semaphore::futures::{SemaphoreAcquire, TrySemaphoreAcquire};
}

/// The code of the README is compiled with the doctests. Only there: the README is not in the package.
#[cfg(all(doctest, feature = "mutex"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
