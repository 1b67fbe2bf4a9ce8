//! The data in Redis that the lock guards: a counter, and marks that show violations.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, InfoDict, RedisResult, SetExpiry, SetOptions};

/// How long the keys outlive a demo that is cut short, in seconds.
const KEEP: u32 = 3600;

/// A connection of its own: the data could be in any other place.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    redis: MultiplexedConnection,
    /// The number that every round increments.
    value: String,
    /// The mark of the task in the critical section.
    inside: String,
    /// A list of fencing tokens, in the order in which tasks entered the critical section.
    tokens: String,
}

impl Counter {
    pub(super) async fn connect(url: &str, prefix: &str) -> RedisResult<Self> {
        // No time limit: a write that timed out may or may not have happened, and the count would
        // prove nothing.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(url)?;
        let redis = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Self {
            redis: redis.await?,
            // One hash tag keeps the keys together in a cluster.
            value: format!("{prefix}:{{demo}}:counter"),
            inside: format!("{prefix}:{{demo}}:inside"),
            tokens: format!("{prefix}:{{demo}}:tokens"),
        })
    }

    /// Enters the critical section; returns the mark of a task that is already there, and the
    /// counter.
    pub(super) async fn enter(&self, mark: &str, token: Option<u64>) -> RedisResult<(Option<String>, u64)> {
        let expiry = SetExpiry::EX(KEEP.into());
        let options = SetOptions::default().get(true).with_expiration(expiry);
        let mut enter = redis::pipe();
        enter.set_options(&self.inside, mark, options);
        if let Some(token) = token {
            enter.rpush(&self.tokens, token).ignore();
            enter.expire(&self.tokens, KEEP.into()).ignore();
        }
        enter.get(&self.value);
        let (other, value): (_, Option<u64>) = enter.query_async(&mut self.redis.clone()).await?;
        Ok((other, value.unwrap_or(0)))
    }

    /// Writes the counter and leaves the critical section; returns the mark that was there.
    pub(super) async fn leave(&self, value: u64) -> RedisResult<Option<String>> {
        let mut leave = redis::pipe();
        leave.set_ex(&self.value, value, KEEP.into()).ignore();
        leave.get_del(&self.inside);
        let (mark,) = leave.query_async(&mut self.redis.clone()).await?;
        Ok(mark)
    }

    pub(super) async fn value(&self) -> RedisResult<u64> {
        let value: Option<u64> = self.redis.clone().get(&self.value).await?;
        Ok(value.unwrap_or(0))
    }

    pub(super) async fn tokens(&self) -> RedisResult<Vec<u64>> {
        self.redis.clone().lrange(&self.tokens, 0, -1).await
    }

    /// Returns how many scripts the server has run for any client.
    pub(super) async fn scripts(&self) -> RedisResult<u64> {
        let mut command = redis::Cmd::new();
        let ask = command.arg("INFO").arg("commandstats");
        let info: InfoDict = ask.query_async(&mut self.redis.clone()).await?;
        let line: String = info.get("cmdstat_evalsha").unwrap_or_default(); // calls=12,usec=340,...
        let calls = line.split(['=', ',']).nth(1);
        Ok(calls.and_then(|calls| calls.parse().ok()).unwrap_or(0))
    }

    pub(super) async fn delete(&self) -> RedisResult<()> {
        let keys = [&self.value, &self.inside, &self.tokens];
        self.redis.clone().del(&keys[..]).await
    }
}
