//! The mutex and its builder.

use std::time::{Duration, Instant};

use latchwork_core::kit::{
    Primitive, PrimitiveOptions, Shell, Wait, builder_options, for_purpose, lock_by_its_methods, run,
};
use latchwork_core::{Client, FencingToken, LockInfo, Name, Result, Ticket};

use crate::futures::{MutexLock, TryMutexLock};
use crate::guard::MutexGuard;

/// The kind in the key. A `Mutex`, `FairMutex` and `ReentrantMutex` with the same name are the same
/// lock.
pub(crate) const KIND: &str = "lock";

/// A mutex shared by every process that uses the same server, key prefix and name.
///
/// The value is a handle: a client, a name and options. It is cheap to clone and has no identity of
/// its own: two handles with the same name are the same lock, in one process or in two. A guard
/// proves that nobody else holds the lock for as long as its hold is valid. See [`MutexGuard`].
///
/// Responsive waiters are served in the order in which they reach the server.
///
/// This lock is not reentrant: a task that holds a guard and asks for another one waits forever, as
/// do two tasks that each hold one of two locks and wait for the other. This is not detected. A client
/// that has waited for a lease for what it holds itself says so once in its log (`warn`).
///
/// # Examples
///
/// ```no_run
/// # use latchwork_mutex::{Client, Mutex};
/// # async fn example(client: Client) -> Result<(), latchwork_mutex::Error> {
/// let mutex = Mutex::new(&client, "orders")?;
/// let token = mutex
///     .run(async |guard| {
///         // Dropped at an await if the hold is lost: then `run` returns an error.
///         guard.fencing_token().get()
///     })
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Mutex {
    primitive: Primitive,
}

