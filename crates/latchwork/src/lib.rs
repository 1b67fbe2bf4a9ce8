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
//! Waiters do not poll: a release makes the next waiter the owner and sends it a message. Every
//! exclusive grant has a [`FencingToken`]. Leases are renewed in the background, and a lost lock is
//! reported to its holder. Dropping a future or a guard at any moment leaves nothing behind.
//!
//! # When not to use it
//!
//! - Inside one process: use `tokio::sync::Mutex`.
//! - To guard rows of one SQL database: its own locks end with the transaction that they protect.
//! - If two holders at once would be a disaster *and* the resource cannot check a fencing token: a
//!   Redis that fails over, is flushed or evicts keys can forget a lock, and no client can change
//!   that.
//!
//! # Terms
//!
//! - A [`Client`] is one process's connection to a server, with the tasks that renew its locks.
//!   Make one and clone it.
//! - A [`Mutex`] is a handle: a client, a name and options. Handles with the same name are the same
//!   lock, in one process or in many, if server and [key prefix](ClientBuilder::prefix) are the
//!   same.
//! - A [`FairMutex`] also guarantees the order of arrival. A [`ReentrantMutex`] may be locked again
//!   by its [`Owner`]. A `Mutex`, `FairMutex` and `ReentrantMutex` with the same name are the same
//!   lock.
//! - An [`RwLock`] allows any number of readers, or one writer.
//! - A [`Semaphore`] limits how many holders there are at a time. Its guard is a
//!   [`SemaphorePermit`], which has no fencing token.
//! - A [`RateLimiter`] limits how many calls start per period. Its permits are refilled over time,
//!   so there is nothing to release.
//! - A [`CountdownLatch`] blocks its waiters until it was counted down to zero, and then lets all
//!   of them pass. Nothing is held, so there is no guard and nothing to lose.
//! - A *lease* is how long the server keeps a hold that is not renewed: 10 s by default. The
//!   *keeper*, a task of the client, renews it after a third of that time, for as long as the
//!   [`MutexGuard`] lives. So a holder that hangs keeps the lock. Set
//!   [`max_hold`](MutexBuilder::max_hold) to bound how long a hold is renewed; it then ends as lost
//!   ([`Loss::MaxHold`]). With the default lease, a hold survives a pause of its process, or an
//!   outage of the server, of three seconds at any moment, also right after it was handed over.
//! - [`hold_at_least`](MutexBuilder::hold_at_least) keeps the lock in use for a shortest time,
//!   whatever happens to its guard, and [`unlock_after`](MutexGuard::unlock_after) releases it after
//!   a given time.
//! - A hold is *lost* when it ends while its guard exists. Either the server reports it, or the
//!   lease ends by the guard's own clock because no renewal got through. A lost hold stays lost.
//!
//! # Lost holds
//!
//! [`is_lost`](Hold::is_lost) and [`valid_for`](Hold::valid_for) compare the lease with a clock,
//! and need no network. [`lost`](Hold::lost) is a future that resolves when the hold is lost.
//! [`Mutex::run`] uses it: if the hold is lost, it drops the body at an await.
//!
//! ```no_run
//! # use latchwork::{Error, Mutex};
//! # async fn rebuild() {}
//! # async fn example(mutex: Mutex) -> Result<(), Error> {
//! match mutex.run(async |_guard| rebuild().await).await {
//!     Ok(()) => println!("done, under the lock from start to end"),
//!     Err(error) if error.is_lost() => println!("stopped in the middle: {error}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Synchronous code cannot be dropped. Let it check [`Hold::is_valid`] from time to time. There is
//! always room for a pause between the last check and the write. Only the resource can protect
//! itself from that, with fencing tokens.
//!
//! # Fencing
//!
//! Every exclusive grant has a token that is higher than all earlier ones. Send it along with each
//! write, and let the resource refuse tokens lower than the highest it has seen. Then a holder that
//! was paused past its lease cannot overwrite the work of the next one, whatever happened to the
//! lock.
//!
//! If the resource is a Redis key, [`Fence`] does this in one step with the write:
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
//! In an SQL database, add a column and a condition:
//!
//! ```sql
//! UPDATE stock SET left = $2, token = $1 WHERE id = $3 AND token <= $1
//! ```
//!
//! If no row was changed, a newer holder has written. The operator is `<=`, so that one holder may
//! write more than once. Bind the token as a 64-bit integer: [`FencingToken::get`] always
//! fits an `i64`. The example `fenced_sql` in the repository does this.
//!
//! If the resource may outlive the server's memory, pass the highest token that it has seen to
//! [`MutexBuilder::token_floor`]. Tokens are then higher even if the server has lost everything and
//! its clock was set back. (By more than a day, the lock cannot be acquired with that floor.)
//!
//! # Errors
//!
//! A busy lock is not an error: [`Mutex::try_lock`] and similar methods return `Ok(None)`. A
//! [`RateLimiter`] returns a [`Decision`], or [`ErrorKind::TooLate`] if it would have to wait for
//! too long. An [`Error`] has a [`kind`](Error::kind) and a message that names the lock and says
//! what to do.
//!
//! ```no_run
//! # use latchwork::{Error, ErrorKind, Mutex};
//! # async fn example(mutex: Mutex) -> Result<(), Error> {
//! match mutex.lock().await {
//!     Ok(guard) => guard.unlock().await,
//!     Err(error) if error.is_transient() => {
//!         println!("the server is unavailable, try again later: {error}");
//!         Ok(())
//!     }
//!     // For example, a right is missing: the message has the rule to add.
//!     Err(error) => Err(error),
//! }
//! # }
//! ```
//!
//! [`ErrorKind::Unavailable`] means that the server gave no usable answer in time. It is then
//! unknown whether the server granted the lock, so the attempt is undone: a grant is released, and
//! a copy of the request that arrives late grants nothing.
//!
//! [`Client::warnings`] lists settings of the server that can lose locks, such as an eviction
//! policy or a lack of persistence.
//!
//! # Cancellation
//!
//! Any future of this crate may be dropped at any moment: in a `select!`, by a timeout, or with an
//! aborted task. After a round trip, a dropped [`lock`](Mutex::lock) has no hold and no place in
//! the queue, and a grant that was on its way goes to the next waiter. The section *Cancel safety*
//! of each method says what dropping its future means.
//!
//! A dropped guard releases the lock in the background. The drop never blocks or fails, and works
//! outside a runtime as well. [`MutexGuard::unlock`] waits for the answer. Call [`Client::close`]
//! before the process exits: a release that was not sent takes effect only when the lease ends.
//! [`Client::drain`] lets guards and bodies of `run` finish first, and begins nothing new.
//!
//! # Runtimes
//!
//! A client runs on the tokio runtime that connected it, which needs its timer and I/O
//! (`enable_all`). Handles, guards and futures work in any other runtime. When the client's runtime
//! ends, every call returns [`ErrorKind::Closed`].
//!
//! Blocking code delays the keeper and its renewals, especially on a runtime with one thread;
//! [`Client::keeper_lateness`] shows by how much. [`ClientBuilder::keeper_thread`] gives the client
//! a thread of its own. Use it also for a client in a `static` that several runtimes share, such as
//! those of several `#[tokio::test]`s.
//!
//! Connect after `fork`, not before.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `limiter` | yes | [`RateLimiter`] |
//! | `mutex` | yes | [`Mutex`], [`FairMutex`], [`ReentrantMutex`] |
//! | `rwlock` | yes | [`RwLock`] |
//! | `semaphore` | yes | [`Semaphore`] |
//! | `latch` | yes | [`CountdownLatch`] |
//! | `tracing` | yes | events for reconnects, losses, late renewals and degraded waiting |
//! | `serde` | | `Serialize` and `Deserialize` for `Owner`, [`Ticket`] and [`FencingToken`] |
//! | `cancellation-token` | | `cancellation_token` of guards and permits, and `Hold::cancellation_token` |
//! | `tls-rustls` | | `rediss://` URLs and `Tls`, with rustls; its provider is `ring` unless the program has installed one |
//! | `tls-native-tls` | | `rediss://` URLs and `Tls`, with the platform's TLS |
//!
//! Latchwork needs Redis 6.2 or later, or Valkey, as one server, behind sentinels ([`Sentinel`]) or as
//! a cluster ([`ClientBuilder::cluster`]), and Rust 1.88.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use latchwork_core::Tls;
pub use latchwork_core::dynamic::{self, Guard, Lock};
pub use latchwork_core::{
    Client, ClientBuilder, Closed, Credentials, Drained, Durability, Error, ErrorKind, FENCE_MEMORY, Fence,
    FenceReply, FencingToken, Hold, HolderInfo, Inbox, Listed, Listing, LockInfo, Loss, MAX_LEASE, MAX_NAME,
    MIN_LEASE, Name, Reached, Renew, Result, Sentinel, ServerInfo, Ticket, WaiterInfo, Warning, redis,
};

#[cfg(any(feature = "limiter", feature = "semaphore", feature = "latch"))]
pub use latchwork_core::OnMismatch;
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
pub use latchwork_latch::{ClientLabel, CountdownLatch, CountdownLatchBuilder, LatchInfo};

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
