//! A distributed mutex over Redis for async Rust.
//!
//! Waiters do not poll: a release makes the next waiter the owner and sends it a message. Every
//! grant has a [`FencingToken`], leases are renewed, a lost lock is reported to its holder, and
//! dropping a future or a guard at any moment leaves nothing behind.
//!
//! ```no_run
//! use latchwork_mutex::{Client, Mutex};
//!
//! # async fn example() -> Result<(), latchwork_mutex::Error> {
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let mutex = Mutex::new(&client, "orders")?;
//!
//! let guard = mutex.lock().await?;
//! // One holder at a time, among all processes that share this server.
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
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use latchwork_core::Tls;
pub use latchwork_core::{
    Client, ClientBuilder, Closed, Credentials, Drained, Durability, Error, ErrorKind, FENCE_MEMORY, Fence,
    FenceReply, FencingToken, Hold, HolderInfo, Inbox, Listed, Listing, LockInfo, Loss, MAX_LEASE, MAX_NAME,
    MIN_LEASE, Name, Owner, Reached, Renew, Result, Sentinel, ServerInfo, Ticket, WaiterInfo, Warning,
    dynamic, redis,
};
pub use mutex::{Mutex, MutexBuilder};
pub use reentrant::{OwnedHandle, ReentrantMutex, ReentrantMutexBuilder, ReentrantMutexGuard};
