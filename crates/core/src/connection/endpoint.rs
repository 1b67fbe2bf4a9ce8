//! Where to connect.

use std::time::Duration;

#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::base::trace::warn;
use crate::connection::refusal::said;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::connection::tls;
use crate::types::error::{Error, Result};
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;

/// Where to connect, as the user gave it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) client: redis::Client,
    /// Connects with the same certificates, to see what is wrong; if they are ours.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(crate) connector: Option<tls::Connector>,
    /// Where the certificates are, if they are in files.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    files: Option<Tls>,
}

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
            Error::invalid(remedy).caused_by(said(&error))
        })?;
        Self::from_client(&client)
    }

    pub(crate) fn from_info(info: redis::ConnectionInfo) -> Result<Self> {
        let client = redis::Client::open(info).map_err(|error| unusable(&error))?;
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
            .map(|client| Self {
                client,
                #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
                connector: None,
                #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
                files: None,
            })
            .map_err(|error| unusable(&error))
    }

    /// The number of the server's database.
    pub(crate) fn database(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }

    /// Reads these certificates, or those that everybody trusts, and connects with them. Blocks: it reads files.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(crate) fn with_tls(self, tls: Option<&Tls>) -> Result<Self> {
        let redis::ConnectionAddr::TcpTls {
            insecure, tls_params, ..
        } = self.addr()
        else {
            return match tls {
                Some(_) => Err(Error::invalid(
                    "there are certificates, but no TLS: use a URL with rediss://",
                )),
                None => Ok(self),
            };
        };
        tls::prepare();
        let tls = match tls {
            Some(_) if *insecure => {
                return Err(Error::invalid(
                    "`#insecure` checks no certificate: leave it out of the URL",
                ));
            }
            Some(tls) => tls.clone(),
            None if *insecure || tls_params.is_some() => return Ok(self),
            None => Tls::default(),
        };
        let (client, connector) = tls::client(&tls, self.client.get_connection_info().clone())?;
        Ok(Self {
            client,
            connector: Some(connector),
            files: Some(tls).filter(Tls::has_files),
        })
    }

    /// The same with the certificates that the files have now: they may have been renewed since. As it was, if they cannot
    /// be used: they may be about to be.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(crate) async fn renewed(&self) -> Self {
        let Some(tls) = self.files.clone() else {
            return self.clone();
        };
        let endpoint = self.clone();
        let reading = tokio::task::spawn_blocking(move || endpoint.with_tls(Some(&tls)));
        match reading.await {
            Ok(Ok(renewed)) => renewed,
            Ok(Err(error)) => {
                warn!(error = %error, "certificates cannot be read again; the previous ones are used");
                self.clone()
            }
            Err(_) => self.clone(), // the runtime is ending
        }
    }

    /// There are no certificates in this build.
    #[cfg(not(any(feature = "tls-rustls", feature = "tls-native-tls")))]
    pub(crate) fn renewed(&self) -> std::future::Ready<Self> {
        std::future::ready(self.clone())
    }

    /// How many round trips it takes until a connection can be used: one for TCP, one for what redis-rs says first (user,
    /// database, its name), and two for TLS before version 1.3.
    pub(crate) fn round_trips(&self) -> u32 {
        if self.is_tls() { 4 } else { 2 }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.addr(), redis::ConnectionAddr::TcpTls { .. })
    }

    pub(crate) fn addr(&self) -> &redis::ConnectionAddr {
        self.client.get_connection_info().addr()
    }

    /// Host and port, or the socket's path; no credentials.
    pub(crate) fn address(&self) -> String {
        self.addr().to_string()
    }

    /// The host alone.
    pub(crate) fn host(&self) -> String {
        match self.addr() {
            redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host.clone(),
            other => other.to_string(),
        }
    }
}

fn unusable(error: &redis::RedisError) -> Error {
    Error::invalid("the connection info is not usable").caused_by(said(error))
}
