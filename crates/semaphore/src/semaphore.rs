//! The semaphore and its builder.

use std::time::{Duration, Instant};

use latchwork_core::kit::{Primitive, PrimitiveOptions, Shell, Wait, builder_options, for_purpose, run};
use latchwork_core::{Client, LockInfo, Name, OnMismatch, Rate, Result, Ticket};

use crate::futures::{SemaphoreAcquire, TrySemaphoreAcquire};
use crate::permit::SemaphorePermit;

/// A semaphore that all processes share which use the same server, prefix and name: at most so many permits are out at
/// once.
///
/// A handle: a client, a name, options. Cheap to clone, and without an identity of its own. The number of permits is kept
/// at the server while the semaphore is in use, and for the client's retention (5 min) after that. A handle with another
/// number gets [`Mismatch`](crate::ErrorKind::Mismatch), unless [`on_mismatch`](SemaphoreBuilder::on_mismatch) says otherwise,
/// and until somebody calls [`resize`](Self::resize). From then on the number that was given there counts, and not that of any
/// handle. It is remembered for a day after the last acquire or resize ([`keep`](SemaphoreBuilder::keep)).
///
/// Who waits is served in the order of arrival, whatever it asks for: a large request is not overtaken by small ones. One
/// task that holds permits and waits for more may wait for itself. A client that has waited for a lease for what it holds
/// itself says so once in its log (`warn`).
///
/// Permits have no fencing tokens: several holders are meant to be there at once. Who has to be alone uses a mutex.
///
/// # Examples
///
/// ```no_run
/// # use latchwork_semaphore::{Client, Semaphore};
/// # async fn call() {}
/// # async fn example(client: Client) -> Result<(), latchwork_semaphore::Error> {
/// let calls = Semaphore::new(&client, "calls-to-the-bank", 5)?;
/// calls.run(async |_permit| call().await).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    primitive: Primitive,
}

