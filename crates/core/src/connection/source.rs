//! Where the server of a node is: found anew for each connection.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::address::AddressMap;
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::sentinel::{Named, Sentinels};
use crate::connection::wallet::Wallet;
use crate::types::error::Error;

/// Who says where the server is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The program does.
    Program(Box<Endpoint>),
    /// Sentinels do.
    Sentinels(Arc<Sentinels>),
    /// Nodes of a cluster do; these are some of them.
    Cluster(Vec<Endpoint>),
}

/// Where a server is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) endpoint: Endpoint,
    /// What the sentinels say, if they do.
    pub(crate) named: Option<Named>,
}

impl Source {
    /// User and password come from this provider.
    pub(crate) fn with_wallet(self, wallet: Option<Wallet>) -> Self {
        match self {
            Self::Program(endpoint) => Self::Program(Box::new(endpoint.with_wallet(wallet))),
            Self::Sentinels(sentinels) => {
                let sentinels = Arc::unwrap_or_clone(sentinels);
                Self::Sentinels(Arc::new(sentinels.with_wallet(wallet)))
            }
            Self::Cluster(seeds) => {
                let seeds = seeds.into_iter();
                Self::Cluster(seeds.map(|seed| seed.with_wallet(wallet.clone())).collect())
            }
        }
    }

    /// Servers that sentinels name are where the program says.
    pub(crate) fn with_map(self, map: &AddressMap) -> Self {
        match self {
            Self::Sentinels(sentinels) => {
                let sentinels = Arc::unwrap_or_clone(sentinels);
                Self::Sentinels(Arc::new(sentinels.with_map(map.clone())))
            }
            other => other,
        }
    }

    /// Servers that belong to a cluster, if the one that answers does.
    pub(crate) fn seeds(&self) -> Vec<Endpoint> {
        match self {
            Self::Program(endpoint) => vec![(**endpoint).clone()],
            Self::Sentinels(_) => Vec::new(),
            Self::Cluster(seeds) => seeds.clone(),
        }
    }

    /// Returns where to connect now.
    pub(crate) async fn find(&mut self, prefix: &str, patience: Duration) -> Result<Place, Failure> {
        match self {
            Self::Program(endpoint) => {
                **endpoint = endpoint.renewed().await.map_err(Failure::passing)?;
                Ok(Place {
                    endpoint: (**endpoint).clone(),
                    named: None,
                })
            }
            Self::Sentinels(sentinels) => {
                let named = sentinels.find(prefix, patience).await?;
                let servers = sentinels.servers().renewed().await.map_err(Failure::passing)?;
                let at = sentinels.place(&named);
                let endpoint = servers.at(&at.host, at.port).map_err(Failure::refused)?;
                let named = Some(named);
                Ok(Place { endpoint, named })
            }
            // Each is asked by itself, once: see `connect_first`.
            Self::Cluster(_) => Err(Failure::passing(Error::invalid("a cluster has no one server"))),
        }
    }

    /// The server has to be the primary: one that is a replica by now is not used at all.
    pub(crate) const fn names_primaries(&self) -> bool {
        matches!(self, Self::Sentinels(_))
    }

    /// The number of the server's database.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Program(endpoint) => endpoint.database(),
            Self::Sentinels(sentinels) => sentinels.servers().database(),
            Self::Cluster(seeds) => seeds.first().map_or(0, Endpoint::database),
        }
    }

    /// How many round trips it takes until a connection can be used.
    pub(crate) fn round_trips(&self) -> u32 {
        match self {
            Self::Program(endpoint) => endpoint.round_trips(),
            Self::Sentinels(sentinels) => sentinels.servers().round_trips(),
            Self::Cluster(seeds) => seeds.first().map_or(0, Endpoint::round_trips),
        }
    }
}
