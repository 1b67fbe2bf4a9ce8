//! The reentrant mutex.

use std::time::{Duration, Instant};

use latchwork_core::kit::{
    Guard, Primitive, PrimitiveOptions, Shell, Wait, builder_options, for_purpose, guard_type,
    lock_by_its_methods, run,
};
use latchwork_core::{Client, FencingToken, LockInfo, Name, Owner, Result, Ticket};

use crate::futures::{ReentrantLock, TryReentrantLock};
use crate::mutex::KIND;

/// A mutex that its owner may lock again: in the same task, another task, or another process.
///
/// Who the owner is says an explicit [`Owner`], never the thread or task. Each guard is a hold of its own, with its own
/// lease; the lock is free when the last of them is gone. **Guards of one owner do not exclude each other**: whoever shares
/// an owner has to agree by other means. The fencing token stays the same until the last guard of the owner is gone.
///
/// An owner that holds it overtakes the queue: otherwise it would wait for itself. While it waits, all its waiters have one
/// place and get the lock together. Different owners wait in the order of their arrival. When a process dies, its own
/// holds end with their leases, and those of the same owner elsewhere stay.
///
/// Two owners that each hold one of two locks and wait for the other wait forever. This is not detected.
/// A client that has waited for a lease for what it holds itself says so once in its log (`warn`).
///
/// It is the same lock as a [`Mutex`](crate::Mutex) and a [`FairMutex`](crate::FairMutex) of the same name: they exclude
/// each other, and wait in one queue.
///
/// # Examples
/// ```no_run
/// # use latchwork_mutex::{Client, Owner, ReentrantMutex};
/// # async fn example(client: Client) -> Result<(), latchwork_mutex::Error> {
/// let ledger = ReentrantMutex::new(&client, "ledger")?;
/// let owner = Owner::new();
///
/// let outer = ledger.lock(&owner).await?;
/// let inner = ledger.lock(&owner).await?; // at once
/// assert_eq!(outer.fencing_token(), inner.fencing_token());
/// inner.unlock().await?;
/// outer.unlock().await // now it is free
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReentrantMutex {
    primitive: Primitive,
}

