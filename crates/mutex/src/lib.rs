//! A distributed mutex over Redis for async Rust.
//!
//! A waiter never tries twice: the release hands the lock to the next one in the queue and tells it by a message.
//! Every grant has a [`FencingToken`], holds are leased and renewed, losing one is reported, and dropping a future or
//! a guard at any moment leaves nothing behind.
//!
//! ```no_run
//! use latchwork_mutex::{Client, Mutex};
//!
//! # async fn example() -> Result<(), latchwork_mutex::Error> {
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let mutex = Mutex::new(&client, "orders")?;
//!
//! let guard = mutex.lock().await?;
//! // One process at a time, in all the world that shares this server.
//! guard.unlock().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate `latchwork` re-exports this one together with the other primitives.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod fair;
pub mod futures;
mod guard;
mod mutex;
mod reentrant;

pub use fair::{FairMutex, FairMutexBuilder};
pub use guard::MutexGuard;
pub use latchwork_core::{
    Client, ClientBuilder, Closed, Error, ErrorKind, FENCE_MEMORY, Fence, FenceReply, FencingToken, Hold,
    HolderInfo, LockInfo, Loss, MAX_LEASE, MAX_NAME, MIN_LEASE, Name, Owner, Renew, Result, ServerInfo,
    Ticket, WaiterInfo, Warning, dynamic, redis,
};
pub use mutex::{Mutex, MutexBuilder};
pub use reentrant::{OwnedHandle, ReentrantMutex, ReentrantMutexBuilder, ReentrantMutexGuard};
