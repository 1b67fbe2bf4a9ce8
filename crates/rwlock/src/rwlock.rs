//! The read-write lock and its builder.

use std::time::{Duration, Instant};

use latchwork_core::kit::{
    MAX_HEAD_START, Primitive, PrimitiveOptions, Shell, Wait, builder_options, for_purpose, run,
};
use latchwork_core::{Client, FencingToken, LockInfo, Name, Result, Ticket};

use crate::futures::{
    RwLockRead, RwLockUpgradableRead, RwLockWrite, TryRwLockRead, TryRwLockUpgradableRead, TryRwLockWrite,
};
use crate::guard::{RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard};
use crate::side::{ReadLock, WriteLock};

/// The whole: what the writer takes. So many may read at once.
const ALL: u32 = 999_999;
/// What a reader takes.
pub(crate) const READ: u32 = 1;
/// What the upgradable reader takes: more than half, so there is one.
pub(crate) const UPGRADABLE: u32 = 500_000;

/// Who goes first when readers and writers wait.
///
/// It is the policy of a handle, and counts for its attempts: handles of one name should agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RwPolicy {
    /// In the order of arrival; readers that stand next to each other go together. Nobody starves.
    #[default]
    Fair,
    /// Writers go before waiting readers, in the order of arrival among themselves. Readers starve while writers keep coming.
    PreferWriters,
    /// Readers go before waiting writers, and join readers that are in. Writers starve while readers keep coming.
    PreferReaders,
}

/// A read-write lock that all processes share which use the same server, prefix and name: any number of readers, or one
/// writer.
///
/// A handle: a client, a name, options. Cheap to clone, and without an identity of its own. At most 999 999 read at once,
/// and 499 999 beside an upgradable reader.
///
/// One task that asks again for what it holds waits for itself, as with tokio: a reader that wants to write has to give its
/// share back first, or to begin as an [upgradable](Self::upgradable_read) one. Even a second `read` can wait forever behind a
/// writer that waits for the first. This is not detected, because
/// holds have no kinship. A client that has waited for a lease for what it holds itself says so once in its log (`warn`).
///
/// # Examples
/// ```no_run
/// # use latchwork_rwlock::{Client, RwLock};
/// # async fn example(client: Client) -> Result<(), latchwork_rwlock::Error> {
/// let config = RwLock::new(&client, "config")?;
/// let value = config.run_read(async |_guard| 42).await?;
/// config.run_write(async |guard| guard.fencing_token()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RwLock {
    readers: Primitive,
    upgradable: Primitive,
    writers: Primitive,
}

