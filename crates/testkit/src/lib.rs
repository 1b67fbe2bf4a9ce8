//! What Latchwork's tests need and no user ever sees: Redis servers to start, kill, freeze and
//! restart, a network to break between them and the code under test, and a way to drop a future at
//! any poll.
//!
//! Unix only. Nothing here needs an async runtime: servers and proxies are plain threads, so they
//! work the same inside any runtime, with a paused clock too. Blocking calls take milliseconds.
//!
//! - [`find_server`] finds a server binary or fetches one; [`fetch_version`] gets a particular version, [`find_tls_server`]
//!   one with TLS.
//! - [`TestServer`] runs one, [`shared_server`] one per test process.
//! - [`TestCluster`] runs a cluster, [`TestSentinel`] masters and replicas under sentinels. Each
//!   node can do what a [`TestServer`] can.
//! - [`Proxy`] sits between client and server: it loses, delays and counts.
//! - [`drop_after_polls`] and [`drop_when_woken`] cancel a future at a chosen point.
//!
//! It leaves every judgement about locks to the tests themselves.

#[cfg(not(unix))]
compile_error!("latchwork-testkit is Unix only: it needs sh, signals and file locks");

mod admin;
mod builder;
mod clock;
mod cluster;
mod error;
mod fetch;
mod find;
mod keeper;
mod places;
mod poll_n;
mod ports;
mod process;
mod proxy;
mod recipes;
mod replicas;
mod resp;
mod sentinel;
mod server;
mod tls;
mod wait;

pub use builder::Builder;
pub use cluster::{ClusterBuilder, ClusterNode, Migration, TestCluster, shared_cluster, slot_of};
pub use error::Error;
pub use fetch::{fetch_any, fetch_version};
pub use find::{ServerBinary, ServerVersion, Source, external_url, find_server};
pub use places::{forget_used_servers, servers_dir, used_servers};
pub use poll_n::{Outcome, drop_after_polls, drop_when_woken};
pub use proxy::{Action, ConnId, ConnKind, Direction, Proxy, contains};
pub use recipes::Version;
pub use resp::{Reply, RespClient};
pub use sentinel::{SentinelBuilder, TestSentinel, shared_sentinel};
pub use server::{TestServer, shared_server};
pub use tls::{TlsFiles, find_tls_server, has_tls};
