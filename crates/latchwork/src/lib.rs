//! Distributed synchronization primitives over Redis for async Rust.
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
//! grant has a [`FencingToken`]. Holds are leased and renewed; losing one is reported. Dropping a future or a guard at
//! any moment leaves nothing behind.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use latchwork_core::{
    Client, ClientBuilder, Closed, Error, ErrorKind, FENCE_MEMORY, Fence, FenceReply, FencingToken, Hold,
    HolderInfo, LockInfo, Loss, MAX_LEASE, MAX_NAME, MIN_LEASE, Name, Renew, Result, ServerInfo, Ticket,
    WaiterInfo, Warning, redis,
};

#[cfg(feature = "mutex")]
pub use latchwork_mutex::{Mutex, MutexBuilder, MutexGuard};

/// The named futures of all primitives.
pub mod futures {
    pub use latchwork_core::{Lost, Unlock};
    #[cfg(feature = "mutex")]
    pub use latchwork_mutex::futures::{MutexLock, TryMutexLock};
}
