//! Where to connect.

use std::time::Duration;

use crate::types::error::{Error, Result};

/// Where to connect, as the user gave it.
#[derive(Clone)]
pub(crate) struct Endpoint(pub(crate) redis::Client);

impl std::fmt::Debug for Endpoint {
    // Never the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.address()).finish()
    }
}

impl Endpoint {
    pub(crate) fn from_url(url: &str) -> Result<Self> {
        let client = redis::Client::open(url).map_err(|error| {
            let remedy = if url.starts_with("rediss://") || url.starts_with("valkeys://") {
                "the URL asks for TLS: switch on the feature `tls-rustls` or `tls-native-tls`"
            } else {
                "the URL is not understood: use redis://[user:password@]host[:port][/database] or unix:///path/of/the/socket"
            };
            Error::invalid(remedy).caused_by(error)
        })?;
        Self::from_client(&client)
    }

    pub(crate) fn from_info(info: redis::ConnectionInfo) -> Result<Self> {
        let client = redis::Client::open(info)
            .map_err(|error| Error::invalid("the connection info is not usable").caused_by(error))?;
        Self::from_client(&client)
    }

    /// The user's client with the socket options that locks need: no Nagle, and a dead peer is noticed.
    pub(crate) fn from_client(client: &redis::Client) -> Result<Self> {
        let info = client.get_connection_info().clone();
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(3));
        let settings = info
            .tcp_settings()
            .clone()
            .set_nodelay(true)
            .set_keepalive(keepalive);
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
        let settings = settings.set_user_timeout(Duration::from_secs(10));
        // RESP2: a RESP3 push could be taken for the reply of the oldest request in flight.
        let redis_settings = info
            .redis_settings()
            .clone()
            .set_protocol(redis::ProtocolVersion::RESP2);
        let info = info.set_tcp_settings(settings).set_redis_settings(redis_settings);
        redis::Client::open(info)
            .map(Self)
            .map_err(|error| Error::invalid("the connection info is not usable").caused_by(error))
    }

    /// How many round trips it takes until a connection can be used: one for TCP, one for what redis-rs says first (user,
    /// database, its name), and two for TLS before version 1.3.
    pub(crate) fn round_trips(&self) -> u32 {
        if self.is_tls() { 4 } else { 2 }
    }

    pub(crate) fn is_tls(&self) -> bool {
        let address = self.0.get_connection_info().addr();
        matches!(address, redis::ConnectionAddr::TcpTls { .. })
    }

    /// Host and port, or the socket's path; no credentials.
    pub(crate) fn address(&self) -> String {
        self.0.get_connection_info().addr().to_string()
    }
}
