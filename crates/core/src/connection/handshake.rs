//! What is asked once per connection: version, role, what could lose a lock; and the scripts are loaded.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::base::clock::Moment;
use crate::connection::refusal::{breaks_connection, is_withheld, said};
use crate::connection::youth::Past;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::server::{ServerInfo, Warning};
use crate::wire::plain::command;
use crate::wire::script::Script;
use crate::wire::value::all_ok;

/// What a handshake found.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent findings, not a state in disguise"
)]
pub(crate) struct Greeting {
    pub(crate) info: ServerInfo,
    pub(crate) warnings: Vec<Warning>,
    /// The server's clock, microseconds.
    pub(crate) stamp: u64,
    /// How long the server took to answer.
    pub(crate) round_trip: Duration,
    pub(crate) publish_refused: bool,
    /// Scripts can be loaded without being run.
    pub(crate) can_load: bool,
    /// Which process answered; `None`: it does not say.
    pub(crate) run: Option<String>,
    /// The server is a node of a cluster.
    pub(crate) is_cluster: bool,
    /// Writes are refused while it has too few replicas: `min-replicas-to-write`.
    pub(crate) has_min_replicas: bool,
    /// What the server says of its past.
    pub(crate) past: Past,
}

impl Greeting {
    /// The server is a replica.
    pub(crate) fn is_replica(&self) -> bool {
        self.warnings.contains(&Warning::Replica)
    }
}

async fn ask(connection: &mut MultiplexedConnection, words: &[&str]) -> RedisResult<Value> {
    match connection.send_packed_command(&command(words)).await? {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// Loads those that the server does not know: the text of all is much more than the rest of a handshake, and mostly for nothing.
async fn load_missing(
    connection: &mut MultiplexedConnection,
    scripts: &[&'static Script],
) -> RedisResult<()> {
    let mut words = vec!["SCRIPT", "EXISTS"];
    words.extend(scripts.iter().map(|script| script.hash()));
    let known = match ask(connection, &words).await {
        Ok(Value::Array(known)) if known.len() == scripts.len() => known,
        Err(error) if breaks_connection(&error) => return Err(error),
        _ => vec![Value::Int(0); scripts.len()], // it may not be asked
    };
    let missing: Vec<&Script> = std::iter::zip(scripts, known)
        .filter(|(_, known)| *known != Value::Int(1))
        .map(|(script, _)| *script)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    load_scripts(connection, &missing).await
}

/// Loads scripts: SCRIPT LOAD, because what EVAL brings may be evicted after 500 others (H37).
pub(crate) async fn load_scripts(
    connection: &mut MultiplexedConnection,
    scripts: &[&Script],
) -> RedisResult<()> {
    let mut pipe = redis::Pipeline::with_capacity(scripts.len());
    for script in scripts {
        pipe.add_command(command(&["SCRIPT", "LOAD", script.source()]));
    }
    let replies = connection.send_packed_commands(&pipe, 0, scripts.len()).await?;
    all_ok(replies).map(drop)
}

/// How many round trips [`greet`] needs at most: one for what it asks, one for scripts that are missing.
pub(crate) const GREETING: u32 = 2;

/// Asks everything at once: one round trip, whatever the distance; two if scripts are missing.
pub(crate) async fn greet(
    connection: &mut MultiplexedConnection,
    address: String,
    channel: &str,
) -> RedisResult<Result<Greeting>> {
    let mut copies = [(); 5].map(|()| connection.clone());
    let [first, second, third, fourth, fifth] = &mut copies;
    // An empty message is none; whether it may be sent is what counts.
    let publish = ["PUBLISH", channel, ""];
    let time = async {
        let sent = Moment::now();
        let time = ask(third, &["TIME"]).await;
        (time, Moment::now().since(sent))
    };
    let (server, save, (time, round_trip), publish, loaded) = tokio::join!(
        ask(first, &["INFO"]),
        ask(second, &["CONFIG", "GET", "save"]),
        time,
        ask(fourth, &publish),
        load_missing(fifth, &crate::wire::script::ALL),
    );
    let mut warnings = Vec::new();
    let mut info = ServerInfo {
        flavour: "redis".into(),
        version: "unknown".into(),
        address,
    };
    let (mut run, mut has_min_replicas, mut past) = (None, false, Past::default());
    let is_cluster;
    match server {
        Ok(value) => {
            let text = text_of(&value);
            run = run_of(&text);
            past = Past::read(|name| field(&text, name));
            is_cluster = field(&text, "cluster_enabled") == Some("1");
            has_min_replicas = field(&text, "min_slaves_good_slaves").is_some();
            if let Err(error) = read_info(&text, &mut info, &mut warnings) {
                return Ok(Err(error));
            }
            if forgets(&text, save) {
                warnings.push(Warning::NoPersistence);
            }
        }
        Err(error) if is_withheld(&error) => {
            warnings.push(Warning::NotInspected {
                message: said(&error),
            });
            // A server outside of a cluster refuses this.
            is_cluster = ask(first, &["CLUSTER", "INFO"]).await.is_ok();
        }
        Err(error) => return Err(error),
    }
    let stamp = time_of(&time?).unwrap_or(0);
    let can_load = match loaded {
        Ok(()) => true,
        Err(error) if is_withheld(&error) => {
            warnings.push(Warning::ScriptsAsText {
                message: said(&error),
            });
            false
        }
        Err(error) => return Err(error),
    };
    Ok(Ok(Greeting {
        info,
        run,
        past,
        has_min_replicas,
        is_cluster,
        warnings,
        stamp,
        round_trip,
        publish_refused: publish.is_err_and(|error| is_withheld(&error)),
        can_load,
    }))
}

/// Which process answered, by its `INFO`.
pub(crate) fn run_of(info: &str) -> Option<String> {
    field(info, "run_id").map(str::to_owned)
}

/// Whether a restart forgets everything. Snapshots are not in `INFO`; being refused `CONFIG` is common
/// and no reason to warn.
fn forgets(info: &str, save: RedisResult<Value>) -> bool {
    let Ok(Value::Array(save)) = save else {
        return false;
    };
    let points = save.get(1).map(text_of);
    field(info, "aof_enabled") == Some("0") && points.is_some_and(|points| points.trim().is_empty())
}

/// What `TIME` says, µs.
pub(crate) fn time_of(value: &Value) -> Option<u64> {
    let Value::Array(parts) = value else { return None };
    let [seconds, micros] = &parts[..] else {
        return None;
    };
    let number = |value: &Value| text_of(value).parse::<u64>().ok();
    Some(number(seconds)? * 1_000_000 + number(micros)?)
}

pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn read_info(text: &str, info: &mut ServerInfo, warnings: &mut Vec<Warning>) -> Result<()> {
    let compatible = field(text, "redis_version").unwrap_or("0");
    if let Some(version) = field(text, "valkey_version") {
        info.flavour = "valkey".into();
        info.version = version.into();
    } else {
        info.version = compatible.into();
    }
    let mut numbers = compatible.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 2) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the server is {} {}: at least Redis 6.2 is needed (or Valkey)",
                info.flavour, info.version
            ),
        ));
    }
    if [field(text, "redis_mode"), field(text, "server_mode")].contains(&Some("sentinel")) {
        return Err(a_sentinel(text, &info.address));
    }
    if field(text, "loading") == Some("1") {
        // Its settings are not those that it will have: `aof_enabled` is 0 until then.
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("the server at {} is loading its data (LOADING)", info.address),
        ));
    }
    if field(text, "role") == Some("slave") {
        warnings.push(Warning::Replica);
    }
    let policy = field(text, "maxmemory_policy").unwrap_or("noeviction");
    let limited = field(text, "maxmemory").is_some_and(|limit| limit != "0");
    if limited && policy != "noeviction" {
        warnings.push(Warning::Eviction {
            policy: policy.to_owned(),
        });
    }
    Ok(())
}

