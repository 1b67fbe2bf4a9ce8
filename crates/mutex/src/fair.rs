//! The fair queue lock.

use std::time::{Duration, Instant};

use latchwork_core::kit::{
    Primitive, PrimitiveOptions, Shell, Wait, builder_options, for_purpose, lock_by_its_methods, run,
};
use latchwork_core::{Acquiring, Client, Error, FencingToken, LockInfo, Name, Result, Ticket, TryAcquiring};

use crate::futures::{FairLock, TryFairLock, TryMutexLock};
use crate::guard::MutexGuard;
use crate::mutex::KIND;

/// The default of [`FairMutexBuilder::priority_boost`].
const BOOST: Duration = Duration::from_secs(1);
const LEAST_BOOST: Duration = Duration::from_millis(1);
const MOST_BOOST: Duration = Duration::from_secs(60 * 60);

/// A mutex that *promises* the order: waiters get it as they came to the server, over all clients and processes.
///
/// A waiter keeps its place however long it waits, as long as its process lives; a dead one is skipped. One that is not heard
/// of (it is paused, or cut off) is overtaken by those behind it, and goes first again when it is back.
/// The future says its [`position`](FairLock::position). Priorities move a waiter forward or back
/// ([`with_priority`](Self::with_priority)) by a time, so nobody starves.
///
/// This lock is not reentrant: a task that holds a guard and asks for another one waits forever, as
/// do two tasks that each hold one of two locks and wait for the other. This is not detected. A client
/// that has waited for a lease for what it holds itself says so once in its log (`warn`).
///
/// It is the same lock as a [`Mutex`](crate::Mutex) and a [`ReentrantMutex`](crate::ReentrantMutex) of the same name: they
/// exclude each other, and wait in one queue.
///
/// # Examples
/// ```no_run
/// # use latchwork_mutex::{Client, FairMutex};
/// # async fn example(client: Client) -> Result<(), latchwork_mutex::Error> {
/// let counter = FairMutex::new(&client, "ticket-counter")?;
/// let turn = counter.lock().await?;
/// // served in the order of arrival
/// turn.unlock().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FairMutex {
    primitive: Primitive,
    boost: Duration,
}

