//! A peer that fails must not end the run: its errors say whose they are, and the run goes on without it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use latchwork::Algorithm;

use crate::Result;
use crate::contender::{Held, Library, Lock, Session, Work};

/// A library that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Whose error it is.
    pub(crate) library: &'static str,
    error: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.library, self.error)
    }
}

impl Error for Failed {}

/// The same library, whose errors say that they are its own.
pub(crate) struct Blamed(pub(crate) Arc<dyn Library>);

async fn blame<T>(library: &'static str, work: Work<'_, T>) -> Result<T> {
    work.await.map_err(|error| Failed { library, error }.into())
}

impl Library for Blamed {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is_ours(&self) -> bool {
        self.0.is_ours()
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let library = self.name();
            let session = blame(library, self.0.connect(url)).await?;
            let session: Box<dyn Session> = Box::new(BlamedSession { library, session });
            Ok(session)
        })
    }
}

struct BlamedSession {
    library: &'static str,
    session: Box<dyn Session>,
}

impl BlamedSession {
    fn wrap(&self, lock: Option<Arc<dyn Lock>>) -> Option<Arc<dyn Lock>> {
        let library = self.library;
        lock.map(|lock| -> Arc<dyn Lock> { Arc::new(BlamedLock { library, lock }) })
    }
}

impl Session for BlamedSession {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.wrap(self.session.mutex(name)?))
    }

    fn reader(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.wrap(self.session.reader(name)?))
    }

    fn permit(&self, name: &str, permits: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.wrap(self.session.permit(name, permits)?))
    }

    fn latch(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.wrap(self.session.latch(name)?))
    }

    fn limiter(&self, name: &str, by: Algorithm, per_second: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.wrap(self.session.limiter(name, by, per_second)?))
    }
}

struct BlamedLock {
    library: &'static str,
    lock: Arc<dyn Lock>,
}

impl Lock for BlamedLock {
    fn prepare(self: Arc<Self>, cycles: usize) -> Work<'static, ()> {
        Box::pin(blame(self.library, Arc::clone(&self.lock).prepare(cycles)))
    }

    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        Box::pin(blame(self.library, Arc::clone(&self.lock).cycles(count)))
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let held = blame(self.library, Arc::clone(&self.lock).hold()).await?;
            Ok(Held::new(move || async move {
                blame(self.library, Box::pin(held.release())).await
            }))
        })
    }
}
