//! Asks sentinels which server is the primary.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{ConnectionAddr, IntoConnectionInfo, Value};

use crate::base::clock::{Moment, until};
use crate::connection::address::{Address, AddressMap};
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::opening::{open, silent};
use crate::connection::refusal::{Target, classify, said};
use crate::connection::wallet::Wallet;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::sentinel::Sentinel;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;
use crate::wire::plain::command;

/// The port of a sentinel whose URL names none.
const PORT: u16 = 26379;
/// The most sentinels that can be named.
const MOST: usize = 32;
/// How long the others have to answer once one sentinel did. With the answers of most of them, a
/// sentinel that was cut off from the others does not decide.
const GRACE: Duration = Duration::from_millis(250);

/// Sentinels, and how to connect to the servers that they name.
#[derive(Debug, Clone)]
pub(crate) struct Sentinels {
    name: String,
    all: Vec<Endpoint>,
    /// User, database and certificates for the servers; the address is the sentinels' to say.
    servers: Endpoint,
    /// Where those are.
    map: AddressMap,
}

/// A server that a sentinel calls the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Rises with each failover. The answer with the highest one is the newest.
    pub(crate) epoch: u64,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Sentinels {
    /// Checks what the program gave.
    pub(crate) fn new(of: &Sentinel) -> Result<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if of.name.is_empty() || !of.name.chars().all(is_plain) {
            let text = format!(
                "`{}` cannot be a name that sentinels have for a primary: letters, digits and `.-_`",
                of.name
            );
            return Err(Error::invalid(text));
        }
        if of.sentinels.is_empty() || of.sentinels.len() > MOST {
            return Err(Error::invalid(format!("name 1 to {MOST} sentinels")));
        }
        let sentinels = of
            .sentinels
            .iter()
            .map(|url| sentinel(url))
            .collect::<Result<_>>()?;
        let (host, port) = (of.name.clone(), PORT); // they stand for what is not known yet
        let addr = if of.is_tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = addr.into_connection_info();
        let info =
            info.map_err(|error| Error::invalid("the sentinels are not usable").caused_by(said(&error)))?;
        let mut settings = info.redis_settings().clone().set_db(of.database);
        if let Some(username) = &of.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &of.password {
            settings = settings.set_password(password);
        }
        Ok(Self {
            name: of.name.clone(),
            all: sentinels,
            servers: Endpoint::from_info(info.set_redis_settings(settings))?,
            map: AddressMap::default(),
        })
    }

    /// With these certificates for the servers, and those for sentinels with TLS. Blocks: it reads
    /// files.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(crate) fn with_tls(self, servers: Option<&Tls>, sentinels: Option<&Tls>) -> Result<Self> {
        let any_tls = self.servers.is_tls() || self.all.iter().any(Endpoint::is_tls);
        if !any_tls && (servers.is_some() || sentinels.is_some()) {
            return Err(Error::invalid(
                "there are certificates, but no TLS: use a URL with rediss+sentinel://, or `servers_with_tls`",
            ));
        }
        let with = |endpoint: Endpoint, tls: Option<&Tls>| {
            let tls = tls.filter(|_| endpoint.is_tls());
            endpoint.with_tls(tls)
        };
        let theirs = sentinels.or(servers);
        Ok(Self {
            all: self
                .all
                .into_iter()
                .map(|it| with(it, theirs))
                .collect::<Result<_>>()?,
            servers: with(self.servers, servers)?,
            ..self
        })
    }

    /// The servers' user and password come from this provider.
    pub(crate) fn with_wallet(self, wallet: Option<Wallet>) -> Self {
        Self {
            servers: self.servers.with_wallet(wallet),
            ..self
        }
    }

    /// Servers are where the program says.
    pub(crate) fn with_map(self, map: AddressMap) -> Self {
        Self { map, ..self }
    }

    /// Returns where this server is.
    pub(crate) fn place(&self, named: &Named) -> Address {
        self.map.place(&Address {
            host: named.host.clone(),
            port: named.port,
        })
    }

    /// What the sentinels call the primary.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn all(&self) -> &[Endpoint] {
        &self.all
    }

    pub(crate) const fn servers(&self) -> &Endpoint {
        &self.servers
    }

    /// Asks all sentinels at once, each within `patience` for each round trip. The newest answer
    /// counts.
    pub(crate) async fn find(&self, prefix: &str, patience: Duration) -> Result<Named, Failure> {
        let asks = self
            .all
            .iter()
            .map(|it| async move { (it, self.ask(it, prefix, patience).await) });
        let mut asks: FuturesUnordered<_> = asks.collect();
        let (mut newest, mut answers, mut failures) = (None::<Named>, 0, Vec::new());
        let mut over = Moment::NEVER;
        while answers * 2 <= self.all.len()
            && let Some(Some((sentinel, answer))) = until(over, None, asks.next()).await
        {
            match answer {
                Ok(named) => {
                    answers += 1;
                    over = over.min(Moment::now() + GRACE);
                    if newest.as_ref().is_none_or(|newest| named.epoch > newest.epoch) {
                        newest = Some(named);
                    }
                }
                Err(failure) => failures.push((sentinel.address(), failure)),
            }
        }
        newest.ok_or_else(|| none(&failures))
    }

    /// Asks one sentinel.
    pub(crate) async fn ask(
        &self,
        sentinel: &Endpoint,
        prefix: &str,
        patience: Duration,
    ) -> Result<Named, Failure> {
        let target = Target { script: None, prefix };
        let sentinel = sentinel.renewed().await.map_err(Failure::passing)?;
        let mut connection = open(&sentinel, target, patience).await?;
        let asking = command(&["SENTINEL", "MASTER", &self.name]);
        let answer = connection.send_packed_command(&asking);
        match until(Moment::now() + patience, None, answer).await {
            Some(Ok(Value::ServerError(error))) => Err(self.refusal(&error.into(), target)),
            Some(Ok(value)) => Named::read(&value).ok_or_else(|| {
                let text = "the answer to SENTINEL MASTER is not understood";
                Failure::passing(Error::new(ErrorKind::Protocol, text))
            }),
            Some(Err(error)) => Err(self.refusal(&error, target)),
            None => Err(silent(&sentinel, patience).await),
        }
    }

    fn refusal(&self, error: &redis::RedisError, target: Target<'_>) -> Failure {
        let cause = said(error);
        let text = if cause.contains("No such master") {
            format!("it knows no primary with the name `{}`", self.name)
        } else if cause.contains("unknown command") {
            "it is a server, not a sentinel".to_owned()
        } else {
            return classify(error, target);
        };
        Failure::passing(Error::invalid(text))
    }
}