impl FairMutex {
    /// A fair mutex with default options. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, FairMutex};
    /// # fn example(client: &Client) -> Result<(), latchwork_mutex::Error> {
    /// let counter = FairMutex::new(client, "ticket-counter")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>) -> Result<Self> {
        Self::builder(client, name).build()
    }

    /// A fair mutex with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, FairMutex};
    /// # use std::time::Duration;
    /// # fn example(client: &Client) -> Result<(), latchwork_mutex::Error> {
    /// let counter = FairMutex::builder(client, "ticket-counter")
    ///     .max_waiters(50)
    ///     .priority_boost(Duration::from_secs(10))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>) -> FairMutexBuilder {
        FairMutexBuilder {
            client: client.clone(),
            name: name.as_ref().to_vec(),
            options: PrimitiveOptions::default(),
            boost: BOOST,
        }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        self.primitive.name()
    }

    /// The same lock, for attempts of this priority: each counts as having come earlier by `priority` times the
    /// [boost](FairMutexBuilder::priority_boost), or later if it is negative. Zero is the default.
    ///
    /// So an attempt of priority 3 and a boost of one second overtakes all of priority 0 that came within the last three
    /// seconds, and none that waits for longer. The time is the server's. Attempts of a [`Mutex`](crate::Mutex) or
    /// [`ReentrantMutex`](crate::ReentrantMutex) of the same name have priority 0; those that came before all fair ones, when
    /// the queue was empty last, count as having come with the first of these.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let turn = counter.with_priority(3).lock().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_priority(&self, priority: i8) -> Self {
        let boost = i64::try_from(self.boost.as_millis()).unwrap_or(i64::MAX);
        Self {
            primitive: self
                .primitive
                .with_head_start(boost.saturating_mul(i64::from(priority))),
            boost: self.boost,
        }
    }

    /// Waits for the lock, in the order of arrival.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already. `Invalid` if the server refuses the
    /// [`token_floor`](FairMutexBuilder::token_floor).
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](FairMutexBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt: its place in the queue is lost, a grant on its way goes to the next
    /// waiter, and within a round trip nothing of it is left.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::pin::pin;
    /// # use futures_util::StreamExt;
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let mut lock = pin!(counter.lock());
    /// let mut positions = lock.positions();
    /// let turn = loop {
    ///     tokio::select! {
    ///         turn = &mut lock => break turn?,
    ///         Some(ahead) = positions.next() => println!("{ahead} before us"),
    ///     }
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock(&self) -> FairLock {
        FairLock::new(Acquiring::new(self.primitive.acquire(Wait::Forever)))
    }

    /// Takes the lock if it is free: `Ok(None)` if somebody holds it or waits for it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `QueueFull`; `Unavailable` after the operation timeout.
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let turn = counter.try_lock().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock(&self) -> TryMutexLock {
        TryAcquiring::new(self.primitive.acquire(Wait::Try))
    }

    /// Waits for the lock this long at most: `Ok(None)` if it was busy until then. Zero is one try.
    ///
    /// The time runs from this call.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), with `Unavailable` if the server does not respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let turn = counter.try_lock_for(Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_for(&self, wait: Duration) -> TryFairLock {
        TryFairLock::new(TryAcquiring::new(
            self.primitive.acquire(Wait::for_duration(wait)),
        ))
    }

    /// Waits for the lock until `deadline` at most. See [`try_lock_for`](Self::try_lock_for).
    ///
    /// # Errors
    /// As [`try_lock_for`](Self::try_lock_for).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let turn = counter.try_lock_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_until(&self, deadline: Instant) -> TryFairLock {
        TryFairLock::new(TryAcquiring::new(self.primitive.acquire(Wait::Until(deadline))))
    }

    /// Runs `body` under the lock, and drops it at an await when the hold is lost. See [`Mutex::run`](crate::Mutex::run).
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// Dropping it drops the body and releases.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let served = counter.run(async |_turn| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<T>(&self, body: impl AsyncFnOnce(&MutexGuard) -> T) -> Result<T> {
        run(self.lock().await?, body).await
    }

    /// Runs `body` if the lock is free: `Ok(None)` if it is not. See [`run`](Self::run).
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let served = counter.try_run(async |_turn| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run<T>(&self, body: impl AsyncFnOnce(&MutexGuard) -> T) -> Result<Option<T>> {
        match self.try_lock().await? {
            Some(guard) => run(guard, body).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether anybody holds it now. By the time you read it, it may be otherwise: to decide, use [`try_lock`](Self::try_lock).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// println!("busy: {}", mutex.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_locked(&self) -> Result<bool> {
        self.primitive.is_locked().await
    }

    /// Who holds it and who waits.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let info = mutex.inspect().await?;
    /// for holder in &info.holders {
    ///     println!("{:?} ({:?}) for {:?}", holder.label, holder.purpose, holder.held_for);
    /// }
    /// println!("{} wait", info.queue_len);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect(&self) -> Result<LockInfo> {
        self.primitive.inspect().await
    }

    /// The same without the first holders and the first waiters, `first` of each: the next page, since 100 of each are
    /// listed. Between two pages, some may come and go.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn inspect_from(&self, first: u64) -> Result<LockInfo> {
        self.primitive.inspect_from(first).await
    }

    /// Takes the lock away from its holder and acquires it, ahead of the queue, in one step.
    ///
    /// Nobody else gets the lock in between. The old holder is notified at once, as by
    /// [`force_unlock`](Self::force_unlock), and its guard reads [`Loss::Forced`](crate::Loss::Forced).
    /// The new token is
    /// higher. Waiters keep their places. Use it for a holder that you know to hang.
    ///
    /// It is an operator's act, and takes the lock at once, also from a hold that is kept: before
    /// its `hold_at_least` or the time of `unlock_after` is over.
    ///
    /// The old holder goes on until it learns of it. Its writes pass a [`Fence`](crate::Fence) until the new token
    /// was admitted there: call [`Fence::admit`](crate::Fence::admit) first.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the server refuses
    /// the [`token_floor`](FairMutexBuilder::token_floor). `Lost` if somebody else has forced the
    /// lock open before the answer. After `Unavailable`, the old hold may have been ended. If the
    /// attempt has an effect all the same, it is undone.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](FairMutexBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// The old hold may or may not be ended. Dropping the future releases what it took.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, Fence, FairMutex};
    /// # async fn example(client: Client, mutex: FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let stock = Fence::new(&client, "stock:42")?;
    /// let guard = mutex.steal().await?;
    /// stock.admit(guard.fencing_token()).await?; // from now on the old holder writes nothing
    /// # Ok(())
    /// # }
    /// ```
    pub async fn steal(&self) -> Result<MutexGuard> {
        self.primitive.steal().await.map(MutexGuard::from_guard)
    }

    /// Continues a hold that was turned into a ticket, in this or another process.
    ///
    /// The ticket comes from `into_ticket` of a guard of this lock. If several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold, or if its token is not above the
    /// [`token_floor`](FairMutexBuilder::token_floor) of this handle. `Lost` if its hold has ended
    /// or was resumed by somebody else. After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](FairMutexBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(counter: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// let text = counter.lock().await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = counter.resume(&text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume(&self, ticket: &Ticket) -> Result<MutexGuard> {
        self.primitive.resume(ticket).await.map(MutexGuard::from_guard)
    }

    /// Takes the lock away from its holder, tells it at once, and hands on. `false`: nobody held it.
    ///
    /// The holder goes on until it hears of it. Use it for a holder that you know to be dead or stuck, and let the
    /// resource check fencing tokens.
    ///
    /// The old holder's writes pass a [`Fence`](crate::Fence) until the next holder's token was admitted there (by
    /// [`Fence::admit`](crate::Fence::admit), or a write).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). After `Unavailable`, the lock may
    /// or may not have been taken away.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::FairMutex) -> Result<(), latchwork_mutex::Error> {
    /// if mutex.force_unlock().await? {
    ///     println!("its holder was told");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn force_unlock(&self) -> Result<bool> {
        self.primitive.force_unlock().await
    }
}

