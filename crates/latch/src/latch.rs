//! The countdown latch and its builder.

use std::time::{Duration, Instant};

use latchwork_core::kit::{Latch, LatchCall, LatchOptions, OnMissing, Wait};
use latchwork_core::{Client, Error, LatchInfo, Name, OnMismatch, Result};

use crate::futures::{LatchWait, TryLatchWait};

/// A countdown latch that all processes share which use the same server, prefix and name: who waits goes on when the count
/// has come to zero.
///
/// A handle: a client, a name, options. Cheap to clone, and without an identity of its own. The latch itself is at the
/// server. The first call of a handle with a count ([`new`](Self::new)) makes it; from then on a handle with another count
/// gets [`Mismatch`](crate::ErrorKind::Mismatch), unless it [adopts](CountdownLatchBuilder::on_mismatch) what there is, or until [`reset`](Self::reset) is called with another number, after which
/// the handles' numbers do not matter. A handle without one ([`open`](Self::open)) never makes a latch.
///
/// At zero it stays: who comes later passes at once, as long as the latch is remembered, which is a day unless
/// [`keep`](CountdownLatchBuilder::keep) says otherwise. After that a handle with a count makes a new one, and one without
/// finds none. A latch that is not at zero is forgotten a day after the last count-down, wait or reset; as long as somebody
/// waits, it stays.
///
/// # Examples
///
/// ```no_run
/// # use latchwork_latch::{Client, CountdownLatch};
/// # async fn example(client: Client) -> Result<(), latchwork_latch::Error> {
/// let loaded = CountdownLatch::new(&client, "shards-loaded", 3)?;
/// if loaded.count_down().await? == 0 {
///     println!("that was the last one");
/// }
/// loaded.wait().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CountdownLatch {
    latch: Latch,
}

