//! A distributed countdown latch over Redis for async Rust: many wait, in all processes together, until a count has come
//! to zero.
//!
//! A waiter does not poll: the last count-down sends one message to each client that waits, however many of its tasks
//! do. A count-down counts once, however often its request is sent; [`count_down_once`](CountdownLatch::count_down_once)
//! counts once even if the process that counts is started again. A finished latch is remembered, so that late comers pass.
//!
//! ```no_run
//! use latchwork_latch::{Client, CountdownLatch};
//!
//! # async fn example() -> Result<(), latchwork_latch::Error> {
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let loaded = CountdownLatch::new(&client, "shards-loaded", 3)?;
//!
//! // In each of three processes:
//! loaded.count_down_once("shard-1").await?;
//!
//! // Wherever all three are needed:
//! loaded.wait().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate `latchwork` re-exports this one together with the other primitives.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod futures;
mod latch;

pub use latch::{CountdownLatch, CountdownLatchBuilder};
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use latchwork_core::Tls;
pub use latchwork_core::{
    Client, ClientBuilder, ClientLabel, Closed, Credentials, Drained, Error, ErrorKind, Inbox, LatchInfo,
    MAX_NAME, Name, OnMismatch, Result, Sentinel, ServerInfo, Warning, redis,
};
