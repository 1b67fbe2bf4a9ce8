//! A distributed read-write lock over Redis for async Rust: many readers or one writer, in all processes together.
//!
//! Fair by default: readers and writers are served in the order of arrival, and readers that stand next to each other go
//! together. A waiter never tries twice: whoever makes room hands the lock on and tells those who get it by one message per
//! client. Each reader has a lease of its own, writers get a fencing token, an upgradable reader can become the writer
//! without letting anybody in between.
//!
//! ```no_run
//! use latchwork_rwlock::{Client, RwLock};
//!
//! # async fn example() -> Result<(), latchwork_rwlock::Error> {
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let config = RwLock::new(&client, "config")?;
//!
//! let reading = config.read().await?; // with all other readers
//! reading.unlock().await?;
//!
//! let writing = config.write().await?; // alone
//! writing.unlock().await
//! # }
//! ```
//!
//! The crate `latchwork` re-exports this one together with the other primitives.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod futures;
mod guard;
mod rwlock;
mod side;
mod upgrade;

pub use guard::{RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard};
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use latchwork_core::Tls;
pub use latchwork_core::{
    Client, ClientBuilder, Closed, Credentials, Drained, Durability, Error, ErrorKind, FENCE_MEMORY, Fence,
    FenceReply, FencingToken, Hold, HolderInfo, Inbox, Listed, Listing, LockInfo, Loss, MAX_LEASE, MAX_NAME,
    MIN_LEASE, Name, Reached, Renew, Result, Sentinel, ServerInfo, Ticket, WaiterInfo, Warning, dynamic,
    redis,
};
pub use rwlock::{RwLock, RwLockBuilder, RwPolicy};
pub use side::{ReadLock, WriteLock};
pub use upgrade::UpgradeError;
