//! Where the demo plays: a server, a key prefix of its own, and what is read there afterwards.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process;
use std::time::{Duration, Instant};

use latchwork::{Client, LockInfo, Mutex};
use latchwork_testkit::{Error, TestServer, external_url, find_server};
use redis::{Commands, InfoDict};
use tokio::runtime::Builder;

use super::{KEYS_LIVE, Keys, MUTEX, failed};
use crate::Failure;
use crate::doctor::without_password;

/// How long a waiter may be silent until it loses its place (docs/design.md), and a little more.
const PATIENCE: Duration = Duration::from_millis(10_500);

/// How long the server may take to answer.
const PATIENT: Duration = Duration::from_secs(10);

/// A server and a prefix.
pub(super) struct Place {
    pub(super) url: String,
    pub(super) prefix: String,
    /// What the server says it is.
    pub(super) server: String,
    keys: Keys,
    redis: redis::Connection,
    /// `None`: it is somebody's, and is left as it was.
    own: Option<TestServer>,
}

impl Place {
    /// `REDIS_URL`, or a server of our own, fetched if need be.
    pub(super) fn find() -> Result<Self, Failure> {
        let (url, own) = if let Some(url) = external_url() {
            (url, None)
        } else {
            let binary = find_server().map_err(Failure::NoServer)?;
            let server = TestServer::builder().binary(binary).start();
            let server = server.map_err(|error| failed("starting a server", error))?;
            (server.url(), Some(server))
        };
        let random = RandomState::new().build_hasher().finish();
        let prefix = format!("latchwork-demo-{}-{random:x}", process::id());
        let shown = without_password(&url);
        Self::prepare(url, prefix, own).map_err(|error| failed(&shown, error))
    }

    fn prepare(url: String, prefix: String, own: Option<TestServer>) -> redis::RedisResult<Self> {
        let mut redis = redis::Client::open(url.as_str())?.get_connection_with_timeout(PATIENT)?;
        redis.set_read_timeout(Some(PATIENT))?;
        let info: InfoDict = redis::Cmd::new().arg("INFO").arg("server").query(&mut redis)?;
        let valkey: Option<String> = info.get("valkey_version");
        let server = valkey.map_or_else(
            || {
                format!(
                    "Redis {}",
                    info.get::<String>("redis_version").unwrap_or_default()
                )
            },
            |version| format!("Valkey {version}"),
        );
        let keys = Keys::new(&prefix);
        let live = KEYS_LIVE.as_secs();
        // Neither RPUSH nor HINCRBY ends the life of a key that has a TTL, so they get one now.
        let mut seed = redis::pipe();
        seed.set_ex(&keys.counter, 0, live);
        seed.rpush(&keys.tokens, 0);
        seed.expire(&keys.tokens, live.cast_signed());
        seed.hset(&keys.rounds, "seed", 0);
        seed.expire(&keys.rounds, live.cast_signed());
        seed.exec(&mut redis)?;
        Ok(Self {
            url,
            prefix,
            server,
            keys,
            redis,
            own,
        })
    }

    /// How many scripts the server has run, for anybody; `None` if it does not say.
    pub(super) fn script_calls(&mut self) -> Option<u64> {
        let mut ask = redis::Cmd::new();
        ask.arg("INFO").arg("commandstats");
        let info: InfoDict = ask.query(&mut self.redis).ok()?;
        let Some(line) = info.get::<String>("cmdstat_evalsha") else {
            return Some(0);
        };
        let calls = line.strip_prefix("calls=")?.split(',').next()?;
        calls.parse().ok()
    }

    pub(super) fn counter(&mut self) -> Result<u64, Failure> {
        let read = self.redis.get(&self.keys.counter);
        read.map_err(|error| failed("reading the counter", error))
    }

    /// The fencing tokens, in the order in which critical sections were entered.
    pub(super) fn tokens(&mut self) -> Result<Vec<u64>, Failure> {
        let read = self.redis.lrange(&self.keys.tokens, 1, -1); // the first is no token
        read.map_err(|error| failed("reading the tokens", error))
    }

    /// The rounds that the worker finished, as its transactions counted them.
    pub(super) fn rounds(&mut self) -> Result<HashMap<String, u64>, Failure> {
        let read = self.redis.hgetall(&self.keys.rounds);
        read.map_err(|error| failed("reading the rounds", error))
    }

    /// What is left in the lock that should not be, and keys that would live for ever.
    ///
    /// A killed process's waiters keep their places until they were silent for [`PATIENCE`]; somebody who passes then
    /// removes them. So in a short demo they are still there, and only that is said (`Ok` in `.1`).
    pub(super) fn left_behind(
        &mut self,
        killed: Option<(String, Instant)>,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        let stopped = Instant::now();
        let info = self.inspect()?;
        let (dead, too_old) = killed.map_or((None, true), |(label, at)| {
            (Some(label), stopped.duration_since(at) > PATIENCE)
        });
        let holders = info.holders.into_iter().map(|holder| holder.label);
        let waiters = info.waiters.into_iter().map(|waiter| waiter.label);
        let (of_dead, of_others): (Vec<_>, Vec<_>) = holders
            .chain(waiters)
            .partition(|label| label.is_some() && *label == dead);
        let mut left: Vec<String> = of_others
            .into_iter()
            .map(|label| format!("an entry of {}", label.as_deref().unwrap_or("an unknown process")))
            .collect();
        let mut note = None;
        if !of_dead.is_empty() {
            let text = format!("{} entries of the killed process", of_dead.len());
            if too_old {
                left.push(text);
            } else {
                note = Some(format!("{text}, whose time is not over yet"));
            }
        }
        if let Some(server) = &self.own {
            let more = strangers(server, &self.prefix, too_old);
            left.extend(more.map_err(|error| failed("looking at the keys", error))?);
        }
        Ok((left, note))
    }

    fn inspect(&self) -> Result<LockInfo, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed("runtime", error))?;
        let inspected = runtime.block_on(async {
            let client = Client::builder().url(&self.url).prefix(&self.prefix);
            let client = client.label("demo").connect().await?;
            let info = Mutex::new(&client, MUTEX)?.inspect().await?;
            client.close().await;
            Ok(info)
        });
        inspected.map_err(|error: latchwork::Error| failed("inspecting the lock", error))
    }

    /// Removes the demo's own keys; the lock's end by themselves.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        let keys = &self.keys;
        let keys = [&keys.counter, &keys.inside, &keys.tokens, &keys.rounds];
        let deleted: redis::RedisResult<()> = self.redis.del(&keys[..]);
        deleted.map_err(|error| failed("tidying up", error))
    }
}

/// Keys without a TTL and, if all waiters are gone by now, whatever is in a lock's record besides its last token.
fn strangers(server: &TestServer, prefix: &str, all_gone: bool) -> Result<Vec<String>, Error> {
    let mut found = server.leftovers(prefix)?;
    let locks = server.keys(&format!("{prefix}:lock:"))?;
    for key in locks.iter().filter(|_| all_gone) {
        let members = server.dump_zset(key)?.into_iter();
        found.extend(
            members
                .filter(|(member, _)| member != "t1")
                .map(|(member, score)| format!("{member} (score {score}) in {key}")),
        );
    }
    Ok(found)
}
