//! What a client found out about its server.

use std::fmt;

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// `redis` or `valkey`.
    pub flavour: String,
    /// Its own version, as in `7.0.15`.
    pub version: String,
    /// Host and port, or path of the socket.
    pub address: String,
}

/// Something about the server that can cost locks or speed, found at connect or later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The eviction policy may evict locks when memory is full (H39). Use `noeviction`.
    Eviction {
        /// The policy, as in `volatile-lru`.
        policy: String,
    },
    /// Neither AOF nor snapshots: a restart forgets every lock (H52). Use `appendonly yes`.
    NoPersistence,
    /// The server is a replica: writes will be refused (H42).
    Replica,
    /// The primary that the sentinels name takes writes even without a replica. After a failover the
    /// old primary would go on granting locks until a sentinel makes it a replica. Set
    /// `min-replicas-to-write` to 1, and `min-replicas-max-lag` to 2.
    NoMinReplicas,
    /// Subscribing to the client's channel is refused: waiting falls back to polling.
    SubscribeDenied {
        /// What the server said.
        message: String,
    },
    /// Publishing is refused: waiters of other clients fall back to polling.
    PublishDenied,
    /// `INFO` is refused, so that version and settings could not be checked.
    NotInspected {
        /// What the server said.
        message: String,
    },
    /// `SCRIPT` or `EVALSHA` is refused: scripts are sent as text, once or always, which takes longer.
    ScriptsAsText {
        /// What the server said.
        message: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eviction { policy } => write!(
                f,
                "maxmemory-policy is {policy}: locks can be evicted when memory is full; set it to noeviction"
            ),
            Self::NoPersistence => f.write_str(
                "the server has no persistence: a restart forgets all locks; set appendonly to yes",
            ),
            Self::Replica => f.write_str(
                "the server is a replica and refuses writes; connect to the primary",
            ),
            Self::NoMinReplicas => f.write_str(
                "min-replicas-to-write is not set: after a failover the old primary goes on granting locks until it hears \
                 of it, which takes 10 s or more; set min-replicas-to-write to 1 and min-replicas-max-lag to 2",
            ),
            Self::SubscribeDenied { message } => write!(
                f,
                "subscribing is refused, waiting falls back to polling; allow SUBSCRIBE and the prefix's channels: {message}"
            ),
            Self::PublishDenied => f.write_str(
                "publishing is refused, waiters fall back to polling; allow PUBLISH and the prefix's channels",
            ),
            Self::NotInspected { message } => write!(
                f,
                "INFO is refused, version and settings were not checked: {message}"
            ),
            Self::ScriptsAsText { message } => write!(
                f,
                "scripts are sent as text, which takes longer; allow SCRIPT and EVALSHA: {message}"
            ),
        }
    }
}