impl Semaphore {
    /// A semaphore with this many permits and default options. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes, or for zero permits.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_semaphore::{Client, Semaphore};
    /// # fn example(client: &Client) -> Result<(), latchwork_semaphore::Error> {
    /// let calls = Semaphore::new(client, "calls-to-the-bank", 5)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>, permits: u32) -> Result<Self> {
        Self::builder(client, name, permits).build()
    }

    /// A semaphore with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_semaphore::{Client, Semaphore};
    /// # use std::time::Duration;
    /// # fn example(client: &Client) -> Result<(), latchwork_semaphore::Error> {
    /// let calls = Semaphore::builder(client, "calls-to-the-bank", 5)
    ///     .lease(Duration::from_secs(30))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>, permits: u32) -> SemaphoreBuilder {
        let mut options = PrimitiveOptions::default();
        options.capacity = permits;
        options.counted = true;
        SemaphoreBuilder {
            client: client.clone(),
            name: name.as_ref().to_vec(),
            options,
        }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        self.primitive.name()
    }

    fn wait(&self, n: u32) -> SemaphoreAcquire {
        SemaphoreAcquire::new(self.primitive.with_weight(n).acquire(Wait::Forever))
    }

    fn attempt(&self, n: u32, wait: Wait) -> TrySemaphoreAcquire {
        TrySemaphoreAcquire::new(self.primitive.with_weight(n).acquire(wait))
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`; the attempt is undone. `QueueFull` at once if too
    /// many wait already. `Mismatch` if the semaphore was made with another number of permits or
    /// another rate. `TooLate` if it has a rate, and the permit would start later than
    /// [`max_wait`](SemaphoreBuilder::max_wait) from now.
    /// `NotDurable` if the grant does not get as far as
    /// [`durability`](SemaphoreBuilder::durability) asks for.
    ///
    /// # Cancel safety
    /// Dropping the future undoes the attempt: its place in the queue is lost, a grant on its way goes to the next
    /// waiter, and within a round trip nothing of it is left.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire().await?;
    /// permit.release().await
    /// # }
    /// ```
    pub fn acquire(&self) -> SemaphoreAcquire {
        self.wait(1)
    }

    /// Waits for `n` permits, which are had together or not at all.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire). `Invalid` for zero. `TooLarge` if the semaphore does not have
    /// that many, also if a resize takes them away during the wait.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let permit = semaphore.acquire_many(3).await?;
    /// assert_eq!(permit.permits(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many(&self, n: u32) -> SemaphoreAcquire {
        self.wait(n)
    }

    /// Takes a permit if there is one: `Ok(None)` if there is none, or somebody waits.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), but never `QueueFull` or `TooLate`; `Unavailable` after the
    /// operation timeout.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// if let Some(permit) = semaphore.try_acquire().await? {
    ///     // do it
    /// } else {
    ///     // enough others do
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self) -> TrySemaphoreAcquire {
        self.attempt(1, Wait::Try)
    }

    /// Waits for a permit this long at most: `Ok(None)` if there was none until then. Zero is one try.
    ///
    /// The time runs from this call.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), but never `TooLate`; `Unavailable` if the server does not
    /// respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let Some(permit) = semaphore.try_acquire_for(Duration::from_secs(5)).await? else {
    ///     return Ok(()); // busy for five seconds
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_for(&self, wait: Duration) -> TrySemaphoreAcquire {
        self.attempt(1, Wait::for_duration(wait))
    }

    /// Waits for a permit until `deadline` at most. See [`try_acquire_for`](Self::try_acquire_for).
    ///
    /// # Errors
    /// As [`try_acquire_for`](Self::try_acquire_for).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let permit = semaphore.try_acquire_until(deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_until(&self, deadline: Instant) -> TrySemaphoreAcquire {
        self.attempt(1, Wait::Until(deadline))
    }

    /// Takes `n` permits if they are there: `Ok(None)` if not, or if somebody waits.
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many), but never `QueueFull` or `TooLate`; `Unavailable`
    /// after the operation timeout.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let three = semaphore.try_acquire_many(3).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_many(&self, n: u32) -> TrySemaphoreAcquire {
        self.attempt(n, Wait::Try)
    }

    /// Waits for `n` permits this long at most. See [`try_acquire_for`](Self::try_acquire_for).
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many), but never `TooLate`; `Unavailable` if the server
    /// does not respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let three = semaphore.try_acquire_many_for(3, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_many_for(&self, n: u32, wait: Duration) -> TrySemaphoreAcquire {
        self.attempt(n, Wait::for_duration(wait))
    }

    /// Waits for `n` permits until `deadline` at most. See [`try_acquire_for`](Self::try_acquire_for).
    ///
    /// # Errors
    /// As [`try_acquire_many_for`](Self::try_acquire_many_for).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let three = semaphore.try_acquire_many_until(3, deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_many_until(&self, n: u32, deadline: Instant) -> TrySemaphoreAcquire {
        self.attempt(n, Wait::Until(deadline))
    }

    /// Takes all permits that are free, in one step: `Ok(None)` if there is none, or if somebody waits.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](SemaphoreBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// if let Some(all) = semaphore.drain().await? {
    ///     println!("{} were free", all.permits());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self) -> Result<Option<SemaphorePermit>> {
        self.attempt(1, Wait::Drain).await
    }

    /// Runs `body` with a permit, and drops it at an await when the permit is lost.
    ///
    /// When the body is done the permit is released. If the release is not answered but the permit was valid to the end,
    /// the result is still `Ok`.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// Dropping it drops the body and releases.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn charge() -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), Box<dyn std::error::Error>> {
    /// semaphore.run(async |_permit| charge().await).await??;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<T>(&self, body: impl AsyncFnOnce(&SemaphorePermit) -> T) -> Result<T> {
        run(self.acquire().await?, body).await
    }

    /// Runs `body` if there is a permit: `Ok(None)` if not. See [`run`](Self::run).
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire), and `Lost` if the hold ends before the body does.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let done = semaphore.try_run(async |_permit| 42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_run<T>(&self, body: impl AsyncFnOnce(&SemaphorePermit) -> T) -> Result<Option<T>> {
        match self.try_acquire().await? {
            Some(permit) => run(permit, body).await.map(Some),
            None => Ok(None),
        }
    }

    /// How many permits nobody has now. By the time you read it, it may be otherwise: to decide, use
    /// [`try_acquire`](Self::try_acquire). Permits that are free may be meant for somebody who waits for more.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// println!("{} free", semaphore.available_permits().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn available_permits(&self) -> Result<u32> {
        Ok(self.primitive.count().await?.available)
    }

    /// How many permits there are, had or free. If nobody has used the semaphore yet: how many this handle says.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let (all, free) = (semaphore.capacity().await?, semaphore.available_permits().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn capacity(&self) -> Result<u32> {
        Ok(self.primitive.count().await?.capacity)
    }

    /// Sets how many permits there are, for everybody: from now on the numbers of the handles do not matter.
    ///
    /// More: waiters who can go on do so at once. Fewer: nobody loses a permit; new ones are given when enough came back.
    /// A waiter that asks for more than there is now gets `TooLarge` within 3 s, or at once if it is the first, and keeps
    /// nobody waiting.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `Invalid` for zero. After
    /// `Unavailable`, it may or may not have happened.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// semaphore.resize(10).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resize(&self, permits: u32) -> Result<()> {
        self.primitive.resize(permits).await
    }

    /// Sets the rate at which permits start, for everybody: from now on the rates and numbers of the handles do not matter.
    /// `None`: no rate. Permits that were granted keep their start. [`max_wait`](SemaphoreBuilder::max_wait) is that of this handle.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `Invalid` for a rate that
    /// cannot work. After `Unavailable`, it may or may not have happened.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use latchwork_semaphore::Rate;
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// semaphore.set_rate(Some(Rate::per_second(NonZeroU32::MIN))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_rate(&self, rate: Option<Rate>) -> Result<()> {
        self.primitive.set_rate(rate).await
    }

    /// Who has permits and who waits. Every holder is `shared`, and its `weight` is how many it has.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// for holder in &semaphore.inspect().await?.holders {
    ///     println!("{:?} has {}", holder.label, holder.weight);
    /// }
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

    /// Takes all permits away from their holders, tells them at once, and hands on. `false`: nobody had any.
    ///
    /// The holders go on until they hear of it: until then more may be at work than there are permits.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). After `Unavailable`, the permits
    /// may or may not have been taken away.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(semaphore: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// if semaphore.force_release().await? {
    ///     println!("the holders were told");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn force_release(&self) -> Result<bool> {
        self.primitive.force_unlock().await
    }

    /// Continues a hold of permits that was turned into a ticket, in this or another process.
    ///
    /// The ticket comes from `into_ticket` of a permit. If several callers resume the same ticket, one of them succeeds.
    /// A ticket of another kind of primitive, name, prefix or database is refused, and stays as
    /// good as it was. The maximum hold (`max_hold`) goes on counting from the first grant.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Invalid` if the ticket is for
    /// another name or kind of hold. `Lost` if its hold has ended or was resumed by somebody else.
    /// After `Unavailable`, the hold is given up.
    /// `NotDurable` if the hold does not get as far as
    /// [`durability`](SemaphoreBuilder::durability) asks for: then it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(calls: latchwork_semaphore::Semaphore) -> Result<(), latchwork_semaphore::Error> {
    /// let text = calls.acquire_many(3).await?.into_ticket().await?.to_string();
    /// // ... in another process:
    /// let guard = calls.resume(&text.parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume(&self, ticket: &Ticket) -> Result<SemaphorePermit> {
        self.primitive
            .resume(ticket)
            .await
            .map(SemaphorePermit::from_guard)
    }
}

