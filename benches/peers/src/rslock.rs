//! `rslock`: Redlock, here with one server. Polls; no renewal; the lease is the caller's.

use std::sync::Arc;
use std::time::Duration;

use latchwork_benches::contender::{Held, Library, Lock, Session, Work};
use latchwork_benches::{Result, cycles};
use rslock::LockManager;

/// Longer than any work: nobody renews it.
const LEASE: Duration = Duration::from_secs(120);

pub struct Rslock;

impl Library for Rslock {
    fn name(&self) -> &'static str {
        "rslock"
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let session: Box<dyn Session> = Box::new(Client(LockManager::new(vec![url])));
            Ok(session)
        })
    }
}

struct Client(LockManager);

impl Session for Client {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(Mutex {
            manager: self.0.clone(),
            name: name.to_owned(),
        })))
    }
}

struct Mutex {
    manager: LockManager,
    name: String,
}

impl Lock for Mutex {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        cycles!(count, {
            let guard = self.manager.acquire(self.name.as_str(), LEASE).await?;
            guard.release().await;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let guard = self.manager.acquire(self.name.as_str(), LEASE).await?;
            Ok(Held::new(|| async {
                guard.release().await;
                Ok(())
            }))
        })
    }
}
