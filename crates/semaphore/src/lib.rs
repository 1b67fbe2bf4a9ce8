//! A distributed semaphore over Redis for async Rust: at most so many at once, in all processes together.
//!
//! A waiter never tries twice: the release hands the permits to the next one in the queue and tells it by a message.
//! Permits are leased and renewed, one by one: those of a process that dies go back. Losing one is reported, and dropping
//! a future or a permit at any moment leaves nothing behind.
//!
//! ```no_run
//! use latchwork_semaphore::{Client, Semaphore};
//!
//! # async fn example() -> Result<(), latchwork_semaphore::Error> {
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let calls = Semaphore::new(&client, "calls-to-the-bank", 5)?;
//!
//! let permit = calls.acquire().await?;
//! // Five at a time, in all the world that shares this server.
//! permit.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate `latchwork` re-exports this one together with the other primitives.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod futures;
mod permit;
mod semaphore;

#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use latchwork_core::Tls;
pub use latchwork_core::{
    Client, ClientBuilder, Closed, Credentials, Drained, Durability, Error, ErrorKind, Hold, HolderInfo,
    Inbox, Listed, Listing, LockInfo, Loss, MAX_LEASE, MAX_NAME, MIN_LEASE, Name, OnMismatch, Rate, Reached,
    Renew, Result, Sentinel, ServerInfo, Ticket, WaiterInfo, Warning, redis,
};
pub use permit::SemaphorePermit;
pub use semaphore::{Semaphore, SemaphoreBuilder};