impl Named {
    /// Reads what `SENTINEL MASTER` says: names and values in turns.
    fn read(value: &Value) -> Option<Self> {
        let Value::Array(parts) = value else { return None };
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        };
        let field = |name: &str| {
            let mut pairs = parts.chunks_exact(2);
            let pair = pairs.find(|pair| text(&pair[0]).as_deref() == Some(name))?;
            text(&pair[1])
        };
        Some(Self {
            epoch: field("config-epoch")?.parse().ok()?,
            host: field("ip").filter(|host| !host.is_empty())?,
            port: field("port")?.parse().ok()?,
        })
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The error when no sentinel has named a server: of the kind that all have in common.
fn none(failures: &[(String, Failure)]) -> Failure {
    let kinds = failures.iter().map(|(_, failure)| failure.error.kind());
    let first = failures
        .first()
        .map_or(ErrorKind::Unavailable, |(_, failure)| failure.error.kind());
    let kind = if kinds.into_iter().all(|kind| kind == first) {
        first
    } else {
        ErrorKind::Unavailable
    };
    let causes: Vec<_> = failures
        .iter()
        .map(|(address, failure)| format!("{address}: {}", failure.error))
        .collect();
    let text = format!("no sentinel names the primary ({})", causes.join("; "));
    Failure::passing(Error::new(kind, text))
}

/// The endpoint of a sentinel.
fn sentinel(url: &str) -> Result<Endpoint> {
    let endpoint = Endpoint::from_url(url)?;
    let info = endpoint.client.get_connection_info();
    let is_tcp = !matches!(info.addr(), ConnectionAddr::Unix(_));
    if !is_tcp || info.redis_settings().db() != 0 {
        return Err(Error::invalid(
            "the URL of a sentinel is redis://[user:password@]host[:port], or rediss:// with TLS",
        ));
    }
    if has_port(url) {
        return Ok(endpoint);
    }
    endpoint.at(&endpoint.host(), PORT)
}

fn has_port(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.rsplit_once(']').map_or(host, |(_, rest)| rest).contains(':')
}

/// Reads `redis+sentinel://[user:password@]host[:port],…/name[/database]`. `None`: it is another
/// URL.
pub(crate) fn parse(url: &str) -> Option<Result<Sentinel>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme.strip_suffix("+sentinel")? {
        "redis" | "valkey" => "redis",
        "rediss" | "valkeys" => "rediss",
        _ => return None,
    };
    Some(parse_rest(scheme, rest).ok_or_else(|| {
        Error::invalid(
            "the URL is not understood: use redis+sentinel://[user:password@]host[:port],host[:port]/name[/database], \
             where the name is what the sentinels call the primary",
        )
    }))
}

