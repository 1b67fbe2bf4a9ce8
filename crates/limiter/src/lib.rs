//! A distributed rate limiter over Redis for async Rust: so many per time, in all processes together.
//!
//! Permits come back by time. [`RateLimiter::acquire`] reserves its slot in the one request that it sends, sleeps once and
//! goes, in the order of arrival, or is refused at once; [`RateLimiter::try_acquire`] says whether, and if not, when. What
//! the server keeps has one size, whatever the rate: below 200 bytes for GCRA, below 1 KiB for a sliding window.
//!
//! ```no_run
//! use std::num::NonZeroU32;
//!
//! use latchwork_limiter::{Client, Rate, RateLimiter};
//!
//! # async fn example() -> Result<(), latchwork_limiter::Error> {
//! let client = Client::connect("redis://127.0.0.1").await?;
//! let ten = NonZeroU32::MIN.saturating_add(9);
//! let calls = RateLimiter::new(&client, "calls-to-the-bank", Rate::per_second(ten))?;
//!
//! calls.acquire().await?;
//! // One every 100 ms, in all the world that shares this server.
//! # Ok(())
//! # }
//! ```
//!
//! The crate `latchwork` re-exports this one together with the other primitives.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod futures;
mod limiter;

#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use latchwork_core::Tls;
pub use latchwork_core::{
    Algorithm, Client, ClientBuilder, Closed, Credentials, Decision, Drained, Error, ErrorKind, Inbox,
    MAX_NAME, MAX_PERIOD, MIN_PERIOD, Name, OnMismatch, Rate, Result, Sentinel, ServerInfo, Warning, redis,
};
pub use limiter::{RateLimiter, RateLimiterBuilder};
