//! Why a connection could not be opened, in words for the reader of the error.
//!
//! Some causes are silent: a server that expects TLS closes a plain connection without a word, and
//! one that does not waits for the rest of what it takes for a request. Then another connection is
//! made, which sends a few bytes that say nothing, and the answer shows what the server speaks.

use std::net::SocketAddr;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ConnectionAddr, RedisError, RedisFuture, RedisResult};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::base::clock::{Moment, until};
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::refusal::{Target, classify, io_error, said};
use crate::types::error::{Error, ErrorKind};

/// Requests that may be queued in front of the socket.
const PIPELINE: usize = 1024;

/// Opens a connection, within `patience` for each round trip that it takes.
pub(crate) async fn open(
    endpoint: &Endpoint,
    target: Target<'_>,
    patience: Duration,
) -> Result<MultiplexedConnection, Failure> {
    open_as(&config(), endpoint, target, patience).await
}

/// The same for a connection whose server says things unasked: `pushes` hears them.
pub(crate) async fn open_with_pushes(
    endpoint: &Endpoint,
    target: Target<'_>,
    patience: Duration,
    pushes: impl AsyncPushSender,
) -> Result<MultiplexedConnection, Failure> {
    open_as(&config().set_push_sender(pushes), endpoint, target, patience).await
}

/// Time-outs are ours: redis-rs's default of 500 ms would fire in the middle of a script's run
/// (H28).
fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE)
        .set_dns_resolver(Resolver)
}

async fn open_as(
    config: &AsyncConnectionConfig,
    endpoint: &Endpoint,
    target: Target<'_>,
    patience: Duration,
) -> Result<MultiplexedConnection, Failure> {
    let open = endpoint
        .client
        .get_multiplexed_async_connection_with_config(config);
    match until(Moment::now() + patience * endpoint.round_trips(), None, open).await {
        Some(Ok(connection)) => Ok(connection),
        Some(Err(error)) => Err(refused(error, endpoint, target, patience).await),
        None => Err(silent(endpoint, patience).await),
    }
}

/// What redis-rs has no timeout for.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match until(Moment::now() + time, None, work).await {
        Some(result) => result,
        None => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// Resolves host names, and remembers in the error that this failed.
#[derive(Debug)]
struct Resolver;

/// A host name that could not be resolved.
#[derive(Debug)]
struct Unresolved(String);

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unresolved {}

impl redis::io::AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let none = |why: String| std::io::Error::other(Unresolved(why)).into();
            let found = tokio::net::lookup_host((host, port)).await;
            let found: Vec<_> = found.map_err(|error| none(error.to_string()))?.collect();
            if found.is_empty() {
                return Err(none("it has no address".to_owned()));
            }
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

/// The text of a [`Unresolved`] inside an error.
fn unresolved(error: &RedisError) -> Option<String> {
    let inner = io_error(error)?.get_ref()?;
    inner.downcast_ref::<Unresolved>().map(Unresolved::to_string)
}

/// The error of an opening or greeting that took too long.
pub(crate) async fn silent(endpoint: &Endpoint, patience: Duration) -> Failure {
    if endpoint.is_tls() && speaks(endpoint, PLAIN, patience).await {
        return plain_port(endpoint);
    }
    Failure::unknown(Error::new(
        ErrorKind::Unavailable,
        format!("the server at {} does not answer", endpoint.address()),
    ))
}

