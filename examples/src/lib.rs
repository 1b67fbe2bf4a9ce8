//! What the examples share: a server to run against. The examples themselves are in `src/bin`, one file each.

use std::env;

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
