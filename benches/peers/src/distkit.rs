//! `distkit`: polls every 50 ms; a task for each guard renews it. A handle is one owner, so every task has its own.

use std::sync::Arc;
use std::time::Duration;

use distkit::DistkitRedisKey;
use distkit::lock::{LockOptions, Mutex, RwLock};
use latchwork_benches::contender::{Held, Library, Lock, Session, Work};
use latchwork_benches::{Result, cycles};
use redis::aio::ConnectionManager;

pub struct Distkit;

impl Library for Distkit {
    fn name(&self) -> &'static str {
        "distkit"
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let connection = redis::Client::open(url)?.get_connection_manager().await?;
            let session: Box<dyn Session> = Box::new(Client(connection));
            Ok(session)
        })
    }
}

struct Client(ConnectionManager);

impl Client {
    fn options(&self, name: &str) -> Result<LockOptions> {
        Ok(LockOptions::new(
            DistkitRedisKey::new(name.to_owned())?,
            self.0.clone(),
        ))
    }
}

impl Session for Client {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Exclusive(Mutex::new(self.options(name)?)))))
    }

    fn reader(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Reader(RwLock::new(self.options(name)?)))))
    }
}

macro_rules! lock {
    ($name:ident, $of:ty, $acquire:ident) => {
        struct $name(Arc<$of>);

        impl Lock for $name {
            fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
                cycles!(count, {
                    self.0.$acquire().await?.release().await?;
                })
            }

            fn hold(self: Arc<Self>) -> Work<'static, Held> {
                Box::pin(async move {
                    let guard = self.0.$acquire().await?;
                    Ok(Held::new(|| async {
                        guard.release().await?;
                        Ok(())
                    }))
                })
            }
        }
    };
}

lock!(Exclusive, Mutex, lock);
lock!(Reader, RwLock, read);
