//! A worker process of the demo: tasks that increment a counter the wrong way, under the lock or without it.
//!
//! It does what its stdin says (`go`, `hold`, `stop`) and ends when its stdin does, so it never outlives the demo.

use std::future::pending;
use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use latchwork::{Client, Mutex, MutexGuard};
use latchwork_testkit::external_url;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, SetExpiry, SetOptions};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio::time::interval;

use super::said::{Said, Tally};
use super::{KEYS_LIVE, Keys, LEASE, MUTEX, Part, failed};
use crate::Failure;

const REPORT_EVERY: Duration = Duration::from_millis(100);

/// Runs the worker to its end.
pub(crate) fn run(part: &Part) -> Result<(), Failure> {
    // Two threads: with one the engine confirms every hand-off before `lock` resolves, as it must (design.md, rule 7).
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| failed("runtime", error))?;
    runtime.block_on(work(part))
}

/// What all tasks of the process share.
#[derive(Debug)]
struct Bench {
    index: usize,
    keys: Keys,
    /// None of the lock's own connections: the demo's data could be anywhere.
    redis: MultiplexedConnection,
    mutex: Option<Mutex>,
    orders: Orders,
    rounds: AtomicU64,
    overlaps: AtomicU64,
    /// In microseconds.
    wait: AtomicU64,
}

#[derive(Debug, Default)]
struct Orders {
    hold: AtomicBool,
    stop: AtomicBool,
}

async fn work(part: &Part) -> Result<(), Failure> {
    let url = external_url().ok_or_else(|| Failure::Other("REDIS_URL is not set".to_owned()))?;
    let client = if part.lock {
        Some(connect(part, &url).await?)
    } else {
        None
    };
    let mutex = match &client {
        Some(client) => Some(Mutex::new(client, MUTEX).map_err(|error| failed("mutex", error))?),
        None => None,
    };
    let bench = Arc::new(Bench {
        index: part.index,
        keys: Keys::new(&part.prefix),
        redis: connect_data(&url)
            .await
            .map_err(|error| failed("connecting", error))?,
        mutex,
        orders: Orders::default(),
        rounds: AtomicU64::new(0),
        overlaps: AtomicU64::new(0),
        wait: AtomicU64::new(0),
    });
    let (go, mut gone) = watch::channel(false);
    let listener = Arc::clone(&bench);
    thread::spawn(move || obey(&listener.orders, &go));
    say(&Said::Ready);
    if gone.wait_for(|go| *go).await.is_err() {
        return Ok(());
    }

    let mut tasks = JoinSet::new();
    for task in 0..part.tasks {
        tasks.spawn(Arc::clone(&bench).rounds(task));
    }
    let mut report = interval(REPORT_EVERY);
    loop {
        tokio::select! {
            _ = report.tick() => say(&Said::Progress(bench.tally())),
            ended = tasks.join_next() => match ended {
                None => break,
                Some(ended) => ended.map_err(|error| failed("a task", error))??,
            },
        }
    }
    say(&Said::Done(bench.tally()));
    if let Some(client) = client {
        client.close().await;
    }
    Ok(())
}

async fn connect(part: &Part, url: &str) -> Result<Client, Failure> {
    let client = Client::builder()
        .url(url)
        .prefix(&part.prefix)
        .lease(LEASE)
        .label(part.label());
    let client = client.connect().await;
    client.map_err(|error| failed("connecting", error))
}

async fn connect_data(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    // A request that timed out here might be done or not: the count would prove nothing.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    redis::Client::open(url)?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Reads orders until there is nobody left to give any.
fn obey(orders: &Orders, go: &watch::Sender<bool>) {
    for line in io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "go" => drop(go.send_replace(true)),
            "hold" => orders.hold.store(true, Ordering::Relaxed),
            _ => orders.stop.store(true, Ordering::Relaxed),
        }
    }
    process::exit(0);
}