lock_by_its_methods!(FairMutex, lock, try_lock_until);

/// Options of a [`FairMutex`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct FairMutexBuilder {
    client: Client,
    name: Vec<u8>,
    options: PrimitiveOptions,
    boost: Duration,
}

for_purpose!(FairMutex, "latchwork_mutex::FairMutex", primitive);
builder_options!(FairMutexBuilder);

impl FairMutexBuilder {
    /// What one step of [priority](FairMutex::with_priority) is worth: 1 ms to 1 h. Defaults to 1 s. Handles of one name
    /// should agree on it.
    pub fn priority_boost(mut self, boost: Duration) -> Self {
        self.boost = boost;
        self
    }

    /// Fencing tokens will be above this one. Defaults to none. See
    /// [`MutexBuilder::token_floor`](crate::MutexBuilder::token_floor).
    pub fn token_floor(mut self, floor: FencingToken) -> Self {
        self.options.token_floor = Some(floor);
        self
    }

    /// The fair mutex. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn build(self) -> Result<FairMutex> {
        let primitive = Primitive::new(&self.client, KIND, &self.name, &self.options)?.with_head_start(0);
        if !(LEAST_BOOST..=MOST_BOOST).contains(&self.boost) {
            let text = format!(
                "the priority boost is {:?}: it must be between {LEAST_BOOST:?} and {MOST_BOOST:?}",
                self.boost
            );
            return Err(Error::refused(text, primitive.name()));
        }
        Ok(FairMutex {
            primitive,
            boost: self.boost,
        })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<FairMutex>();
    handle::<FairMutexBuilder>();
}