/// The error of a URL that leads to a sentinel, with the URL that leads to its primaries.
fn a_sentinel(info: &str, address: &str) -> Error {
    let primaries = info.lines().filter_map(|line| {
        let (number, rest) = line.strip_prefix("master")?.split_once(":name=")?;
        let is_one = number.parse::<u32>().is_ok();
        rest.split(',').next().filter(|_| is_one)
    });
    let primaries: Vec<_> = primaries.take(10).collect();
    let name = primaries.first().unwrap_or(&"name");
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the server at {address} is a sentinel of these primaries: {}; use redis+sentinel://{address}/{name}, \
             with all its sentinels, separated by commas",
            if primaries.is_empty() {
                "none so far".to_owned()
            } else {
                primaries.join(", ")
            }
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(ServerInfo, Vec<Warning>)> {
        let mut info = ServerInfo {
            flavour: "redis".into(),
            version: String::new(),
            address: String::new(),
        };
        let mut warnings = Vec::new();
        read_info(text, &mut info, &mut warnings)?;
        Ok((info, warnings))
    }

    #[test]
    fn the_time_is_two_numbers() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let time = Value::Array(vec![text("1700000000"), text("42")]);
        assert_eq!(time_of(&time), Some(1_700_000_000_000_042));
        for other in [
            Value::Okay,
            Value::Array(vec![text("1")]),
            Value::Array(vec![text("1"), text("x")]),
        ] {
            assert_eq!(time_of(&other), None, "{other:?}");
        }
    }

    #[test]
    fn h51_old_servers_are_refused() {
        let error = read("redis_version:5.0.6\r\n").expect_err("too old");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(read("redis_version:6.2.14\r\n").is_ok(), "the floor");
        let (info, _) = read("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\n").expect("fine");
        assert_eq!(
            (info.flavour.as_str(), info.version.as_str()),
            ("valkey", "9.1.2"),
            "its own version"
        );
    }

    #[test]
    fn a_server_that_is_loading_its_data_is_asked_again_later() {
        let error = read("redis_version:7.0.15\r\nloading:1\r\naof_enabled:0\r\n").expect_err("not yet");
        assert!(error.is_transient(), "{error}");
        assert!(read("redis_version:7.0.15\r\nloading:0\r\n").is_ok(), "loaded");
    }

    #[test]
    fn a_sentinel_is_refused_with_the_url_that_leads_to_its_primaries() {
        let text = "redis_version:7.0.15\r\nredis_mode:sentinel\r\nmasters:2\r\n\
            master0:name=one,status=ok,address=10.0.0.1:6379,slaves=1,sentinels=3\r\n\
            master1:name=two,status=ok,address=10.0.0.2:6379,slaves=1,sentinels=3\r\n";
        let error = read(text).expect_err("a sentinel");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("one, two"), "{error}");
        assert!(error.message().contains("redis+sentinel://"), "{error}");
    }

    #[test]
    fn h39_eviction_is_a_warning_only_with_a_limit() {
        let text = "redis_version:7.0.0\nmaxmemory:100\nmaxmemory_policy:volatile-lru\nrole:slave\n";
        let (_, warnings) = read(text).expect("fine");
        assert_eq!(
            warnings,
            [
                Warning::Replica,
                Warning::Eviction {
                    policy: "volatile-lru".into()
                }
            ],
            "both"
        );
        let (_, warnings) =
            read("redis_version:7.0.0\nmaxmemory:0\nmaxmemory_policy:volatile-lru\n").expect("fine");
        assert!(warnings.is_empty(), "no limit, no eviction");
    }
}
