//! How to find a server by its sentinels.

use std::fmt;

#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;

/// The sentinels of a primary, and how to connect to them and to it.
///
/// The client asks all of them which server is the primary, connects to that one, and follows at
/// once when they name another. Sentinels that do not answer are left out, so it is enough if one
/// does. More about that is in `docs/operations.md`.
///
/// A URL says the same, except what belongs to the sentinels alone:
/// `redis+sentinel://user:password@host:port,host:port/name/database`.
///
/// # Examples
/// ```no_run
/// use latchwork_core::{Client, Sentinel};
///
/// # async fn example() -> latchwork_core::Result<()> {
/// let sentinels = ["redis://s1:26379", "redis://s2:26379", "redis://s3:26379"];
/// let sentinel = Sentinel::new("mymaster", sentinels).username("app").password("secret");
/// let client = Client::builder().sentinel(sentinel).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "pass it to `ClientBuilder::sentinel`"]
pub struct Sentinel {
    pub(crate) name: String,
    pub(crate) sentinels: Vec<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    pub(crate) is_tls: bool,
    /// For connections to sentinels.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(crate) tls: Option<Tls>,
}

impl Sentinel {
    /// The primary that the sentinels at these URLs call `name`.
    ///
    /// A URL may have credentials, and ask for TLS: `rediss://user:password@host:port`. They are
    /// for this sentinel only. Without a port it is 26379. There may be up to 32 sentinels; name
    /// all of them, as each is watched for the news of another primary.
    pub fn new<U: AsRef<str>>(name: impl AsRef<str>, sentinels: impl IntoIterator<Item = U>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            sentinels: sentinels.into_iter().map(|url| url.as_ref().to_owned()).collect(),
            username: None,
            password: None,
            database: 0,
            is_tls: false,
            #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
            tls: None,
        }
    }

    /// The user of the primary and its replicas. Defaults to the server's default user.
    pub fn username(mut self, username: impl AsRef<str>) -> Self {
        self.username = Some(username.as_ref().to_owned());
        self
    }

    /// The password of the primary and its replicas. Defaults to none.
    pub fn password(mut self, password: impl AsRef<str>) -> Self {
        self.password = Some(password.as_ref().to_owned());
        self
    }

    /// The database of the primary. Defaults to 0.
    pub const fn database(mut self, database: u32) -> Self {
        self.database = database as i64;
        self
    }

    /// The primary and its replicas speak TLS at the ports that the sentinels name. Defaults to
    /// plain connections. Certificates are those of
    /// [`ClientBuilder::tls`](crate::ClientBuilder::tls).
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub const fn servers_with_tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// Uses these certificates for connections to sentinels whose URL begins with `rediss://`.
    /// Defaults to those of [`ClientBuilder::tls`](crate::ClientBuilder::tls).
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub fn sentinel_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl fmt::Debug for Sentinel {
    // Never a URL or the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinel")
            .field("name", &self.name)
            .field("sentinels", &self.sentinels.len())
            .field("username", &self.username)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