fn parse_rest(scheme: &str, rest: &str) -> Option<Sentinel> {
    let (authority, path) = rest.split_once('/')?;
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, database) = path.split_once('/').unwrap_or((path, "0"));
    let urls = hosts.split(',').map(|host| format!("{scheme}://{host}"));
    let mut sentinel = Sentinel::new(name, urls).database(database.parse().ok()?);
    sentinel.is_tls = scheme == "rediss";
    if !credentials.is_empty() {
        // The library decodes them.
        let info = format!("redis://{credentials}@localhost")
            .into_connection_info()
            .ok()?;
        sentinel.username = info.redis_settings().username().map(str::to_owned);
        sentinel.password = info.redis_settings().password().map(str::to_owned);
    }
    let is_plain = !hosts.is_empty() && !name.is_empty() && !path.contains(['?', '#']);
    is_plain.then_some(sentinel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Sentinel {
        parse(url).expect("of sentinels").expect("understood")
    }

    #[test]
    fn a_url_names_sentinels_primary_user_and_database() {
        let it = parsed("redis+sentinel://app:p%40ss@s1:1,[::1]:2,s3/my-master/4");
        assert_eq!(
            it.sentinels,
            ["redis://s1:1", "redis://[::1]:2", "redis://s3"],
            "sentinels"
        );
        assert_eq!(
            (it.name.as_str(), it.database, it.is_tls),
            ("my-master", 4, false),
            "the rest"
        );
        assert_eq!(it.username.as_deref(), Some("app"), "the user");
        assert_eq!(it.password.as_deref(), Some("p@ss"), "decoded");
        let it = parsed("valkeys+sentinel://s1/m");
        assert_eq!(
            (it.sentinels, it.is_tls),
            (vec!["rediss://s1".to_owned()], true),
            "with TLS"
        );
    }

    #[test]
    fn other_urls_are_none_of_its_business_and_wrong_ones_are_refused() {
        assert!(parse("redis://s1/0").is_none(), "a server");
        for url in [
            "redis+sentinel://s1",
            "redis+sentinel://s1/",
            "redis+sentinel:///m",
            "redis+sentinel://s1/m/x",
            "redis+sentinel://s1/m?a=b",
        ] {
            let error = parse(url).expect("of sentinels").expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
    }

    #[test]
    fn a_sentinel_has_a_port_of_its_own() {
        let address = |url| sentinel(url).map(|endpoint| endpoint.address());
        assert_eq!(address("redis://s1").expect("fine"), "s1:26379", "by default");
        assert_eq!(address("redis://u:p@s1:7/").expect("fine"), "s1:7", "as it says");
        assert_eq!(address("redis://[::1]").expect("fine"), "::1:26379", "of six");
        for url in ["redis://s1/3", "unix:///tmp/s", "s1"] {
            assert!(sentinel(url).is_err(), "{url}");
        }
    }

    #[test]
    fn names_and_numbers_are_checked() {
        for (name, count) in [("", 1), ("a b", 1), ("m", 0), ("m", 33)] {
            let it = Sentinel::new(name, vec!["redis://s"; count]);
            assert!(Sentinels::new(&it).is_err(), "{name:?} {count}");
        }
        assert!(
            Sentinels::new(&Sentinel::new("m.a-b_1", ["redis://s"; 32])).is_ok(),
            "allowed"
        );
    }

    #[test]
    fn what_a_sentinel_says_is_read_by_name() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let all = ["name", "m", "ip", "10.0.0.1", "port", "6380", "config-epoch", "7"];
        let named = Named::read(&Value::Array(all.iter().map(|it| text(it)).collect()));
        let expected = Named {
            epoch: 7,
            host: "10.0.0.1".into(),
            port: 6380,
        };
        assert_eq!(named, Some(expected), "all of it");
        for other in [Value::Nil, Value::Array(vec![text("ip")]), Value::Array(vec![])] {
            assert_eq!(Named::read(&other), None, "{other:?}");
        }
    }
}
