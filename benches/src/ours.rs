//! Latchwork as one that takes part.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use latchwork::{Algorithm, Client, CountdownLatch, Mutex, Rate, RateLimiter, RwLock, Semaphore};
use redis::aio::MultiplexedConnection;

use crate::contender::{Held, Library, Lock, NOT_PREPARED, Session, Stock, Work, fresh};
use crate::{Result, cycles, floor};

/// Latchwork with its default options.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "it has nothing, and never will")]
pub struct Latchwork;

impl Library for Latchwork {
    fn name(&self) -> &'static str {
        "latchwork"
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let session: Box<dyn Session> = Box::new(OurSession(Client::connect(url).await?));
            Ok(session)
        })
    }
}

struct OurSession(Client);

impl Session for OurSession {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(OurMutex(Mutex::new(&self.0, name)?))))
    }

    fn reader(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(OurReader(RwLock::new(&self.0, name)?))))
    }

    fn permit(&self, name: &str, permits: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(OurPermit(Semaphore::new(&self.0, name, permits)?))))
    }

    fn latch(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(Some(Arc::new(OurLatch {
            client: self.0.clone(),
            name: name.to_owned(),
            stock: Stock::new(),
        })))
    }

    fn limiter(&self, name: &str, by: Algorithm, per_second: u32) -> Result<Option<Arc<dyn Lock>>> {
        let per_second = NonZeroU32::new(per_second).ok_or("a rate of nothing")?;
        let rate = match by {
            Algorithm::Gcra => Rate::per_second(per_second).burst(per_second),
            _ => Rate::per_second(per_second),
        };
        let limiter = RateLimiter::builder(&self.0, name, rate).algorithm(by);
        Ok(Some(Arc::new(OurLimiter(limiter.build()?))))
    }
}

/// The three differ in two words only.
macro_rules! lock {
    ($name:ident, $of:ty, $acquire:ident, $release:ident) => {
        struct $name($of);

        impl Lock for $name {
            fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
                cycles!(count, {
                    self.0.$acquire().await?.$release().await?;
                })
            }

            fn hold(self: Arc<Self>) -> Work<'static, Held> {
                Box::pin(async move {
                    let guard = self.0.$acquire().await?;
                    Ok(Held::new(|| async { Ok(guard.$release().await?) }))
                })
            }
        }
    };
}

lock!(OurMutex, Mutex, lock, unlock);
lock!(OurReader, RwLock, read, unlock);
lock!(OurPermit, Semaphore, acquire, release);

/// A latch for each cycle, made for two, of which one has counted.
struct OurLatch {
    client: Client,
    name: String,
    stock: Stock<CountdownLatch>,
}

async fn count_down(latch: &CountdownLatch, left: u32) -> Result<()> {
    match latch.count_down().await? {
        count if count == left => Ok(()),
        count => Err(format!("{count} left after a count-down to {left}").into()),
    }
}

impl Lock for OurLatch {
    fn prepare(self: Arc<Self>, cycles: usize) -> Work<'static, ()> {
        Box::pin(async move {
            let stock: Result<Vec<_>, _> = (0..cycles)
                .map(|_| CountdownLatch::new(&self.client, fresh(&self.name), 2))
                .collect();
            let stock = stock?;
            try_join_all(stock.iter().map(|latch| count_down(latch, 1))).await?;
            self.stock.put(stock);
            Ok(())
        })
    }

    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        let mut stock = self.stock.take(count);
        cycles!(count, {
            let latch = stock.next().ok_or(NOT_PREPARED)?;
            count_down(&latch, 0).await?;
            latch.wait().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let latch = self.stock.take(1).next().ok_or(NOT_PREPARED)?;
            count_down(&latch, 0).await?;
            Ok(Held::new(move || async move { Ok(latch.wait().await?) }))
        })
    }
}

struct OurLimiter(RateLimiter);

impl OurLimiter {
    async fn ask(&self) -> Result<()> {
        if self.0.try_acquire().await?.allowed {
            return Ok(());
        }
        Err("the limiter let nobody through".into())
    }
}

impl Lock for OurLimiter {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        cycles!(count, {
            self.ask().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            self.ask().await?;
            Ok(Held::new(|| async { Ok(()) })) // it comes back by itself
        })
    }
}

/// Latchwork with a handicap: every cycle sends one request more, which runs a script of a few microseconds. A bench that
/// lets it pass measures nothing.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "it has nothing, and never will")]
pub struct Handicapped;

impl Library for Handicapped {
    fn name(&self) -> &'static str {
        "handicapped"
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn connect<'a>(&'a self, url: &'a str) -> Work<'a, Box<dyn Session>> {
        Box::pin(async move {
            let ours = Latchwork.connect(url).await?;
            let mut extra = floor::connect(url).await?;
            burden(&mut extra).await?; // the first time compiles it
            let session: Box<dyn Session> = Box::new(HandicappedSession { ours, extra });
            Ok(session)
        })
    }
}

struct HandicappedSession {
    ours: Box<dyn Session>,
    extra: MultiplexedConnection,
}

impl HandicappedSession {
    fn with_burden(&self, lock: Option<Arc<dyn Lock>>) -> Option<Arc<dyn Lock>> {
        let extra = self.extra.clone();
        lock.map(|ours| -> Arc<dyn Lock> { Arc::new(HandicappedLock { ours, extra }) })
    }
}

impl Session for HandicappedSession {
    fn mutex(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.with_burden(self.ours.mutex(name)?))
    }

    fn reader(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.with_burden(self.ours.reader(name)?))
    }

    fn permit(&self, name: &str, permits: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.with_burden(self.ours.permit(name, permits)?))
    }

    fn latch(&self, name: &str) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.with_burden(self.ours.latch(name)?))
    }

    fn limiter(&self, name: &str, by: Algorithm, per_second: u32) -> Result<Option<Arc<dyn Lock>>> {
        Ok(self.with_burden(self.ours.limiter(name, by, per_second)?))
    }
}

struct HandicappedLock {
    ours: Arc<dyn Lock>,
    extra: MultiplexedConnection,
}

impl Lock for HandicappedLock {
    fn prepare(self: Arc<Self>, cycles: usize) -> Work<'static, ()> {
        Arc::clone(&self.ours).prepare(cycles)
    }

    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        let mut extra = self.extra.clone();
        cycles!(count, {
            let held = Arc::clone(&self.ours).hold().await?;
            burden(&mut extra).await?;
            held.release().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async move {
            let held = Arc::clone(&self.ours).hold().await?;
            let mut extra = self.extra.clone();
            Ok(Held::new(move || async move {
                burden(&mut extra).await?;
                held.release().await
            }))
        })
    }
}

/// A request that takes the server a while.
async fn burden(connection: &mut MultiplexedConnection) -> Result<()> {
    let mut command = redis::Cmd::new();
    command.arg("EVAL").arg(BURDEN).arg(0);
    connection.send_packed_command(&command).await?;
    Ok(())
}

const BURDEN: &str = "for i = 1, 500 do local _ = i * i end return 1";