impl CountdownLatch {
    /// A latch that begins with this count, with default options. Local: nothing is sent. A count of zero is a latch that
    /// lets everybody pass.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_latch::{Client, CountdownLatch};
    /// # fn example(client: &Client) -> Result<(), latchwork_latch::Error> {
    /// let loaded = CountdownLatch::new(client, "shards-loaded", 3)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, name: impl AsRef<[u8]>, count: u32) -> Result<Self> {
        Self::builder(client, name, count).build()
    }

    /// A latch that somebody else makes, with default options. Local: nothing is sent. While there is none, every call says
    /// [`NoSuchLatch`](crate::ErrorKind::NoSuchLatch).
    ///
    /// # Errors
    /// `Invalid` if the name is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_latch::{Client, CountdownLatch};
    /// # async fn example(client: &Client) -> Result<(), latchwork_latch::Error> {
    /// let loaded = CountdownLatch::open(client, "shards-loaded")?;
    /// println!("{} to go", loaded.count().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(client: &Client, name: impl AsRef<[u8]>) -> Result<Self> {
        Self::opener(client, name).build()
    }

    /// A latch that begins with this count, with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_latch::{Client, CountdownLatch};
    /// # use std::time::Duration;
    /// # fn example(client: &Client) -> Result<(), latchwork_latch::Error> {
    /// let loaded = CountdownLatch::builder(client, "shards-loaded", 3)
    ///     .keep(Duration::from_secs(60))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, name: impl AsRef<[u8]>, count: u32) -> CountdownLatchBuilder {
        CountdownLatchBuilder::new(client, name.as_ref(), OnMissing::Create(count))
    }

    /// A latch that somebody else makes, with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_latch::{Client, CountdownLatch};
    /// # async fn example(client: &Client) -> Result<(), latchwork_latch::Error> {
    /// let loaded = CountdownLatch::opener(client, "shards-loaded")
    ///     .wait_for_creation(true)
    ///     .build()?;
    /// loaded.wait().await?; // until somebody has made it, and it came to zero
    /// # Ok(())
    /// # }
    /// ```
    pub fn opener(client: &Client, name: impl AsRef<[u8]>) -> CountdownLatchBuilder {
        CountdownLatchBuilder::new(client, name.as_ref(), OnMissing::Fail)
    }

    /// The name.
    pub const fn name(&self) -> &Name {
        self.latch.name()
    }

    /// Counts down by one; says what is left. At zero it stays there, and says so.
    ///
    /// It counts once, however often its request has to be sent. When it says `Unavailable`, it is not known whether it did:
    /// another call might count again. If that matters, use [`count_down_once`](Self::count_down_once).
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after` (10 s); it may or may not have counted. `Mismatch`
    /// if the latch was made with another count. `NoSuchLatch` if nobody has made it, and this
    /// handle has no count. `Reset` if it has counted, and the latch was reset before the answer
    /// came.
    ///
    /// # Cancel safety
    /// When it is dropped it may have counted or not. What has not reached the server by the time that the end of the call
    /// does, will not count, after a reset neither. If more than a thousand tasks wait, the last count-down lets them go in
    /// several requests. Those that it has not reached when it is dropped pass within 3 s.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// let left = latch.count_down().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count_down(&self) -> Result<u32> {
        self.count_down_by(1).await
    }

    /// Counts down by `n`, or to zero if less is left; says what is left then.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down), and `Invalid` for zero.
    ///
    /// # Cancel safety
    /// As [`count_down`](Self::count_down).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// let left = latch.count_down_by(5).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count_down_by(&self, n: u32) -> Result<u32> {
        answer(self.latch.count_down(n, false)?).await
    }

    /// Counts down by one, once in a generation for this `id`, whoever calls: the same process again after a restart, or
    /// another that does the same work. Says what is left.
    ///
    /// The id is any 1 to 512 bytes. The server keeps the ids that counted, at most as many as the count was, until the latch
    /// comes to zero, is reset, or is forgotten.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down), and `Invalid` for an id that is empty or longer than
    /// 512 bytes. After `Unavailable` call it again.
    ///
    /// # Cancel safety
    /// When it is dropped it may have counted or not; call it again to be sure.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// let left = latch.count_down_once("shard-1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count_down_once(&self, id: impl AsRef<[u8]>) -> Result<u32> {
        answer(self.latch.count_down_once(id.as_ref())?).await
    }

    /// What is left. By the time you read it, it may be less.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` after the operation
    /// timeout. `Mismatch` if the latch was made with another count. `NoSuchLatch` if nobody has
    /// made it, and this handle has no count.
    ///
    /// # Cancel safety
    /// Cancel safe: it counts nothing. It may make the latch.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// println!("{} to go", latch.count().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count(&self) -> Result<u32> {
        answer(self.latch.count()).await
    }

    /// Waits until the count is zero. It waits for the generation that the server finds at its first answer.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` if the server gives
    /// no usable answer for `unavailable_after`. `QueueFull` at once if too many wait already.
    /// `Mismatch` if the latch was made with another count. `NoSuchLatch` if nobody has made it,
    /// and this handle has no count; also if the server has lost it. `Reset` if the latch is reset
    /// before it comes to zero.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws its place; nothing else is changed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// latch.wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> LatchWait {
        LatchWait::new(self.latch.wait(Wait::Forever))
    }

    /// Whether the count is zero.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    ///
    /// # Cancel safety
    /// As [`count`](Self::count).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// if latch.try_wait().await? {
    ///     println!("all done");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_wait(&self) -> TryLatchWait {
        TryLatchWait::new(self.latch.wait(Wait::Try))
    }

    /// Waits this long at most: `false` if the count was not zero until then. A wait of zero is [`try_wait`](Self::try_wait).
    ///
    /// The time runs from this call.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), with `Unavailable` if the server does not respond within `wait`.
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// if !latch.try_wait_for(Duration::from_secs(5)).await? {
    ///     println!("not all done in five seconds");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_wait_for(&self, wait: Duration) -> TryLatchWait {
        TryLatchWait::new(self.latch.wait(Wait::for_duration(wait)))
    }

    /// Waits until `deadline` at most. See [`try_wait_for`](Self::try_wait_for).
    ///
    /// # Errors
    /// As [`try_wait_for`](Self::try_wait_for).
    ///
    /// # Cancel safety
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// let done = latch.try_wait_until(Instant::now() + Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_wait_until(&self, deadline: Instant) -> TryLatchWait {
        TryLatchWait::new(self.latch.wait(Wait::Until(deadline)))
    }

    /// Counts down by one and waits for zero: in one step at the server, and one request if that was the last.
    ///
    /// # Errors
    /// As [`count_down`](Self::count_down) and [`wait`](Self::wait). After `QueueFull`, nothing was
    /// counted.
    ///
    /// # Cancel safety
    /// As [`count_down`](Self::count_down), and its place is withdrawn.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// latch.count_down_and_wait().await?; // here we are, all together
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count_down_and_wait(&self) -> Result<()> {
        LatchWait::new(self.latch.count_down(1, true)?).await
    }

    /// Begins a new generation with this count. Those who wait for the present one, if it is not at zero, get
    /// [`Reset`](crate::ErrorKind::Reset) at once; ids of [`count_down_once`](Self::count_down_once) count anew. If nobody has
    /// made the latch, a handle with a count makes it, with the count that is given here.
    ///
    /// Two resets are two generations: agree on who calls it.
    ///
    /// A reset to another count is accepted by all handles, whatever their count. A reset to the
    /// count that the latch has is only the next round: a handle with another count still gets
    /// [`Mismatch`](crate::ErrorKind::Mismatch), so that a latch that is used in rounds goes on
    /// noticing it.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `NoSuchLatch` if nobody has made
    /// the latch, and this handle has no count. After `Unavailable`, it may or may not have
    /// happened.
    ///
    /// # Cancel safety
    /// It may or may not happen. If more than a thousand tasks wait, those that it has not reached when it is dropped get
    /// [`Reset`](crate::ErrorKind::Reset) within 3 s.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// latch.reset(3).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reset(&self, count: u32) -> Result<()> {
        answer(self.latch.reset(count)).await.map(drop)
    }

    /// What is left, which generation it is, and who waits. Makes nothing.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `NoSuchLatch` if nobody has
    /// made the latch.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(latch: latchwork_latch::CountdownLatch) -> Result<(), latchwork_latch::Error> {
    /// let info = latch.inspect().await?;
    /// println!("{} of {} to go, {} wait", info.count, info.initial_count, info.waiting);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect(&self) -> Result<LatchInfo> {
        self.latch.inspect().await
    }
}

