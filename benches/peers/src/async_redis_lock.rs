//! `async-redis-lock`: polls every 100 ms; a task for each guard renews it every second.

use std::sync::Arc;
use std::time::Duration;

use async_redis_lock::{Locker, Options};
use latchwork_benches::contender::{Held, Library, Lock, Session, Work};
use latchwork_benches::{Result, cycles};

pub struct AsyncRedisLock;

impl Library for AsyncRedisLock {
    fn name(&self) -> &'static str {
        "async-redis-lock"
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let locker = Locker::from_redis_url(url).await?;
            let session: Box<dyn Session> = Box::new(Client(locker));
            Ok(session)
        })
    }
}

struct Client(Locker);

impl Session for Client {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Mutex {
            locker: self.0.clone(),
            options: Options::new().timeout(None),
            name: name.to_owned(),
        })))
    }
}

struct Mutex {
    locker: Locker,
    options: Options,
    name: String,
}

impl Mutex {
    async fn acquire(&self) -> Result<async_redis_lock::Lock> {
        Ok(self
            .locker
            .acquire_with_options(&self.options, self.name.as_str())
            .await?)
    }
}

impl Lock for Mutex {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        cycles!(count, {
            self.acquire().await?.release().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let lock = self.acquire().await?;
            Ok(Held::new(|| async { Ok(lock.release().await?) }))
        })
    }
}