/// The error of an opening or greeting that failed.
pub(crate) async fn refused(
    error: RedisError,
    endpoint: &Endpoint,
    target: Target<'_>,
    patience: Duration,
) -> Failure {
    let (address, cause) = (endpoint.address(), said(&error));
    let refused = |kind, text: String| Failure::refused(Error::new(kind, text));
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return refused(
            ErrorKind::Denied,
            format!(
                "the server does not accept the user name or password: {cause}; check the URL's credentials"
            ),
        );
    }
    if error.is_timeout() {
        return silent(endpoint, patience).await;
    }
    if endpoint.is_tls() {
        let cause = if is_cut(&error) {
            alert(endpoint, patience).await
        } else {
            is_about_tls(&error).then(|| cause.clone())
        };
        if let Some(cause) = cause {
            if is_unreadable(&cause) && speaks(endpoint, PLAIN, patience).await {
                return plain_port(endpoint);
            }
            let text = format!("no TLS connection to {address}: {cause}{}", remedy(&cause));
            return refused(ErrorKind::Tls, text);
        }
    }
    if error.kind() == redis::ErrorKind::Parse && !is_cut(&error) {
        let text = format!("the server at {address} does not speak the Redis protocol: {cause}");
        return refused(ErrorKind::Protocol, text);
    }
    if error.detail().is_some_and(|detail| detail.contains("DB index")) {
        return refused(
            ErrorKind::Invalid,
            format!("the server has no database of the number in the URL: {cause}"),
        );
    }
    if error
        .detail()
        .is_some_and(|detail| detail.contains("SELECT is not allowed in cluster"))
    {
        let text = "a cluster has only database 0: leave the database out of the URL".to_owned();
        return refused(ErrorKind::Invalid, text);
    }
    if error.kind() == redis::ErrorKind::InvalidClientConfig {
        return refused(
            ErrorKind::Invalid,
            format!("the connection options do not work: {cause}"),
        );
    }
    if let Some(why) = unresolved(&error) {
        let host = endpoint.host();
        let text = format!("cannot resolve the host name `{host}`: {why}; check the name and the DNS server");
        return Failure::unknown(Error::new(ErrorKind::Unavailable, text));
    }
    // A server without TLS answers the first question at once, but waits for the rest of the second.
    if is_cut(&error)
        && !endpoint.is_tls()
        && !speaks(endpoint, PLAIN, patience).await
        && speaks(endpoint, HELLO, patience).await
    {
        let text = format!("the server at {address} speaks TLS on this port: use rediss:// ({cause})");
        return refused(ErrorKind::Tls, text);
    }
    if error.is_io_error() {
        let text = format!("cannot connect to {address}: {cause}; is the server running there?");
        return Failure::unknown(Error::new(ErrorKind::Unavailable, text));
    }
    classify(&error, target)
}

fn plain_port(endpoint: &Endpoint) -> Failure {
    let address = endpoint.address();
    Failure::refused(Error::new(
        ErrorKind::Tls,
        format!("the server at {address} does not speak TLS on this port: use redis://, or its port for TLS"),
    ))
}

/// Whether the connection was made, and then cut: by an answer that breaks off, too.
fn is_cut(error: &RedisError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};

    let text = error.to_string();
    io_error(error).is_some_and(|error| {
        matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        )
    }) || CUT.iter().any(|sign| text.contains(sign))
}

/// The same in the words of libraries that wrap the system's error.
const CUT: [&str; 3] = ["end of input", "reset by peer", "unexpected EOF"];

/// Whether this error of a connection with TLS is about TLS: its library's own, or one that it has
/// wrapped for the socket.
fn is_about_tls(error: &RedisError) -> bool {
    if let Some(error) = io_error(error) {
        let is_wrapped = error.get_ref().is_some() && !remedy(&error.to_string()).is_empty();
        return is_wrapped || error.kind() == std::io::ErrorKind::InvalidData;
    }
    let has_cause = std::error::Error::source(error).is_some();
    has_cause && matches!(error.kind(), redis::ErrorKind::Io | redis::ErrorKind::Client)
}

/// What the server has against our side of the handshake, if it says so to a client that sends nothing else.
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
async fn alert(endpoint: &Endpoint, patience: Duration) -> Option<String> {
    let ConnectionAddr::TcpTls { host, port, .. } = endpoint.addr().clone() else {
        return None;
    };
    let connector = endpoint.connector.clone()?;
    let looking = tokio::task::spawn_blocking(move || connector.look(&host, port, patience));
    let cause = looking.await.ok()??.to_string();
    (!remedy(&cause).is_empty()).then_some(cause)
}

/// There is no TLS in this build.
#[cfg(not(any(feature = "tls-rustls", feature = "tls-native-tls")))]
fn alert(_: &Endpoint, _: Duration) -> std::future::Ready<Option<String>> {
    std::future::ready(None)
}

/// What the libraries say of something that is no TLS.
fn is_unreadable(cause: &str) -> bool {
    let cause = cause.to_lowercase();
    [
        "wrong version number",
        "invalidcontenttype",
        "corrupt message",
        "packet length",
        "record",
    ]
    .iter()
    .any(|text| cause.contains(text))
}

