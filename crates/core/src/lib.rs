//! The engine of [Latchwork](https://docs.rs/latchwork): one sorted set per primitive, a few Lua scripts, a queue with
//! direct hand-off, leases, fencing tokens, cancellation.
//!
//! Use the crate `latchwork`, or one primitive's crate: this one is public so that they can be apart, and exempt from
//! semantic versioning. `docs/design.md` in the repository explains how it works and why.
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

pub use kit::shell::{Acquiring, Shell, TryAcquiring, run};
pub use ops::acquire::Acquire;
pub use ops::convert::NotUpgraded;
pub use ops::counted::Count;
pub use ops::dynamic;
pub use ops::fence::{FENCE_MEMORY, Fence};
pub use ops::guard::Guard;
pub use ops::hold::{Hold, Lost};
pub use ops::inspect::{HolderInfo, LockInfo, WaiterInfo};
pub use ops::latch::{Latch, LatchCall, LatchInfo};
pub use ops::place::{Place, Positions};
pub use ops::primitive::{MAX_HEAD_START, Primitive, PrimitiveOptions};
pub use ops::release::Unlock;
pub use ops::request::{AcquireRequest, Wait};
pub use rate::acquire::RateAcquire;
pub use rate::limiter::Limiter;
pub use tasks::builder::ClientBuilder;
pub use tasks::client::{Client, Closed};
pub use types::error::{Error, ErrorKind, Result};
pub use types::fence::FenceReply;
pub use types::latch::{LatchOptions, OnMissing};
pub use types::loss::Loss;
pub use types::name::{MAX_NAME, Name};
pub use types::options::{MAX_LEASE, MIN_LEASE, Renew};
pub use types::owner::Owner;
pub use types::rate::{Algorithm, Decision, MAX_PERIOD, MIN_PERIOD, Rate};
pub use types::server::{ServerInfo, Warning};
pub use types::ticket::Ticket;
pub use types::token::FencingToken;

/// redis-rs, as this version of Latchwork uses it: for [`ClientBuilder::redis`] and [`ClientBuilder::connection_info`].
pub use redis;
