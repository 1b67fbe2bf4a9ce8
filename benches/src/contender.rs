//! What takes part: a library, its clients, its locks. One form for all, so that all are measured by the same code.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use latchwork::Algorithm;

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

    /// Latches: every cycle is the last count-down of one, and a wait for it. See [`Lock::prepare`].
    ///
    /// # Errors
    /// The library refuses the name.
    fn latch(&self, _name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(None)
    }

    /// A rate limiter: every cycle is a call that is let through, and fails if it is not.
    ///
    /// # Errors
    /// The library refuses the name or the rate.
    fn limiter(&self, _name: &str, _by: Algorithm, _per_second: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(None)
    }
}

/// Something to acquire and to release; or what takes its place, where nothing is held: of a latch to count down and to
/// wait, of a limiter to ask.
pub trait Lock: Send + Sync {
    /// Makes what so many cycles use up, so that making it is no part of them. Most use up nothing.
    fn prepare(self: Arc<Self>, _cycles: usize) -> Work<'static, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Acquires and releases `count` times, one after the other, and says how long each time took.
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>>;

    /// Acquires, waiting as long as it takes.
    fn hold(self: Arc<Self>) -> Work<'static, Held>;
}

/// What was [prepared](Lock::prepare) and is not used up yet.
#[derive(Debug)]
pub struct Stock<T>(Mutex<Vec<T>>);

impl<T> Stock<T> {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Adds these.
    pub fn put(&self, new: Vec<T>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    /// So many of them, or what there is; at once, so that no cycle has to ask here.
    pub fn take(&self, count: usize) -> std::vec::IntoIter<T> {
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = stock.len().saturating_sub(count);
        stock.split_off(rest).into_iter()
    }
}

impl<T> Default for Stock<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What is wrong if there is nothing to take.
pub const NOT_PREPARED: &str = "a cycle was not prepared";

/// A name that nothing in this run has had before.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
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