/// What the libraries say, without spaces, and what to do about it. Their errors have little else in common.
const REMEDIES: [(&[&str], &str); 6] = [
    (
        &["notvalidforname", "hostnamemismatch", "ipaddressmismatch"],
        "the certificate is for another host: connect by a name that it is for",
    ),
    (
        &["certificaterequired"],
        "the server requires a client certificate: pass one by `Tls::client_certificate`",
    ),
    (
        &["handshakefailure"],
        "the server requires a client certificate (`Tls::client_certificate`), or other ciphers",
    ),
    (
        &[
            "alertunknownca",
            "unknownca",
            "alertbadcertificate",
            "badcertificate",
            "decrypterror",
        ],
        "the server does not accept the client certificate: pass one that its authority has signed",
    ),
    (
        &["expired"],
        "the certificate has expired: renew it, or set this machine's clock",
    ),
    (
        &[
            "unknownissuer",
            "badsignature",
            "signaturefailure",
            "selfsigned",
            "localissuer",
            "verifyfailed",
            "nottrusted",
            "untrusted",
        ],
        "its authority is not trusted here: pass the authority by `Tls::authority`",
    ),
];

fn remedy(cause: &str) -> String {
    let plain: String = cause.chars().filter(|c| c.is_alphanumeric()).collect();
    let plain = plain.to_lowercase();
    let found = REMEDIES
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| plain.contains(sign)));
    found.map_or_else(String::new, |(_, remedy)| format!(" ({remedy})"))
}

/// Bytes to send, and whether the beginning of the answer is of what speaks that.
type Probe = (&'static [u8], fn(&[u8; 2]) -> bool);

/// Any server answers, whether it wants a password or not.
const PLAIN: Probe = (b"PING\r\n", |answer| {
    matches!(answer, b"+P" | b"-N" | b"-E" | b"-D")
});

/// The beginning of a TLS handshake; the answer is a record of the handshake or an alert.
const HELLO: Probe = (CLIENT_HELLO, |answer| matches!(answer, [0x15 | 0x16, 3]));

/// What a client of TLS 1.2 says first, with seven ciphers and no extensions.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x39\x01\x00\x00\x35\x03\x03\
    ################################\x00\x00\x0e\
    \x13\x01\xc0\x2f\xc0\x30\xc0\x2b\xc0\x2c\x00\x9c\x00\x2f\x01\x00";

/// Whether the server at this address speaks what the probe does.
async fn speaks(endpoint: &Endpoint, (send, fits): Probe, patience: Duration) -> bool {
    let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) = endpoint.addr()
    else {
        return false;
    };
    let asking = async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.write_all(send).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(fits(&answer))
    };
    let answer = until(Moment::now() + patience, None, asking).await;
    matches!(answer, Some(Ok(true)))
}

#[cfg(test)]
mod tests {
    use redis::io::AsyncDNSResolver;

    use super::*;

    #[tokio::test]
    async fn a_name_that_is_not_known_is_told_from_other_failures() {
        let error = Resolver.resolve("nowhere.invalid", 1).await.map(drop);
        let error = error.expect_err("no such name");
        assert!(unresolved(&error).is_some(), "{error}");
        let other = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(unresolved(&other).is_none(), "{other}");
    }

    #[test]
    fn lengths_in_the_probe_are_right() {
        let length = |at: usize| usize::from(CLIENT_HELLO[at]) << 8 | usize::from(CLIENT_HELLO[at + 1]);
        assert_eq!(length(3), CLIENT_HELLO.len() - 5, "of the record");
        assert_eq!(length(7), CLIENT_HELLO.len() - 9, "of the message");
    }

    #[test]
    fn remedies_are_found_in_the_words_of_both_libraries() {
        for (cause, word) in [
            ("invalid peer certificate: UnknownIssuer", "Tls::authority"),
            (
                "certificate verify failed:ssl/statem.c:1890: (self-signed certificate)",
                "Tls::authority",
            ),
            ("certificate verify failed: (hostname mismatch)", "another host"),
            ("certificate not valid for name \"localhost\"", "another host"),
            ("received fatal alert: CertificateRequired", "client_certificate"),
            (
                "ssl3_read_bytes:tlsv13 alert certificate required",
                "client_certificate",
            ),
            ("tlsv1 alert unknown ca:../ssl/record/rec.c", "does not accept"),
        ] {
            assert!(remedy(cause).contains(word), "{cause}: {}", remedy(cause));
        }
        assert_eq!(remedy("connection reset"), "", "nothing to say");
    }
}