impl Mutex {
    /// Creates a mutex with default options. Nothing is sent.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, Mutex};
    /// # fn example(client: &Client) -> Result<(), latchwork_mutex::Error> {
    /// let by_text = Mutex::new(client, "orders")?;
    /// let by_bytes = Mutex::new(client, [0xde, 0xad])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>) -> Result<Self> {
        Self::builder(client, name).build()
    }

    /// Creates a mutex with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, Mutex};
    /// # use std::time::Duration;
    /// # fn example(client: &Client) -> Result<(), latchwork_mutex::Error> {
    /// let mutex = Mutex::builder(client, "orders")
    ///     .lease(Duration::from_secs(30))
    ///     .max_hold(Duration::from_secs(600))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>) -> MutexBuilder {
        MutexBuilder {
            client: client.clone(),
            name: name.as_ref().to_vec(),
            options: PrimitiveOptions::default(),
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &Name {
        self.primitive.name()
    }

    /// Acquires the lock, waiting until it is available.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already. `Invalid` if the server refuses the
    /// [`token_floor`](MutexBuilder::token_floor).
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](MutexBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt. It loses its place in the queue, a grant that is on
    /// its way goes to the next waiter, and after a round trip nothing of the attempt is left.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let guard = mutex.lock().await?;
    /// println!("mine, with token {}", guard.fencing_token());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock(&self) -> MutexLock {
        MutexLock::new(self.primitive.acquire(Wait::Forever))
    }

    /// Acquires the lock if it is free. Returns `Ok(None)` if it is held or waited for.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `QueueFull`; `Unavailable` after the operation timeout.
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// if let Some(guard) = mutex.try_lock().await? {
    ///     // do the work
    /// } else {
    ///     // somebody else is doing it
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock(&self) -> TryMutexLock {
        TryMutexLock::new(self.primitive.acquire(Wait::Try))
    }

    /// Acquires the lock, waiting for at most `wait`. Returns `Ok(None)` if it stays busy.
    ///
    /// The time runs from this call. With a zero duration this is a single try.
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
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let Some(guard) = mutex.try_lock_for(Duration::from_secs(5)).await? else {
    ///     return Ok(()); // busy for five seconds
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_for(&self, wait: Duration) -> TryMutexLock {
        TryMutexLock::new(self.primitive.acquire(Wait::for_duration(wait)))
    }

    /// Acquires the lock, waiting until `deadline` at most. See
    /// [`try_lock_for`](Self::try_lock_for).
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
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let guard = mutex.try_lock_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_until(&self, deadline: Instant) -> TryMutexLock {
        TryMutexLock::new(self.primitive.acquire(Wait::Until(deadline)))
    }

    /// Runs `body` under the lock, and drops it at an await if the hold is lost.
    ///
    /// The lock is released when the body is done. If the release is not answered but the hold was
    /// valid to the end, the result is still `Ok`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// Dropping the future drops the body and releases the lock.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn charge() -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), Box<dyn std::error::Error>> {
    /// mutex.run(async |_guard| charge().await).await??;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<T>(&self, body: impl AsyncFnOnce(&MutexGuard) -> T) -> Result<T> {
        run(self.lock().await?, body).await
    }

    /// Runs `body` if the lock is free. Returns `Ok(None)` if it is busy. See [`run`](Self::run).
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let done = mutex.try_run(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run<T>(&self, body: impl AsyncFnOnce(&MutexGuard) -> T) -> Result<Option<T>> {
        match self.try_lock().await? {
            Some(guard) => run(guard, body).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns whether the lock is held now.
    ///
    /// The answer may be outdated by the time it arrives. To decide, use
    /// [`try_lock`](Self::try_lock).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// println!("busy: {}", mutex.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_locked(&self) -> Result<bool> {
        self.primitive.is_locked().await
    }

    /// Returns the holders and the waiters.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
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

    /// Takes the lock away from its holder. Returns `false` if nobody held it.
    ///
    /// The holder is notified at once, and the next waiter gets the lock. The holder goes on until
    /// the notification arrives. Use this for a holder that is known to be dead or stuck, and let
    /// the resource check fencing tokens.
    ///
    /// The old holder's writes pass a [`Fence`](crate::Fence) until the next holder's token was admitted there (by
    /// [`Fence::admit`](crate::Fence::admit), or a write).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). After `Unavailable`, the lock may
    /// or may not have been taken away.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lock may or may not be taken away.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// if mutex.force_unlock().await? {
    ///     println!("its holder is notified");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn force_unlock(&self) -> Result<bool> {
        self.primitive.force_unlock().await
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
    /// the [`token_floor`](MutexBuilder::token_floor). `Lost` if somebody else has forced the lock
    /// open before the answer. After `Unavailable`, the old hold may have been ended. If the
    /// attempt has an effect all the same, it is undone.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](MutexBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// The old hold may or may not be ended. Dropping the future releases what it took.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, Fence, Mutex};
    /// # async fn example(client: Client, mutex: Mutex) -> Result<(), latchwork_mutex::Error> {
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
    /// The ticket comes from [`MutexGuard::into_ticket`]. The fencing token stays the same. If
    /// several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold, or if its token is not above the
    /// [`token_floor`](MutexBuilder::token_floor) of this handle. `Lost` if its hold has ended or
    /// was resumed by somebody else. After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](MutexBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(mutex: latchwork_mutex::Mutex) -> Result<(), latchwork_mutex::Error> {
    /// let text = mutex.lock().await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = mutex.resume(&text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume(&self, ticket: &Ticket) -> Result<MutexGuard> {
        self.primitive.resume(ticket).await.map(MutexGuard::from_guard)
    }
}

lock_by_its_methods!(Mutex, lock, try_lock_until);

/// Options of a [`Mutex`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct MutexBuilder {
    client: Client,
    name: Vec<u8>,
    options: PrimitiveOptions,
}

for_purpose!(Mutex, "latchwork_mutex::Mutex", primitive);
builder_options!(MutexBuilder);

impl MutexBuilder {
    /// Fencing tokens will be above this one: the highest that the resource has seen. It keeps them rising even if the
    /// server has lost its state and its clock was set back. Defaults to none.
    ///
    /// The server refuses a floor that is more than a day ahead of its clock, because that is seldom a token of its own, and
    /// every later token would be above it. Then each acquire returns [`ErrorKind::Invalid`](crate::ErrorKind::Invalid). So
    /// after the clock was set back by more than a day, the lock can only be acquired without the floor, or once the clock
    /// has come within a day of it.
    pub fn token_floor(mut self, floor: FencingToken) -> Self {
        self.options.token_floor = Some(floor);
        self
    }

    /// The mutex. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn build(self) -> Result<Mutex> {
        let primitive = Primitive::new(&self.client, KIND, &self.name, &self.options)?;
        Ok(Mutex { primitive })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<Mutex>();
    handle::<MutexBuilder>();
}