impl ReentrantMutex {
    /// A reentrant mutex with default options. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, ReentrantMutex};
    /// # fn example(client: &Client) -> Result<(), latchwork_mutex::Error> {
    /// let ledger = ReentrantMutex::new(client, "ledger")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>) -> Result<Self> {
        Self::builder(client, name).build()
    }

    /// A reentrant mutex with options. There is no token floor: a re-entry has the token of the first hold, whatever the
    /// floor.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, ReentrantMutex};
    /// # use std::time::Duration;
    /// # fn example(client: &Client) -> Result<(), latchwork_mutex::Error> {
    /// let ledger = ReentrantMutex::builder(client, "ledger")
    ///     .lease(Duration::from_secs(30))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>) -> ReentrantMutexBuilder {
        ReentrantMutexBuilder {
            client: client.clone(),
            name: name.as_ref().to_vec(),
            options: PrimitiveOptions::default(),
        }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        self.primitive.name()
    }

    /// The same mutex with an owner: a handle with the verbs of a [`Mutex`](crate::Mutex).
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex) -> Result<(), latchwork_mutex::Error> {
    /// let ours = ledger.with_owner(&Owner::new());
    /// let outer = ours.lock().await?;
    /// let inner = ours.lock().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_owner(&self, owner: &Owner) -> OwnedHandle {
        OwnedHandle {
            primitive: self.primitive.with_owner(*owner),
            owner: *owner,
        }
    }

    /// Waits until the owner may have the lock; at once if it has it already.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already.
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](ReentrantMutexBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt: its place in the queue is lost, a grant on its way goes to the next
    /// waiter, and within a round trip nothing of it is left.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// let guard = ledger.lock(&owner).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock(&self, owner: &Owner) -> ReentrantLock {
        self.with_owner(owner).lock()
    }

    /// Takes the lock if the owner has it already, or if it is free: `Ok(None)` if another owner holds it, or waits for it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but never `QueueFull`; `Unavailable` after the operation timeout.
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// let guard = ledger.try_lock(&owner).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock(&self, owner: &Owner) -> TryReentrantLock {
        self.with_owner(owner).try_lock()
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
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// let guard = ledger.try_lock_for(&owner, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_for(&self, owner: &Owner, wait: Duration) -> TryReentrantLock {
        self.with_owner(owner).try_lock_for(wait)
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
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let guard = ledger.try_lock_until(&owner, deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_until(&self, owner: &Owner, deadline: Instant) -> TryReentrantLock {
        self.with_owner(owner).try_lock_until(deadline)
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
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// let booked = ledger.run(&owner, async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<T>(
        &self,
        owner: &Owner,
        body: impl AsyncFnOnce(&ReentrantMutexGuard) -> T,
    ) -> Result<T> {
        self.with_owner(owner).run(body).await
    }

    /// Runs `body` if the owner can have the lock now: `Ok(None)` if not. See [`run`](Self::run).
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// let booked = ledger.try_run(&owner, async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run<T>(
        &self,
        owner: &Owner,
        body: impl AsyncFnOnce(&ReentrantMutexGuard) -> T,
    ) -> Result<Option<T>> {
        self.with_owner(owner).try_run(body).await
    }

    /// Continues a hold of this owner that was turned into a ticket, in this or another process.
    ///
    /// The ticket comes from `into_ticket` of a guard of the same owner. If several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold, or another owner. `Lost` if its hold has ended or was resumed
    /// by somebody else. After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](ReentrantMutexBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(ledger: latchwork_mutex::ReentrantMutex, owner: latchwork_mutex::Owner) -> Result<(), latchwork_mutex::Error> {
    /// let text = ledger.lock(&owner).await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = ledger.resume(&owner, &text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume(&self, owner: &Owner, ticket: &Ticket) -> Result<ReentrantMutexGuard> {
        self.with_owner(owner).resume(ticket).await
    }

    /// How many holds the owner has now, in all processes; zero: it does not hold the lock.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Owner, ReentrantMutex};
    /// # async fn example(ledger: ReentrantMutex, owner: Owner) -> Result<(), latchwork_mutex::Error> {
    /// println!("locked {} times", ledger.holds(&owner).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn holds(&self, owner: &Owner) -> Result<u32> {
        self.primitive.holds_of(owner).await
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
    /// # async fn example(mutex: latchwork_mutex::ReentrantMutex) -> Result<(), latchwork_mutex::Error> {
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
    /// # async fn example(mutex: latchwork_mutex::ReentrantMutex) -> Result<(), latchwork_mutex::Error> {
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
    /// # async fn example(mutex: latchwork_mutex::ReentrantMutex) -> Result<(), latchwork_mutex::Error> {
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

/// A [`ReentrantMutex`] with an owner. See [`ReentrantMutex::with_owner`].
#[derive(Debug, Clone)]
pub struct OwnedHandle {
    primitive: Primitive,
    owner: Owner,
}

