//! `rlock`: polls every 100 ms; renews.

use std::sync::Arc;
use std::time::Duration;

use latchwork_benches::contender::{Held, Library, Lock, Session, Work};
use latchwork_benches::{Result, cycles};
use rlock::async_lock::RLock;

pub struct Rlock;

impl Library for Rlock {
    fn name(&self) -> &'static str {
        "rlock"
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let session: Box<dyn Session> = Box::new(Client(RLock::new(url).await?));
            Ok(session)
        })
    }
}

struct Client(RLock);

impl Session for Client {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Mutex {
            client: self.0.clone(),
            name: name.to_owned(),
        })))
    }

    fn reader(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Reader {
            client: self.0.clone(),
            name: name.to_owned(),
        })))
    }
}

macro_rules! lock {
    ($name:ident, $acquire:ident) => {
        struct $name {
            client: RLock,
            name: String,
        }

        impl Lock for $name {
            fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
                cycles!(count, {
                    self.client.$acquire(&self.name).await?.release().await?;
                })
            }

            fn hold(self: Arc<Self>) -> Work<'static, Held> {
                Box::pin(async move {
                    let mut guard = self.client.$acquire(&self.name).await?;
                    Ok(Held::new(move || async move { Ok(guard.release().await?) }))
                })
            }
        }
    };
}

lock!(Mutex, acquire_mutex);
lock!(Reader, acquire_read);
