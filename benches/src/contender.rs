//! What takes part: a library, its clients, its locks. One form for all, so that all are measured by the same code.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Result;

/// A boxed future; made once per round or per hold, never once per timed cycle.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Something that makes clients.
pub trait Library: Send + Sync {
    /// As it is called in the results.
    fn name(&self) -> &'static str;

    /// Whether the bars are for it.
    fn is_ours(&self) -> bool {
        false
    }

    /// Connects a client to the server at `url`. Two clients share no connection.
    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>>;
}

/// A client. What it has not, it answers `None` for, and the row is left out.
pub trait Session: Send + Sync {
    /// A mutex.
    ///
    /// # Errors
    /// The library refuses the name.
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>>;

    /// The read side of a read-write lock.
    ///
    /// # Errors
    /// The library refuses the name.
    fn reader(&self, _name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(None)
    }

    /// One permit of a semaphore.
    ///
    /// # Errors
    /// The library refuses the name or the number.
    fn permit(&self, _name: &str, _permits: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(None)
    }
}

/// Something to acquire and to release.
pub trait Lock: Send + Sync {
    /// Acquires and releases `count` times, one after the other, and says how long each time took.
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>>;

    /// Acquires, waiting as long as it takes.
    fn hold(self: Arc<Self>) -> Work<'static, Held>;
}

/// Releases what is held; returns when the server has answered.
pub type Release = Box<dyn FnOnce() -> Work<'static, ()> + Send>;

/// What is held, until it is released.
pub struct Held(Release);

impl Held {
    /// `release` owns the guard.
    pub fn new<F, W>(release: F) -> Self
    where
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = Result<()>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(release())))
    }

    /// Releases it and waits for the answer.
    ///
    /// # Errors
    /// The server does not say that it was released.
    pub async fn release(self) -> Result<()> {
        (self.0)().await
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// The time of each cycle, from the end of the one before.
#[derive(Debug)]
pub struct Laps {
    laps: Vec<Duration>,
    last: Instant,
}

impl Laps {
    /// Starts the clock.
    pub fn start(count: usize) -> Self {
        Self {
            laps: Vec::with_capacity(count),
            last: Instant::now(),
        }
    }

    /// A cycle is over.
    pub fn lap(&mut self) {
        let now = Instant::now();
        self.laps.push(now - self.last);
        self.last = now;
    }

    /// All of them.
    pub fn finish(self) -> Vec<Duration> {
        self.laps
    }
}

/// The body of [`Lock::cycles`]: a block that is one cycle, in a future that may use `?`.
#[macro_export]
macro_rules! cycles {
    ($count:expr, $cycle:block) => {
        ::std::boxed::Box::pin(async move {
            let mut laps = $crate::contender::Laps::start($count);
            for _ in 0..$count {
                $cycle
                laps.lap();
            }
            Ok(laps.finish())
        })
    };
}