/// Writes a line; ends the process if nobody reads it.
fn say(said: &Said) {
    let mut stdout = io::stdout().lock();
    if writeln!(stdout, "{said}").and_then(|()| stdout.flush()).is_err() {
        process::exit(1);
    }
}

async fn release(guard: Option<MutexGuard>) {
    if let Some(guard) = guard
        && let Err(error) = guard.unlock().await
    {
        say(&Said::Trouble(format!("unlock: {error}")));
    }
}

impl Bench {
    /// One round after the other, until told to stop.
    #[expect(
        clippy::significant_drop_tightening,
        reason = "the guard is moved into its release, which the lint does not see"
    )]
    async fn rounds(self: Arc<Self>, task: usize) -> Result<(), Failure> {
        let mut round = 0_u64;
        while !self.orders.stop.load(Ordering::Relaxed) {
            let guard = self.lock().await?;
            let mark = format!("{}.{task}.{round}", self.index);
            let done = self.critical_section(&mark, guard.as_ref(), task == 0);
            done.await.map_err(|error| failed("the counter", error))?;
            // Before the release: what others build on is finished and counted.
            self.rounds.fetch_add(1, Ordering::Relaxed);
            release(guard).await;
            round += 1;
        }
        Ok(())
    }

    async fn lock(&self) -> Result<Option<MutexGuard>, Failure> {
        let Some(mutex) = &self.mutex else {
            return Ok(None);
        };
        let asked = Instant::now();
        let guard = mutex.lock().await.map_err(|error| failed("lock", error))?;
        let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.wait.fetch_max(micros, Ordering::Relaxed);
        Ok(Some(guard))
    }

    /// The read-modify-write that loses updates when two do it at once, and the marks that show whether two did.
    async fn critical_section(
        &self,
        mark: &str,
        guard: Option<&MutexGuard>,
        may_hold: bool,
    ) -> redis::RedisResult<()> {
        let (keys, live) = (&self.keys, KEYS_LIVE.as_secs());
        let mut redis = self.redis.clone();
        let options = SetOptions::default()
            .get(true)
            .with_expiration(SetExpiry::EX(live));
        let mut enter = redis::pipe();
        enter.set_options(&keys.inside, mark, options);
        if let Some(guard) = guard {
            enter.rpush(&keys.tokens, guard.fencing_token().get()).ignore();
        }
        enter.get(&keys.counter);
        let (before_us, count): (Option<String>, u64) = enter.query_async(&mut redis).await?;
        if let Some(other) = &before_us {
            self.met(other);
        }
        if may_hold && self.orders.hold.load(Ordering::Relaxed) {
            say(&Said::Holding(mark.to_owned()));
            pending::<()>().await;
        }

        task::yield_now().await; // let others run: this is where updates get lost

        // One transaction: a worker that is killed has written and counted the round, or neither.
        let mut leave = redis::pipe();
        leave.atomic().set_ex(&keys.counter, count + 1, live);
        leave.ignore().hincr(&keys.rounds, self.index, 1).ignore();
        leave.get_del(&keys.inside);
        let (at_the_end,): (Option<String>,) = leave.query_async(&mut redis).await?;
        let alone = at_the_end.as_deref() == Some(mark);
        if !alone {
            self.met(at_the_end.as_deref().unwrap_or("nobody"));
        }
        if before_us.is_some() || !alone {
            self.overlaps.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Under the lock the parent wants to know at once who it was; without it there are too many.
    fn met(&self, other: &str) {
        if self.mutex.is_some() {
            say(&Said::Met(other.to_owned()));
        }
    }

    fn tally(&self) -> Tally {
        Tally {
            rounds: self.rounds.load(Ordering::Relaxed),
            overlaps: self.overlaps.load(Ordering::Relaxed),
            wait: Duration::from_micros(self.wait.swap(0, Ordering::Relaxed)),
        }
    }
}