impl RwLock {
    /// A read-write lock with default options. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_rwlock::{Client, RwLock};
    /// # fn example(client: &Client) -> Result<(), latchwork_rwlock::Error> {
    /// let config = RwLock::new(client, "config")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>) -> Result<Self> {
        Self::builder(client, name).build()
    }

    /// A read-write lock with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_rwlock::{Client, RwLock, RwPolicy};
    /// # fn example(client: &Client) -> Result<(), latchwork_rwlock::Error> {
    /// let config = RwLock::builder(client, "config")
    ///     .policy(RwPolicy::PreferWriters)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>) -> RwLockBuilder {
        let mut options = PrimitiveOptions::default();
        options.capacity = ALL;
        options.weight = ALL;
        RwLockBuilder {
            client: client.clone(),
            name: name.as_ref().to_vec(),
            options,
            policy: RwPolicy::Fair,
        }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        self.writers.name()
    }

    /// The reading side, for whoever takes a [`Lock`](crate::dynamic::Lock).
    pub fn read_lock(&self) -> ReadLock {
        ReadLock(self.clone())
    }

    /// The writing side, for whoever takes a [`Lock`](crate::dynamic::Lock).
    pub fn write_lock(&self) -> WriteLock {
        WriteLock(self.clone())
    }

    /// Waits for a share.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already.
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](RwLockBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt: its place in the queue is lost, a grant on its way goes to the next
    /// waiter, and within a round trip nothing of it is left.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.read().await?;
    /// guard.unlock().await
    /// # }
    /// ```
    pub fn read(&self) -> RwLockRead {
        RwLockRead::new(self.readers.acquire(Wait::Forever))
    }

    /// Takes a share if it can be had now: `Ok(None)` if not, or if somebody waits.
    ///
    /// # Errors
    /// As [`read`](Self::read), but never `QueueFull`; `Unavailable` after the operation timeout.
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.try_read().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_read(&self) -> TryRwLockRead {
        TryRwLockRead::new(self.readers.acquire(Wait::Try))
    }

    /// Waits for a share this long at most: `Ok(None)` if it could not be had until then. Zero is one try.
    ///
    /// The time runs from this call.
    ///
    /// # Errors
    /// As [`read`](Self::read), with `Unavailable` if the server does not respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.try_read_for(Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_read_for(&self, wait: Duration) -> TryRwLockRead {
        TryRwLockRead::new(self.readers.acquire(Wait::for_duration(wait)))
    }

    /// Waits for a share until `deadline` at most. See [`try_read_for`](Self::try_read_for).
    ///
    /// # Errors
    /// As [`try_read_for`](Self::try_read_for).
    ///
    /// # Cancel safety
    /// As [`read`](Self::read).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let guard = config.try_read_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_read_until(&self, deadline: Instant) -> TryRwLockRead {
        TryRwLockRead::new(self.readers.acquire(Wait::Until(deadline)))
    }

    /// Waits for the upgradable share.
    ///
    /// Others read beside it, and there is one of it at a time.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already.
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](RwLockBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt: its place in the queue is lost, a grant on its way goes to the next
    /// waiter, and within a round trip nothing of it is left.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.upgradable_read().await?;
    /// guard.unlock().await
    /// # }
    /// ```
    pub fn upgradable_read(&self) -> RwLockUpgradableRead {
        RwLockUpgradableRead::new(self.upgradable.acquire(Wait::Forever))
    }

    /// Takes the upgradable share if it can be had now: `Ok(None)` if not, or if somebody waits.
    ///
    /// # Errors
    /// As [`upgradable_read`](Self::upgradable_read), but never `QueueFull`; `Unavailable` after
    /// the operation timeout.
    ///
    /// # Cancel safety
    /// As [`upgradable_read`](Self::upgradable_read).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.try_upgradable_read().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_upgradable_read(&self) -> TryRwLockUpgradableRead {
        TryRwLockUpgradableRead::new(self.upgradable.acquire(Wait::Try))
    }

    /// Waits for the upgradable share this long at most: `Ok(None)` if it could not be had until then. Zero is one try.
    ///
    /// The time runs from this call.
    ///
    /// # Errors
    /// As [`upgradable_read`](Self::upgradable_read), with `Unavailable` if the server does not
    /// respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`upgradable_read`](Self::upgradable_read).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.try_upgradable_read_for(Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_upgradable_read_for(&self, wait: Duration) -> TryRwLockUpgradableRead {
        TryRwLockUpgradableRead::new(self.upgradable.acquire(Wait::for_duration(wait)))
    }

    /// Waits for the upgradable share until `deadline` at most. See [`try_upgradable_read_for`](Self::try_upgradable_read_for).
    ///
    /// # Errors
    /// As [`try_upgradable_read_for`](Self::try_upgradable_read_for).
    ///
    /// # Cancel safety
    /// As [`upgradable_read`](Self::upgradable_read).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let guard = config.try_upgradable_read_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_upgradable_read_until(&self, deadline: Instant) -> TryRwLockUpgradableRead {
        TryRwLockUpgradableRead::new(self.upgradable.acquire(Wait::Until(deadline)))
    }

    /// Waits for the whole.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already. `Invalid` if the server refuses the
    /// [`token_floor`](RwLockBuilder::token_floor).
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](RwLockBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt: its place in the queue is lost, a grant on its way goes to the next
    /// waiter, and within a round trip nothing of it is left.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.write().await?;
    /// guard.unlock().await
    /// # }
    /// ```
    pub fn write(&self) -> RwLockWrite {
        RwLockWrite::new(self.writers.acquire(Wait::Forever))
    }

    /// Takes the whole if it can be had now: `Ok(None)` if not, or if somebody waits.
    ///
    /// # Errors
    /// As [`write`](Self::write), but never `QueueFull`; `Unavailable` after the operation timeout.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.try_write().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_write(&self) -> TryRwLockWrite {
        TryRwLockWrite::new(self.writers.acquire(Wait::Try))
    }

    /// Waits for the whole this long at most: `Ok(None)` if it could not be had until then. Zero is one try.
    ///
    /// The time runs from this call.
    ///
    /// # Errors
    /// As [`write`](Self::write), with `Unavailable` if the server does not respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let guard = config.try_write_for(Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_write_for(&self, wait: Duration) -> TryRwLockWrite {
        TryRwLockWrite::new(self.writers.acquire(Wait::for_duration(wait)))
    }

    /// Waits for the whole until `deadline` at most. See [`try_write_for`](Self::try_write_for).
    ///
    /// # Errors
    /// As [`try_write_for`](Self::try_write_for).
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let guard = config.try_write_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_write_until(&self, deadline: Instant) -> TryRwLockWrite {
        TryRwLockWrite::new(self.writers.acquire(Wait::Until(deadline)))
    }

    /// Runs `body` with a share, and drops it at an await when the hold is lost.
    ///
    /// When the body is done the hold is released. If the release is not answered but the hold was valid to the end, the
    /// result is still `Ok`.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// Dropping it drops the body and releases.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let value = config.run_read(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_read<T>(&self, body: impl AsyncFnOnce(&RwLockReadGuard) -> T) -> Result<T> {
        run(self.read().await?, body).await
    }

    /// Runs `body` if a share can be had now: `Ok(None)` if not. See [`run_read`](Self::run_read).
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// As [`run_read`](Self::run_read).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let value = config.try_run_read(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run_read<T>(&self, body: impl AsyncFnOnce(&RwLockReadGuard) -> T) -> Result<Option<T>> {
        match self.try_read().await? {
            Some(guard) => run(guard, body).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs `body` with the upgradable share, and drops it at an await when the hold is lost.
    ///
    /// When the body is done the hold is released. If the release is not answered but the hold was valid to the end, the
    /// result is still `Ok`.
    ///
    /// # Errors
    /// As [`upgradable_read`](Self::upgradable_read), and `Lost` if the hold ends before the body
    /// does.
    ///
    /// # Cancel safety
    /// Dropping it drops the body and releases.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let value = config.run_upgradable_read(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_upgradable_read<T>(
        &self,
        body: impl AsyncFnOnce(&RwLockUpgradableReadGuard) -> T,
    ) -> Result<T> {
        run(self.upgradable_read().await?, body).await
    }

    /// Runs `body` if the upgradable share can be had now: `Ok(None)` if not. See [`run_upgradable_read`](Self::run_upgradable_read).
    ///
    /// # Errors
    /// As [`try_upgradable_read`](Self::try_upgradable_read), and `Lost` if the hold ends before
    /// the body does.
    ///
    /// # Cancel safety
    /// As [`run_upgradable_read`](Self::run_upgradable_read).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let value = config.try_run_upgradable_read(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run_upgradable_read<T>(
        &self,
        body: impl AsyncFnOnce(&RwLockUpgradableReadGuard) -> T,
    ) -> Result<Option<T>> {
        match self.try_upgradable_read().await? {
            Some(guard) => run(guard, body).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs `body` with the whole, and drops it at an await when the hold is lost.
    ///
    /// When the body is done the hold is released. If the release is not answered but the hold was valid to the end, the
    /// result is still `Ok`.
    ///
    /// # Errors
    /// As [`write`](Self::write), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// Dropping it drops the body and releases.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let value = config.run_write(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_write<T>(&self, body: impl AsyncFnOnce(&RwLockWriteGuard) -> T) -> Result<T> {
        run(self.write().await?, body).await
    }

    /// Runs `body` if the whole can be had now: `Ok(None)` if not. See [`run_write`](Self::run_write).
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// As [`run_write`](Self::run_write).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let value = config.try_run_write(async |_guard| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run_write<T>(
        &self,
        body: impl AsyncFnOnce(&RwLockWriteGuard) -> T,
    ) -> Result<Option<T>> {
        match self.try_write().await? {
            Some(guard) => run(guard, body).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether anybody reads or writes now. By the time you read it, it may be otherwise: to decide, use
    /// [`try_read`](Self::try_read) or [`try_write`](Self::try_write).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// println!("busy: {}", config.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_locked(&self) -> Result<bool> {
        self.writers.is_locked().await
    }

    /// Who holds it and who waits. Readers are `shared`; the `weight` of an upgradable reader is 500 000.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let info = config.inspect().await?;
    /// let readers = info.holders.iter().filter(|holder| holder.shared).count();
    /// println!("{readers} read, {} wait", info.queue_len);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect(&self) -> Result<LockInfo> {
        self.writers.inspect().await
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
        self.writers.inspect_from(first).await
    }

    /// Takes the lock away from all who hold it, tells them at once, and hands on. `false`: nobody held it.
    ///
    /// They go on until they hear of it. Use it for holders that you know to be dead or stuck, and let the resource check
    /// fencing tokens.
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
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// if config.force_unlock().await? {
    ///     println!("they were told");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn force_unlock(&self) -> Result<bool> {
        self.writers.force_unlock().await
    }

    /// Continues a share that was turned into a ticket, in this or another process.
    ///
    /// The ticket comes from `into_ticket` of [`RwLockReadGuard`](crate::RwLockReadGuard). If several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold. `Lost` if its hold has ended or was resumed by somebody else.
    /// After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](RwLockBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let text = config.read().await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = config.resume_read(&text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume_read(&self, ticket: &Ticket) -> Result<RwLockReadGuard> {
        self.readers.resume(ticket).await.map(RwLockReadGuard::from_guard)
    }

    /// Continues an upgradable share that was turned into a ticket, in this or another process.
    ///
    /// The ticket comes from `into_ticket` of [`RwLockUpgradableReadGuard`](crate::RwLockUpgradableReadGuard). If several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold. `Lost` if its hold has ended or was resumed by somebody else.
    /// After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](RwLockBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let text = config.upgradable_read().await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = config.resume_upgradable_read(&text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume_upgradable_read(&self, ticket: &Ticket) -> Result<RwLockUpgradableReadGuard> {
        self.upgradable
            .resume(ticket)
            .await
            .map(RwLockUpgradableReadGuard::from_guard)
    }

    /// Continues a write hold that was turned into a ticket, in this or another process.
    ///
    /// The ticket comes from `into_ticket` of [`RwLockWriteGuard`](crate::RwLockWriteGuard). If several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold, or if its token is not above the
    /// [`token_floor`](RwLockBuilder::token_floor) of this handle. `Lost` if its hold has ended or
    /// was resumed by somebody else. After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](RwLockBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(config: latchwork_rwlock::RwLock) -> Result<(), latchwork_rwlock::Error> {
    /// let text = config.write().await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = config.resume_write(&text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume_write(&self, ticket: &Ticket) -> Result<RwLockWriteGuard> {
        self.writers
            .resume(ticket)
            .await
            .map(RwLockWriteGuard::from_guard)
    }
}

