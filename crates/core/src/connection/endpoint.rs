//! Where to connect.

use std::time::Duration;

use crate::base::clock::Moment;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::base::trace::warn;
use crate::connection::refusal::said;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::connection::tls;
use crate::connection::wallet::{Fetched, Wallet};
use crate::types::error::{Error, Result};
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;
use crate::wire::plain::command;

/// Where to connect, as the user gave it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) client: redis::Client,
    /// Connects with the same certificates, to see what is wrong; if they are ours.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(crate) connector: Option<tls::Connector>,
    /// The certificates, if they are ours.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    tls: Option<Tls>,
    /// Where user and password come from, if not from the URL.
    wallet: Option<Wallet>,
    /// When to ask for others.
    renew_at: Moment,
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
                tls: None,
                wallet: None,
                renew_at: Moment::NEVER,
            })
            .map_err(|error| unusable(&error))
    }

    /// The same in RESP3.
    pub(crate) fn in_resp3(&self) -> Result<Self> {
        let info = self.client.get_connection_info().clone();
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(redis::ProtocolVersion::RESP3);
        let client =
            redis::Client::open(info.set_redis_settings(settings)).map_err(|error| unusable(&error))?;
        Ok(Self {
            client,
            ..self.clone()
        })
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
            tls: Some(tls),
            ..self
        })
    }

    /// User and password come from this provider.
    pub(crate) fn with_wallet(self, wallet: Option<Wallet>) -> Self {
        Self { wallet, ..self }
    }

    /// The same with what everything that may change is now: certificates in files, user and
    /// password.
    pub(crate) async fn renewed(&self) -> Result<Self> {
        let endpoint = self.with_files_again().await;
        let Some(wallet) = &self.wallet else {
            return Ok(endpoint);
        };
        let Fetched {
            credentials,
            renew_at,
        } = wallet.get().await?;
        let info = endpoint.client.get_connection_info().clone();
        // Its user, if there is none: the default one of the server.
        let plain = redis::RedisConnectionInfo::default()
            .set_db(info.redis_settings().db())
            .set_protocol(info.redis_settings().protocol())
            .set_password(&credentials.password);
        let settings = match &credentials.username {
            Some(username) => plain.set_username(username),
            None => plain,
        };
        let client =
            redis::Client::open(info.set_redis_settings(settings)).map_err(|error| unusable(&error))?;
        Ok(Self {
            client,
            renew_at,
            ..endpoint
        })
    }

    /// When to ask the provider for other credentials, and to show them to the server.
    pub(crate) const fn renew_at(&self) -> Moment {
        self.renew_at
    }

    /// The server did not accept the credentials: others are asked for before the next connection.
    pub(crate) async fn discard_credentials(&self) {
        if let Some(wallet) = &self.wallet {
            wallet.discard().await;
        }
    }

    /// User (if not the default one) and password.
    pub(crate) fn credentials(&self) -> (Option<&str>, Option<&str>) {
        let settings = self.client.get_connection_info().redis_settings();
        (settings.username(), settings.password())
    }

    /// The command that shows them to the server.
    pub(crate) fn auth(&self) -> redis::Cmd {
        let (user, password) = self.credentials();
        let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain(password).collect();
        command(&words)
    }

    /// The same with the certificates that the files have now: they may have been renewed since. As it was, if they cannot
    /// be used: they may be about to be.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    async fn with_files_again(&self) -> Self {
        let Some(tls) = self.tls.clone().filter(Tls::has_files) else {
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
    fn with_files_again(&self) -> std::future::Ready<Self> {
        std::future::ready(self.clone())
    }

    /// The same user, database and certificates at another address.
    pub(crate) fn at(&self, host: &str, port: u16) -> Result<Self> {
        let host = host.to_owned();
        let addr = match self.addr() {
            redis::ConnectionAddr::TcpTls {
                insecure, tls_params, ..
            } => redis::ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => redis::ConnectionAddr::Tcp(host, port),
        };
        let moved = Self::from_info(self.client.get_connection_info().clone().set_addr(addr))?;
        Ok(Self {
            client: moved.client,
            ..self.clone()
        })
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

    /// The port alone; 0 for a socket in the file system.
    pub(crate) fn port(&self) -> u16 {
        match self.addr() {
            redis::ConnectionAddr::Tcp(_, port) | redis::ConnectionAddr::TcpTls { port, .. } => *port,
            _ => 0,
        }
    }

    /// The host alone.
    pub(crate) fn host(&self) -> String {
        match self.addr() {
            redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host.clone(),
            other => other.to_string(),
        }
    }
}

/// Reads `redis+cluster://[user:password@]host[:port],…`: the URL of each node. `None`: it is another
/// URL.
pub(crate) fn cluster(url: &str) -> Option<Vec<String>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme.strip_suffix("+cluster")? {
        "redis" | "valkey" => "redis",
        "rediss" | "valkeys" => "rediss",
        _ => return None,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let at = if credentials.is_empty() { "" } else { "@" };
    let url = |host: &str| format!("{scheme}://{credentials}{at}{host}/{path}");
    Some(hosts.split(',').map(url).collect())
}

fn unusable(error: &redis::RedisError) -> Error {
    Error::invalid("the connection info is not usable").caused_by(said(error))
}
