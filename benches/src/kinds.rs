//! The kinds of locks and permits that the bench of costs compares.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use latchwork::{Client, FairMutex, Mutex, Owner, Rate, ReentrantMutex, RwLock, Semaphore};

use crate::contender::{Held, Lock, Work};
use crate::{Result, cycles};

/// A rate that delays nobody: only its cost is measured.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

/// A primitive, and how it is used.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Kind {
    /// The name in the results.
    pub name: &'static str,
    /// Makes the lock of one task; the number identifies the task.
    make: Make,
    /// Makes a lock that takes the whole capacity.
    whole: Make,
}

type Make = fn(&Client, &str, u32) -> Result<Turns>;

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A lock that may take something else each turn.
struct Turns {
    hold: Box<dyn Fn(u32) -> Work<'static, Held> + Send + Sync>,
    turn: AtomicU32,
}

impl Lock for Turns {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        cycles!(count, {
            Arc::clone(&self).hold().await?.release().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        (self.hold)(self.turn.fetch_add(1, Ordering::Relaxed))
    }
}

/// `turns!(|turn| <future of a guard>, <its release>)`.
macro_rules! turns {
    (|$turn:ident| $acquire:expr, $release:ident) => {
        Turns {
            hold: Box::new(move |$turn| {
                let acquire = $acquire;
                Box::pin(async move {
                    let guard = acquire.await?;
                    Ok(Held::new(|| async { Ok(guard.$release().await?) }))
                })
            }),
            turn: AtomicU32::new(0),
        }
    };
}

fn writer(client: &Client, name: &str, _who: u32) -> Result<Turns> {
    let lock = RwLock::new(client, name)?;
    Ok(turns!(|_turn| lock.write(), unlock))
}

fn one_write_in_ten(client: &Client, name: &str, who: u32) -> Result<Turns> {
    let lock = RwLock::new(client, name)?;
    let (read, write) = (turns!(|_turn| lock.read(), unlock), writer(client, name, who)?);
    let of_both = move |turn: u32| {
        let one = if (turn + who).is_multiple_of(10) {
            &write
        } else {
            &read
        };
        (one.hold)(turn)
    };
    Ok(Turns {
        hold: Box::new(of_both),
        turn: AtomicU32::new(0),
    })
}

fn with_a_rate(client: &Client, name: &str) -> Result<Semaphore> {
    let rate = Rate::per_second(PER_SECOND).burst(PER_SECOND);
    Ok(Semaphore::builder(client, name, 3).rate(rate).build()?)
}

impl Kind {
    /// The kind that the others are compared with.
    pub const MUTEX: Self = Self::exclusive("mutex", |client, name, _| {
        let mutex = Mutex::new(client, name)?;
        Ok(turns!(|_turn| mutex.lock(), unlock))
    });

    /// A semaphore without a rate.
    pub const SEMAPHORE: Self = Self::shared(
        "semaphore-1-of-3",
        |client, name, _| {
            let semaphore = Semaphore::new(client, name, 3)?;
            Ok(turns!(|_turn| semaphore.acquire(), release))
        },
        |client, name, _| {
            let semaphore = Semaphore::new(client, name, 3)?;
            Ok(turns!(|_turn| semaphore.acquire_many(3), release))
        },
    );

    /// All kinds, the mutex first.
    pub const ALL: [Self; 11] = [
        Self::MUTEX,
        Self::exclusive("fair", |client, name, _| {
            let fair = FairMutex::new(client, name)?;
            Ok(turns!(|_turn| fair.lock(), unlock))
        }),
        Self::exclusive("fair-two-priorities", |client, name, who| {
            let fair = FairMutex::new(client, name)?.with_priority(i8::from(who % 2 == 1));
            Ok(turns!(|_turn| fair.lock(), unlock))
        }),
        Self::exclusive("rwlock-writers", writer),
        Self::shared("rwlock-one-write-in-ten", one_write_in_ten, writer),
        Self::exclusive("rwlock-upgradable", |client, name, _| {
            let lock = RwLock::new(client, name)?;
            Ok(turns!(|_turn| lock.upgradable_read(), unlock))
        }),
        Self::exclusive("reentrant", |client, name, _| {
            let (mutex, owner) = (ReentrantMutex::new(client, name)?, Owner::new());
            Ok(turns!(|_turn| mutex.lock(&owner), unlock))
        }),
        Self::exclusive("semaphore-1-of-1", |client, name, _| {
            let semaphore = Semaphore::new(client, name, 1)?;
            Ok(turns!(|_turn| semaphore.acquire(), release))
        }),
        Self::SEMAPHORE,
        Self::shared(
            "semaphore-1-to-3-of-5",
            |client, name, who| {
                let semaphore = Semaphore::new(client, name, 5)?;
                Ok(turns!(
                    |turn| semaphore.acquire_many(1 + (turn + who) % 3),
                    release
                ))
            },
            |client, name, _| {
                let semaphore = Semaphore::new(client, name, 5)?;
                Ok(turns!(|_turn| semaphore.acquire_many(5), release))
            },
        ),
        Self::shared(
            "semaphore-with-a-rate",
            |client, name, _| {
                let semaphore = with_a_rate(client, name)?;
                Ok(turns!(|_turn| semaphore.acquire(), release))
            },
            |client, name, _| {
                let semaphore = with_a_rate(client, name)?;
                Ok(turns!(|_turn| semaphore.acquire_many(3), release))
            },
        ),
    ];

    /// A kind of which every turn takes the whole capacity.
    const fn exclusive(name: &'static str, make: Make) -> Self {
        Self {
            name,
            make,
            whole: make,
        }
    }

    const fn shared(name: &'static str, make: Make, whole: Make) -> Self {
        Self { name, make, whole }
    }

    /// Returns the lock of one task.
    ///
    /// # Errors
    /// The name or the options are refused.
    pub fn lock(&self, client: &Client, name: &str, who: u32) -> Result<Arc<dyn Lock>> {
        Ok(Arc::new((self.make)(client, name, who)?))
    }

    /// Returns a lock that takes the whole capacity.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn whole(&self, client: &Client, name: &str) -> Result<Arc<dyn Lock>> {
        Ok(Arc::new((self.whole)(client, name, 0)?))
    }
}