/// Options of a [`RwLock`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct RwLockBuilder {
    client: Client,
    name: Vec<u8>,
    options: PrimitiveOptions,
    policy: RwPolicy,
}

for_purpose!(RwLock, "latchwork_rwlock::RwLock", readers, upgradable, writers);
builder_options!(RwLockBuilder);

impl RwLockBuilder {
    /// Who goes first when readers and writers wait. Defaults to [`RwPolicy::Fair`].
    pub fn policy(mut self, policy: RwPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Fencing tokens of writers will be above this one: the highest that the resource has seen. It keeps them rising even
    /// if the server has lost its state and its clock was set back. It counts for upgrades as well. Defaults to none.
    ///
    /// The server refuses a floor that is more than a day ahead of its clock. Then writes and upgrades return
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    pub fn token_floor(mut self, floor: FencingToken) -> Self {
        self.options.token_floor = Some(floor);
        self
    }

    /// The read-write lock. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn build(self) -> Result<RwLock> {
        let writers = Primitive::new(&self.client, "rwlock", &self.name, &self.options)?;
        let readers = match self.policy {
            RwPolicy::PreferReaders => writers.with_head_start(MAX_HEAD_START),
            RwPolicy::Fair | RwPolicy::PreferWriters => writers.clone(),
        };
        Ok(RwLock {
            readers: readers.with_weight(READ),
            upgradable: readers.with_weight(UPGRADABLE),
            writers: match self.policy {
                RwPolicy::PreferWriters => writers.with_head_start(MAX_HEAD_START),
                RwPolicy::Fair | RwPolicy::PreferReaders => writers,
            },
        })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<RwLock>();
    handle::<RwLockBuilder>();
    handle::<ReadLock>();
    handle::<WriteLock>();
}
