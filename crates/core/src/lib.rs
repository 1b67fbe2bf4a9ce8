//! The engine of [Latchwork](https://docs.rs/latchwork): one sorted set per primitive, a few Lua
//! scripts, a queue with direct hand-off, leases, fencing tokens, cancellation.
//!
//! Use the crate `latchwork`, or the crate of one primitive. This crate is public only because they
//! are separate crates, and is exempt from semantic versioning. `docs/design.md` in the repository
//! explains how it works and why, and follows a waiter file by file.
//!
//! # Layers
//!
//! Each folder imports only from those to its left, which a test checks. A comma separates folders
//! that do not import from each other.
//!
//! `base < types < wire < attempt, connection < runtime < tasks < ops < rate < kit`
//!
//! | folder | contents |
//! |---|---|
//! | `base` | clock, pauses, randomness, logging |
//! | `types` | the types that users name, without logic: errors, names, tokens, options |
//! | `wire` | conversion between bytes and types: keys, requests, replies, messages, scripts |
//! | `attempt` | one attempt as a value, and the one function that changes it |
//! | `connection` | one connection to one server |
//! | `runtime` | the state of a client: its attempts, its schedule, requests waiting for a batch |
//! | `tasks` | the background tasks of a client: connect, listen, renew, end |
//! | `ops` | the futures and handles |
//! | `rate` | the rate limiter |
//! | `kit` | what only the crates of the primitives use |
//! | `lua` | the scripts |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt;
mod base;
mod connection;
#[doc(hidden)]
pub mod kit;
mod ops;
mod rate;
mod runtime;
mod tasks;
mod types;
mod wire;

pub use kit::futures::{Acquiring, TryAcquiring};
pub use ops::dynamic;
pub use ops::fence::{FENCE_MEMORY, Fence};
pub use ops::held::hold::{Hold, Lost};
pub use ops::held::release::Unlock;
pub use ops::inspect::{ClientLabel, HolderInfo, LockInfo, WaiterInfo};
pub use ops::latch::LatchInfo;
pub use ops::list::{Listed, Listing};
pub use ops::place::Positions;
pub use rate::acquire::RateAcquire;
pub use tasks::builder::ClientBuilder;
pub use tasks::client::{Client, Closed};
pub use tasks::drain::Drained;
pub use types::credentials::Credentials;
pub use types::durability::{Durability, Reached};
pub use types::error::{Error, ErrorKind, Result};
pub use types::fence::FenceReply;
pub use types::inbox::Inbox;
pub use types::loss::Loss;
pub use types::name::{MAX_NAME, Name};
pub use types::options::{MAX_LEASE, MIN_LEASE, OnMismatch, Renew};
pub use types::owner::Owner;
pub use types::rate::{Algorithm, Decision, MAX_PERIOD, MIN_PERIOD, Rate};
pub use types::sentinel::Sentinel;
pub use types::server::{ServerInfo, Warning};
pub use types::ticket::Ticket;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub use types::tls::Tls;
pub use types::token::FencingToken;

/// redis-rs, as this version of Latchwork uses it: for [`ClientBuilder::redis`] and [`ClientBuilder::connection_info`].
pub use redis;
