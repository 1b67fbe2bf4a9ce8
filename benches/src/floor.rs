//! The floor: the same operations with bare scripts, on the same kind of connection that the library has.
//!
//! No queue, no token, no renewal, no idempotence, no retry: nothing that does the job can do less.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use latchwork::Algorithm;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, Value};

use crate::contender::{Held, Library, Lock, NOT_PREPARED, Session, Stock, Work, fresh};
use crate::{Result, cycles};

/// As long as the library's default.
const LEASE_MS: u32 = 10_000;
/// What it calls itself.
const OWNER: &str = "owner-of-22-characters.1";

const LOCK: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end return 0";
pub(crate) const UNLOCK: &str =
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

/// A latch is a number, which lives as long as it was told to when it was made.
const COUNT_DOWN: &str = "return redis.call('DECR', KEYS[1])";
const WAIT: &str = "if tonumber(redis.call('GET', KEYS[1]) or 0) <= 0 then return 1 end return 0";
/// What a count-down cannot do without if it counts once, however often it is asked: when it is too late, whether any are
/// left, a mark of its own that lasts until then, and what is left now. No generations, nobody who waits, no life.
const COUNT_ONCE: &str = "local t = redis.call('TIME')
if t[1] * 1000 + math.floor(t[2] / 1000) > tonumber(ARGV[1]) then return -1 end
if tonumber(redis.call('GET', KEYS[1]) or 0) <= 0 then return 0 end
if not redis.call('SET', KEYS[2], '', 'NX', 'PXAT', ARGV[1]) then return -1 end
return redis.call('DECR', KEYS[1])";
/// The year 2100, ms.
const LATER: u64 = 4_102_444_800_000;
/// As long as a user might want it.
const LATCH_MS: u32 = 3_600_000;

/// The textbook's GCRA: the theoretical arrival time in a string. The increment and the tolerance are in microseconds.
const GCRA: &str = "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1]
if arrival - now > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], arrival, 'PX', ARGV[3])
return 1";
/// The textbook's sliding window: a log of what was let through in a sorted set, by its time. Two calls within a microsecond
/// would count as one; here there are none.
const WINDOW: &str = "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now, now)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1";
const SECOND_US: u32 = 1_000_000;
const SECOND_MS: u32 = 1000;

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
                count_down: load(&mut connection, COUNT_DOWN).await?,
                wait: load(&mut connection, WAIT).await?,
                gcra: load(&mut connection, GCRA).await?,
                window: load(&mut connection, WINDOW).await?,
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

pub(crate) async fn load(connection: &mut MultiplexedConnection, script: &str) -> Result<String> {
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
    count_down: String,
    wait: String,
    gcra: String,
    window: String,
}

impl FloorSession {
    fn lock(&self, first: Step, second: Option<Step>) -> Arc<dyn Lock> {
        let connection = self.connection.clone();
        Arc::new(Bare(connection, Steps { first, second }))
    }
}

impl Session for FloorSession {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        let key = format!("floor:lock:{{{name}}}");
        let lock = Step::new(&self.lock, &key).arg(OWNER).arg(LEASE_MS);
        let unlock = Step::new(&self.unlock, &key).arg(OWNER);
        Ok(Some(self.lock(lock, Some(unlock))))
    }

    fn permit(&self, name: &str, permits: u32) -> Result<Option<Arc<dyn Lock>>> {
        let key = format!("floor:semaphore:{{{name}}}");
        let acquire = Step::new(&self.acquire, &key).arg(OWNER).arg(LEASE_MS);
        let release = Step::new(&self.release, &key).arg(OWNER);
        Ok(Some(self.lock(acquire.arg(permits), Some(release))))
    }

    fn latch(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(BareLatch {
            connection: self.connection.clone(),
            count_down: self.count_down.clone(),
            once: false,
            wait: self.wait.clone(),
            name: name.to_owned(),
            stock: Stock::new(),
        })))
    }

    fn limiter(&self, name: &str, by: Algorithm, per_second: u32) -> Result<Option<Arc<dyn Lock>>> {
        let key = format!("floor:limiter:{{{name}}}");
        let (script, one) = match by {
            Algorithm::Gcra => (&self.gcra, SECOND_US / per_second.max(1)),
            Algorithm::SlidingWindow => (&self.window, per_second),
            _ => return Ok(None),
        };
        let ask = Step::new(script, &key).arg(one).arg(SECOND_US);
        Ok(Some(self.lock(ask.arg(SECOND_MS), None)))
    }
}

