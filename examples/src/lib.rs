//! What the examples share: a server to run against, processes, and a service to call. The examples themselves are in
//! `src/bin`, one file each.

use std::env;

use latchwork::redis::aio::MultiplexedConnection;
use latchwork::redis::{self, AsyncConnectionConfig};

mod crew;
mod service;

pub use crew::{Crew, ready, report, start_signal};
pub use service::{Call, Service, get};

/// How long the server keeps an example's own data, in seconds: nothing is cleaned up by hand.
pub const KEEP: u64 = 300;

/// What an example's `main` returns.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The server of an example: the one that `REDIS_URL` names, else one of its own, which ends with it.
#[derive(Debug)]
pub struct Server {
    url: String,
    #[cfg(unix)]
    _own: Option<latchwork_testkit::TestServer>,
}

impl Server {
    /// Finds or starts the server.
    ///
    /// # Errors
    /// There is none, and none can be started: the error says what helps.
    pub fn find() -> Result<Self> {
        match env::var("REDIS_URL") {
            Ok(url) if !url.is_empty() => Ok(Self::at(url)),
            _ => Self::start(),
        }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection for an example's own data, apart from the client's.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn data(&self) -> Result<MultiplexedConnection> {
        // Without a time limit: a write that timed out here might be done or not, and the example could prove nothing.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(self.url())?;
        Ok(client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }

    #[cfg(unix)]
    fn at(url: String) -> Self {
        Self { url, _own: None }
    }

    #[cfg(unix)]
    fn start() -> Result<Self> {
        let server = latchwork_testkit::TestServer::start()?;
        Ok(Self {
            url: server.url(),
            _own: Some(server),
        })
    }

    #[cfg(not(unix))]
    fn at(url: String) -> Self {
        Self { url }
    }

    #[cfg(not(unix))]
    fn start() -> Result<Self> {
        Err("name a server: REDIS_URL=redis://host:port".into())
    }
}

/// A name that no earlier run of an example has used, for servers that live longer than the example.
pub fn unique(name: &str) -> String {
    format!("example-{name}-{}", std::process::id())
}