impl OwnedHandle {
    /// The name.
    pub fn name(&self) -> &Name {
        self.primitive.name()
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// See [`ReentrantMutex::lock`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::lock`].
    pub fn lock(&self) -> ReentrantLock {
        ReentrantLock::new(self.primitive.acquire(Wait::Forever))
    }

    /// See [`ReentrantMutex::try_lock`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::try_lock`].
    pub fn try_lock(&self) -> TryReentrantLock {
        TryReentrantLock::new(self.primitive.acquire(Wait::Try))
    }

    /// See [`ReentrantMutex::try_lock_for`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::try_lock_for`].
    pub fn try_lock_for(&self, wait: Duration) -> TryReentrantLock {
        TryReentrantLock::new(self.primitive.acquire(Wait::for_duration(wait)))
    }

    /// See [`ReentrantMutex::try_lock_until`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::try_lock_until`].
    pub fn try_lock_until(&self, deadline: Instant) -> TryReentrantLock {
        TryReentrantLock::new(self.primitive.acquire(Wait::Until(deadline)))
    }

    /// See [`ReentrantMutex::run`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::run`].
    pub async fn run<T>(&self, body: impl AsyncFnOnce(&ReentrantMutexGuard) -> T) -> Result<T> {
        run(self.lock().await?, body).await
    }

    /// See [`ReentrantMutex::try_run`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::try_run`].
    pub async fn try_run<T>(&self, body: impl AsyncFnOnce(&ReentrantMutexGuard) -> T) -> Result<Option<T>> {
        match self.try_lock().await? {
            Some(guard) => run(guard, body).await.map(Some),
            None => Ok(None),
        }
    }
}

impl OwnedHandle {
    /// See [`ReentrantMutex::resume`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::resume`].
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](ReentrantMutexBuilder::durability) asks for: then it is given up.
    pub async fn resume(&self, ticket: &Ticket) -> Result<ReentrantMutexGuard> {
        let resumed = self.primitive.resume(ticket).await;
        resumed.map(ReentrantMutexGuard::from_guard)
    }

    /// See [`ReentrantMutex::holds`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::holds`].
    pub async fn holds(&self) -> Result<u32> {
        self.primitive.holds_of(&self.owner).await
    }

    /// See [`ReentrantMutex::is_locked`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::is_locked`].
    pub async fn is_locked(&self) -> Result<bool> {
        self.primitive.is_locked().await
    }

    /// See [`ReentrantMutex::inspect`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::inspect`].
    pub async fn inspect(&self) -> Result<LockInfo> {
        self.primitive.inspect().await
    }

    /// See [`ReentrantMutex::force_unlock`].
    ///
    /// # Errors
    /// As [`ReentrantMutex::force_unlock`].
    pub async fn force_unlock(&self) -> Result<bool> {
        self.primitive.force_unlock().await
    }
}

lock_by_its_methods!(OwnedHandle, lock, try_lock_until);

/// One hold of an owner. The lock is free when the last of them is gone.
///
/// As a [`MutexGuard`](crate::MutexGuard), but guards of one owner do not exclude each other.
#[must_use = "the hold is given up when the guard is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct ReentrantMutexGuard {
    guard: Guard,
}

guard_type!(
    ReentrantMutexGuard,
    "latchwork_mutex::ReentrantMutexGuard",
    unlock,
    unlock_after
);

impl ReentrantMutexGuard {
    /// Whose hold it is.
    pub fn owner(&self) -> &Owner {
        self.guard.owner()
    }

    /// The token: the same for all holds of the owner until the last is gone, and higher than that of every earlier owner.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_mutex::{Client, Fence, ReentrantMutexGuard};
    /// # async fn example(client: Client, guard: ReentrantMutexGuard) -> Result<(), latchwork_mutex::Error> {
    /// let stock = Fence::new(&client, "stock")?;
    /// stock.set(guard.fencing_token(), "41").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fencing_token(&self) -> FencingToken {
        self.guard.fencing_token()
    }
}

/// Options of a [`ReentrantMutex`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct ReentrantMutexBuilder {
    client: Client,
    name: Vec<u8>,
    options: PrimitiveOptions,
}

for_purpose!(ReentrantMutex, "latchwork_mutex::ReentrantMutex", primitive);
for_purpose!(OwnedHandle, "latchwork_mutex::OwnedHandle", primitive);
builder_options!(ReentrantMutexBuilder);

impl ReentrantMutexBuilder {
    /// The reentrant mutex. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn build(self) -> Result<ReentrantMutex> {
        let primitive = Primitive::new(&self.client, KIND, &self.name, &self.options)?;
        Ok(ReentrantMutex { primitive })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    fn guard<T: std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<ReentrantMutex>();
    handle::<OwnedHandle>();
    handle::<ReentrantMutexBuilder>();
    guard::<ReentrantMutexGuard>();
}
