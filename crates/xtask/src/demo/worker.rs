//! A worker process: tasks that increment the counter, with or without the lock.
//!
//! It starts when it reads a line from its stdin, and ends with its stdin, so it never outlives the
//! demo. On its stdout it reports `ready`, `holding <mark> <tally>`, `met <mark>` and
//! `done <tally>`.

use std::fmt::Display;
use std::future::pending;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{process, thread};

use latchwork::{Mutex, MutexGuard};
use latchwork_testkit::external_url;
use tokio::task::{JoinSet, yield_now};

use super::counter::Counter;
use super::{MUTEX, Options, Result, client, label};

/// How long the victim works before it keeps the lock.
const UNTIL_HOLD: Duration = Duration::from_millis(300);

/// What the tasks of the process share.
struct Worker {
    index: usize,
    counter: Counter,
    mutex: Option<Mutex>,
    /// Whether it is to keep the lock until it is killed.
    is_victim: bool,
    started: Instant,
    /// Finished rounds.
    rounds: AtomicU64,
    /// Rounds in which another task was in the critical section.
    overlaps: AtomicU64,
    /// The sum of all waits for the lock, and the longest one, in microseconds.
    waited: AtomicU64,
    longest_wait: AtomicU64,
}

pub(super) async fn run(options: &Options, prefix: &str, index: usize) -> Result {
    let url = external_url().ok_or("REDIS_URL is not set")?;
    let client = client(&url, prefix, &label(index)).connect().await?;
    let counter = Counter::connect(&url, prefix).await?;
    let mutex = options.lock.then(|| Mutex::new(&client, MUTEX)).transpose()?;
    say("ready");
    if io::stdin().read_line(&mut String::new())? == 0 {
        return Ok(()); // the demo is gone
    }
    thread::spawn(|| {
        drop(io::copy(&mut io::stdin(), &mut io::sink())); // returns when the demo ends
        process::exit(1);
    });
    let worker = Arc::new(Worker {
        index,
        counter,
        mutex,
        is_victim: options.lock && index + 1 == options.workers,
        started: Instant::now(),
        rounds: AtomicU64::new(0),
        overlaps: AtomicU64::new(0),
        waited: AtomicU64::new(0),
        longest_wait: AtomicU64::new(0),
    });
    let end = worker.started + Duration::from_secs(options.seconds);
    let mut tasks = JoinSet::new();
    for task in 0..options.tasks {
        tasks.spawn(Arc::clone(&worker).work(task, end));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    client.close().await;
    say(format_args!("done {}", worker.tally()));
    Ok(())
}

/// Writes a line for the demo, and ends the process if the demo is gone.
fn say(line: impl Display) {
    if writeln!(io::stdout(), "{line}").is_err() {
        process::exit(1);
    }
}

impl Worker {
    fn tally(&self) -> String {
        let numbers = [&self.rounds, &self.overlaps, &self.waited, &self.longest_wait];
        numbers.map(|number| number.load(Relaxed).to_string()).join(" ")
    }

    /// Does one round after the other.
    async fn work(self: Arc<Self>, task: usize, end: Instant) -> Result {
        for round in 0.. {
            if Instant::now() > end {
                break;
            }
            let guard = self.lock().await?;
            let mark = format!("{}.{task}.{round}", self.index);
            self.critical_section(&mark, guard.as_ref()).await?;
            // Before the release: the next holder builds on a round that is counted.
            self.rounds.fetch_add(1, Relaxed);
            if let Some(guard) = guard
                && let Err(error) = guard.unlock().await
            {
                eprintln!("{}: unlock: {error}", label(self.index));
            }
        }
        Ok(())
    }

    async fn lock(&self) -> Result<Option<MutexGuard>> {
        let Some(mutex) = &self.mutex else {
            return Ok(None);
        };
        let asked = Instant::now();
        let guard = mutex.lock().await?;
        let wait = asked.elapsed().as_micros().try_into()?;
        self.waited.fetch_add(wait, Relaxed);
        self.longest_wait.fetch_max(wait, Relaxed);
        Ok(Some(guard))
    }

    /// The read-modify-write that loses updates when two tasks do it at once, with marks that show
    /// whether two did.
    async fn critical_section(&self, mark: &str, guard: Option<&MutexGuard>) -> Result {
        let token = guard.map(|guard| guard.fencing_token().get());
        let (other, value) = self.counter.enter(mark, token).await?;
        if self.is_victim && self.started.elapsed() > UNTIL_HOLD {
            // The tally is complete: no task of this process finishes a round without the lock.
            say(format_args!("holding {mark} {}", self.tally()));
            pending::<()>().await;
        }
        if let (Some(other), Some(_)) = (&other, guard) {
            say(format_args!("met {other}"));
        }

        yield_now().await; // other tasks run here: this is where updates get lost

        let at_the_end = self.counter.leave(value + 1).await?;
        if other.is_some() || at_the_end.as_deref() != Some(mark) {
            self.overlaps.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}