/// What is left, of a call that does not wait.
async fn answer(call: LatchCall) -> Result<u32> {
    call.await?.ok_or_else(Error::no_deadline)
}

/// Options of a [`CountdownLatch`].
#[derive(Debug, Clone)]
#[must_use = "call `build`"]
pub struct CountdownLatchBuilder {
    client: Client,
    name: Vec<u8>,
    options: LatchOptions,
}

impl CountdownLatchBuilder {
    fn new(client: &Client, name: &[u8], on_missing: OnMissing) -> Self {
        Self {
            client: client.clone(),
            name: name.to_vec(),
            options: LatchOptions::new(on_missing),
        }
    }

    /// How long a latch that this handle brings to zero is remembered from that moment: 1 s to 30 days. Defaults to 24 h.
    ///
    /// It is remembered at least for as long as a copy of a count-down may be under way, which would make a new latch: the
    /// client's `unavailable_after` and a second, 11 s by default, from the last count-down.
    pub const fn keep(mut self, keep: Duration) -> Self {
        self.options.keep = keep;
        self
    }

    /// What a call does if the latch was made with another count: see [`OnMismatch`]. Defaults to [`OnMismatch::Error`].
    ///
    /// With [`OnMismatch::Adopt`] the handle takes part in the latch that there is, and its own count is for making one.
    /// [`OnMismatch::Set`] is refused by [`build`](Self::build): what others have counted was counted towards the count that
    /// the latch has, and those who wait rely on it. Call [`reset`](CountdownLatch::reset) for a new one.
    pub const fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.options.on_mismatch = on_mismatch;
        self
    }

    /// If set, `wait` and its `try_` forms treat a latch that nobody has made as one that is not at zero: `wait` waits,
    /// `try_wait` returns `Ok(false)`. Otherwise they return `NoSuchLatch`. The other methods return that in both cases.
    /// Without meaning for a handle with a count, which makes it. Defaults to `false`.
    pub const fn wait_for_creation(mut self, wait: bool) -> Self {
        self.options.on_missing = match self.options.on_missing {
            OnMissing::Fail | OnMissing::Wait if wait => OnMissing::Wait,
            OnMissing::Fail | OnMissing::Wait => OnMissing::Fail,
            makes => makes,
        };
        self
    }

    /// The latch. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn build(self) -> Result<CountdownLatch> {
        let latch = Latch::new(&self.client, &self.name, &self.options)?;
        Ok(CountdownLatch { latch })
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn handle<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    handle::<CountdownLatch>();
    handle::<CountdownLatchBuilder>();
}