/// Options of a [`Semaphore`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct SemaphoreBuilder {
    client: Client,
    name: Vec<u8>,
    options: PrimitiveOptions,
}

for_purpose!(Semaphore, "latchwork_semaphore::Semaphore", primitive);
builder_options!(SemaphoreBuilder);

impl SemaphoreBuilder {
    /// Limits also how many permits start in a time, in the same step: "at most 5 at once, and 100 per second". A permit that is
    /// granted before it may start counts as had, and `acquire` sleeps until it may; `try_acquire` takes it only if it may
    /// start now, `try_acquire_for` if it may before the deadline. Starts are given in the order of the grants, by GCRA
    /// and the server's clock, with the [burst](Rate::burst) of the rate. No start is given further ahead than one
    /// period of the rate, or [`max_wait`](Self::max_wait): an `acquire` that would need one is refused with `TooLate`. A permit that is dropped before its start gives it back, if nobody has a later one.
    ///
    /// The period is at most 24 h, and the burst comes back within 30 days. The interval between two permits is kept in
    /// quarters of a microsecond, rounded up: by 0.025 % at most at 1 000 per second, by 1 % at 40 000. A rate of which
    /// rounding would cost more than 1 % (3 000 000 per second) is refused.
    ///
    /// All handles of one name need the same rate and [`max_wait`](Self::max_wait), or get
    /// [`Mismatch`](crate::ErrorKind::Mismatch), unless [`on_mismatch`](Self::on_mismatch) says otherwise, and until somebody
    /// calls [`set_rate`](Semaphore::set_rate). Defaults to no rate.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::num::NonZeroU32;
    /// # use latchwork_semaphore::{Client, Rate, Semaphore};
    /// # fn example(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let hundred = NonZeroU32::new(100).ok_or("not zero")?;
    /// let calls = Semaphore::builder(client, "calls-to-the-bank", 5)
    ///     .rate(Rate::per_second(hundred))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rate(mut self, rate: Rate) -> Self {
        self.options.rate = Some(rate);
        self
    }

    /// How far ahead a permit may start by the [`rate`](Self::rate), and therefore how long `acquire` sleeps at most: up to
    /// 24 h. Defaults to one period of the rate. It belongs to the rate: handles have to agree about it, and
    /// [`set_rate`](Semaphore::set_rate) sets it, too.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.options.max_wait = Some(wait);
        self
    }

    /// What an acquire does if the server has another number of permits or another rate: see [`OnMismatch`]. Defaults to
    /// [`OnMismatch::Error`].
    ///
    /// With [`OnMismatch::Set`], the number of permits and the rate have one version, and are set together: permits that are
    /// held stay held, as after [`resize`](Semaphore::resize) and [`set_rate`](Semaphore::set_rate).
    ///
    /// # Examples
    /// A new release with another number, while the old one still runs:
    /// ```no_run
    /// # use latchwork_semaphore::{Client, OnMismatch, Semaphore};
    /// # fn example(client: &Client) -> Result<(), latchwork_semaphore::Error> {
    /// let calls = Semaphore::builder(client, "calls-to-the-bank", 10)
    ///     .on_mismatch(OnMismatch::Set { version: 2 }) // was 5 in version 1
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.options.on_mismatch = on_mismatch;
        self
    }

    /// How long numbers that were set at the server are remembered after the last acquire or change: 1 s to 366 days.
    /// Defaults to 24 h.
    ///
    /// Numbers are set by [`resize`](Semaphore::resize) and [`set_rate`](Semaphore::set_rate), or by a handle with
    /// [`OnMismatch::Set`]. While permits are held or waited for, nothing is forgotten. What the handles say themselves need not
    /// be remembered: such a semaphore is gone from the server the lease and the client's retention (5 min) after its last
    /// use.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.options.keep = keep;
        self
    }

    /// The semaphore. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name, number or option that cannot work.
    pub fn build(self) -> Result<Semaphore> {
        let primitive = Primitive::new(&self.client, "semaphore", &self.name, &self.options)?;
        Ok(Semaphore { primitive })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<Semaphore>();
    handle::<SemaphoreBuilder>();
}
