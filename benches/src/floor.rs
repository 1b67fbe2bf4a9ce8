//! The floor: the same operations with bare scripts, on the same kind of connection that the library has.
//!
//! No queue, no token, no renewal, no idempotence, no retry: nothing that does the job can do less.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, Value};

use crate::contender::{Held, Library, Lock, Session, Work};
use crate::{Result, cycles};

/// As long as the library's default.
const LEASE_MS: u32 = 10_000;

const LOCK: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end return 0";
const UNLOCK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The textbook's counted lock: owners in a sorted set by the end of their lease.
const ACQUIRE: &str = "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";
const RELEASE: &str = "return redis.call('ZREM', KEYS[1], ARGV[1])";

/// The floor.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Floor {
    ours: bool,
}

impl Floor {
    /// What others are compared with.
    pub const fn new() -> Self {
        Self { ours: false }
    }

    /// The floor in Latchwork's place: what then differs from 1 is noise.
    pub const fn as_contender() -> Self {
        Self { ours: true }
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self::new()
    }
}

impl Library for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn is_ours(&self) -> bool {
        self.ours
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let mut connection = connect(url).await?;
            let session: Box<dyn Session> = Box::new(FloorSession {
                lock: load(&mut connection, LOCK).await?,
                unlock: load(&mut connection, UNLOCK).await?,
                acquire: load(&mut connection, ACQUIRE).await?,
                release: load(&mut connection, RELEASE).await?,
                connection,
            });
            Ok(session)
        })
    }
}

/// A connection with the library's own settings.
///
/// # Errors
/// The server cannot be reached.
pub async fn connect(url: &str) -> Result<MultiplexedConnection> {
    // Time-outs cost a timer per request; the library has its own, the floor has none.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(10)))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    let client = client(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

/// A subscription to `channel`, on a connection of its own, as the library's is.
///
/// # Errors
/// The server cannot be reached.
pub async fn subscribe(url: &str, channel: &str) -> Result<PubSubStream> {
    let (mut sink, stream) = client(url)?.get_async_pubsub().await?.split();
    sink.subscribe(channel).await?;
    Ok(stream)
}

/// Waits for a message.
///
/// # Errors
/// The connection has ended.
pub async fn next_message(stream: &mut PubSubStream) -> Result<()> {
    stream
        .next()
        .await
        .map(drop)
        .ok_or_else(|| "the subscription has ended".into())
}

fn client(url: &str) -> Result<Client> {
    let info: redis::ConnectionInfo = redis::IntoConnectionInfo::into_connection_info(url)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(3));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    Ok(Client::open(info.set_tcp_settings(settings))?)
}

async fn load(connection: &mut MultiplexedConnection, script: &str) -> Result<String> {
    let mut load = Cmd::new();
    load.arg("SCRIPT").arg("LOAD").arg(script);
    Ok(load.query_async(connection).await?)
}

struct FloorSession {
    connection: MultiplexedConnection,
    lock: String,
    unlock: String,
    acquire: String,
    release: String,
}

impl Session for FloorSession {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Pair {
            connection: self.connection.clone(),
            first: eval(&self.lock, &format!("floor:lock:{{{name}}}"), &[LEASE_MS]),
            second: eval(&self.unlock, &format!("floor:lock:{{{name}}}"), &[]),
        })))
    }

    fn permit(&self, name: &str, permits: u32) -> Result<Option<Arc<dyn Lock>>> {
        let key = format!("floor:semaphore:{{{name}}}");
        Ok(Some(Arc::new(Pair {
            connection: self.connection.clone(),
            first: eval(&self.acquire, &key, &[LEASE_MS, permits]),
            second: eval(&self.release, &key, &[]),
        })))
    }
}

/// The request is made once and sent as it is: the floor owns nothing but one name.
fn eval(hash: &str, key: &str, numbers: &[u32]) -> Cmd {
    let mut command = Cmd::new();
    command
        .arg("EVALSHA")
        .arg(hash)
        .arg(1)
        .arg(key)
        .arg("owner-of-22-characters.1");
    for number in numbers {
        command.arg(*number);
    }
    command
}

/// Two scripts, one after the other.
struct Pair {
    connection: MultiplexedConnection,
    first: Cmd,
    second: Cmd,
}

impl Pair {
    async fn acquire(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        expect_one(connection.send_packed_command(&self.first).await?)
    }

    async fn release(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        expect_one(connection.send_packed_command(&self.second).await?)
    }
}

impl Lock for Pair {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        let mut connection = self.connection.clone();
        cycles!(count, {
            self.acquire(&mut connection).await?;
            self.release(&mut connection).await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            self.acquire(&mut connection).await?;
            Ok(Held::new(
                move || async move { self.release(&mut connection).await },
            ))
        })
    }
}

fn expect_one(reply: Value) -> Result<()> {
    match reply {
        Value::Int(1) => Ok(()),
        other => Err(format!("a bare script replied {other:?}").into()),
    }
}