/// The least that a latch needs that counts once: to stand beside the floor, with latches only.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub(crate) struct CountsOnce;

impl Library for CountsOnce {
    fn name(&self) -> &'static str {
        "least"
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let mut connection = connect(url).await?;
            let session: Box<dyn Session> = Box::new(CountsOnceSession {
                count_down: load(&mut connection, COUNT_ONCE).await?,
                wait: load(&mut connection, WAIT).await?,
                connection,
            });
            Ok(session)
        })
    }
}

struct CountsOnceSession {
    connection: MultiplexedConnection,
    count_down: String,
    wait: String,
}

impl Session for CountsOnceSession {
    fn mutex(&self, _name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(None)
    }

    fn latch(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(BareLatch {
            connection: self.connection.clone(),
            count_down: self.count_down.clone(),
            once: true,
            wait: self.wait.clone(),
            name: format!("{name}-once"),
            stock: Stock::new(),
        })))
    }
}

/// A script with its arguments, and what it has to reply. The request is made once and sent as it is: the floor owns
/// nothing but one name.
struct Step {
    command: Cmd,
    reply: i64,
}

impl Step {
    fn new(hash: &str, key: &str) -> Self {
        Self::with_keys(hash, &[key])
    }

    fn with_keys(hash: &str, keys: &[&str]) -> Self {
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(hash).arg(keys.len()).arg(keys);
        Self { command, reply: 1 }
    }

    fn arg(mut self, argument: impl redis::ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    async fn run(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        match connection.send_packed_command(&self.command).await? {
            Value::Int(reply) if reply == self.reply => Ok(()),
            other => Err(format!("a bare script replied {other:?}").into()),
        }
    }
}

/// One script, or two, one after the other.
struct Steps {
    first: Step,
    second: Option<Step>,
}

impl Steps {
    async fn finish(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        match &self.second {
            Some(second) => second.run(connection).await,
            None => Ok(()),
        }
    }
}

/// The same steps again and again.
struct Bare(MultiplexedConnection, Steps);

impl Lock for Bare {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        let mut connection = self.0.clone();
        cycles!(count, {
            self.1.first.run(&mut connection).await?;
            self.1.finish(&mut connection).await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let mut connection = self.0.clone();
            self.1.first.run(&mut connection).await?;
            Ok(Held::new(
                move || async move { self.1.finish(&mut connection).await },
            ))
        })
    }
}

/// A number for each cycle, with one left to count.
struct BareLatch {
    connection: MultiplexedConnection,
    count_down: String,
    /// The script is `COUNT_ONCE`.
    once: bool,
    wait: String,
    name: String,
    stock: Stock<Steps>,
}

impl Lock for BareLatch {
    fn prepare(self: Arc<Self>, cycles: usize) -> Work<'static, ()> {
        let mut connection = self.connection.clone();
        Box::pin(async move {
            let mut stock = Vec::with_capacity(cycles);
            let mut make = redis::pipe();
            for _ in 0..cycles {
                let key = format!("floor:latch:{{{}}}", fresh(&self.name));
                make.cmd("SET").arg(&key).arg(1).arg("PX").arg(LATCH_MS);
                let mut first = if self.once {
                    let mark = format!("{key}:{OWNER}");
                    Step::with_keys(&self.count_down, &[&key, &mark]).arg(LATER)
                } else {
                    Step::new(&self.count_down, &key)
                };
                first.reply = 0; // what is left
                let second = Some(Step::new(&self.wait, &key));
                stock.push(Steps { first, second });
            }
            make.query_async::<()>(&mut connection).await?;
            self.stock.put(stock);
            Ok(())
        })
    }

    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        let mut connection = self.connection.clone();
        let mut stock = self.stock.take(count);
        cycles!(count, {
            let latch = stock.next().ok_or(NOT_PREPARED)?;
            latch.first.run(&mut connection).await?;
            latch.finish(&mut connection).await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let latch = self.stock.take(1).next().ok_or(NOT_PREPARED)?;
            let mut connection = self.connection.clone();
            latch.first.run(&mut connection).await?;
            Ok(Held::new(
                move || async move { latch.finish(&mut connection).await },
            ))
        })
    }
}
