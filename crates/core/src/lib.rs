//! The engine of [Latchwork](https://docs.rs/latchwork): one sorted set per primitive, a few Lua scripts, a queue with
//! direct hand-off, leases, fencing tokens, cancellation.
//!
//! Use the crate `latchwork`, or one primitive's crate: this one is public so that they can be apart, and exempt from
//! semantic versioning. `docs/design.md` in the repository explains how it works and why.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquire;
mod asking;
mod attempt;
mod backoff;
mod builder;
mod client;
mod clock;
mod combine;
mod convert;
mod counted;
pub mod dynamic;
mod error;
mod fence;
mod guard;
mod hold;
mod inspect;
mod keeper;
mod latch;
mod message;
mod name;
mod options;
mod owner;
mod place;
mod primitive;
mod random;
mod rate;
mod release;
mod resume;
mod script;
#[cfg(feature = "serde")]
mod serialize;
mod shared;
mod shell;
mod table;
mod ticket;
mod token;
mod trace;
mod transport;

pub use acquire::Acquire;
pub use asking::{AcquireRequest, Wait};
pub use builder::ClientBuilder;
pub use client::{Client, Closed};
pub use convert::NotUpgraded;
pub use counted::Count;
pub use error::{Error, ErrorKind, Result};
pub use fence::{FENCE_MEMORY, Fence, FenceReply};
pub use guard::Guard;
pub use hold::{Hold, Loss, Lost};
pub use inspect::{HolderInfo, LockInfo, WaiterInfo};
pub use latch::{Latch, LatchCall, LatchInfo, LatchOptions, OnMissing};
pub use name::{MAX_NAME, Name};
pub use options::{MAX_LEASE, MIN_LEASE, Renew};
pub use owner::Owner;
pub use place::{Place, Positions};
pub use primitive::{MAX_HEAD_START, Primitive, PrimitiveOptions};
pub use rate::{Algorithm, Decision, Limiter, MAX_PERIOD, MIN_PERIOD, Rate, RateAcquire};
pub use release::Unlock;
pub use shell::{Acquiring, Shell, TryAcquiring, run};
pub use ticket::Ticket;
pub use token::FencingToken;
pub use transport::{ServerInfo, Warning};

/// redis-rs, as this version of Latchwork uses it: for [`ClientBuilder::redis`] and [`ClientBuilder::connection_info`].
pub use redis;
