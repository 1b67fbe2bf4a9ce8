//! Where the server of a node is: found anew for each connection.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::sentinel::{Named, Sentinels};
use crate::connection::wallet::Wallet;

/// Who says where the server is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The program does.
    Program(Box<Endpoint>),
    /// Sentinels do.
    Sentinels(Arc<Sentinels>),
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
                let endpoint = servers.at(&named.host, named.port).map_err(Failure::refused)?;
                let named = Some(named);
                Ok(Place { endpoint, named })
            }
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
        }
    }

    /// How many round trips it takes until a connection can be used.
    pub(crate) fn round_trips(&self) -> u32 {
        match self {
            Self::Program(endpoint) => endpoint.round_trips(),
            Self::Sentinels(sentinels) => sentinels.servers().round_trips(),
        }
    }
}
