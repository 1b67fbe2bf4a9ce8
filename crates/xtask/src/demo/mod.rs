//! `cargo xtask demo`: processes increment a counter under one mutex while one of them is killed.
//!
//! Every task reads the counter, yields and writes back one more, which loses updates unless a lock
//! spans both steps. At the end the counter is compared with the number of finished rounds.
//!
//! - `worker` is what each process runs; `counter` is the data in Redis that the lock guards.
//! - `play` starts the processes, kills one and listens to the others; `report` shows the result.

mod counter;
mod play;
mod report;
mod worker;

use std::error::Error;
use std::process;
use std::time::{Duration, Instant, SystemTime};

use latchwork::{Client, ClientBuilder, Mutex};
use latchwork_testkit::{TestServer, external_url, find_server};
use tokio::runtime::Builder;

use crate::Failure;
use crate::doctor::without_password;
use counter::Counter;
use report::Report;

/// Short, so that the others do not wait long for the lease of the killed process to end.
const LEASE: Duration = Duration::from_secs(2);
/// The name of the mutex.
const MUTEX: &str = "counter";
/// How long a dead waiter may keep its place in the queue (docs/design.md), plus a margin.
const PLACE_KEPT: Duration = Duration::from_millis(10_500);

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What the command line asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) lock: bool,
    pub(crate) json: bool,
    pub(crate) seconds: u64,
    pub(crate) workers: usize,
    pub(crate) tasks: usize,
    /// Hidden: makes this process a worker, with this key prefix and number.
    pub(crate) worker: Option<(String, usize)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock: true,
            json: false,
            seconds: 12, // long enough for the queue to drop the waiters of the killed process
            workers: 4,
            tasks: 8,
            worker: None,
        }
    }
}

/// Runs the demo, or one of its workers.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if external_url().is_none() {
        find_server().map_err(Failure::NoServer)?;
    }
    try_run(options).map_err(|error| Failure::Other(error.to_string()))
}

fn try_run(options: &Options) -> Result {
    // Two threads: with one, the client confirms every hand-off before `lock` returns
    // (docs/design.md, rule 7).
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if let Some((prefix, index)) = &options.worker {
        return runtime.block_on(worker::run(options, prefix, *index));
    }
    if let Some(url) = external_url() {
        return runtime.block_on(demo(options, &url, None));
    }
    let server = TestServer::start()?;
    runtime.block_on(demo(options, &server.url(), Some(&server)))
}

async fn demo(options: &Options, url: &str, own: Option<&TestServer>) -> Result {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let prefix = format!("latchwork-demo-{}-{}", process::id(), now.as_millis());
    let client = client(url, &prefix, "demo").connect().await;
    let client = client.map_err(|error| format!("{}: {error}", without_password(url)))?;
    let counter = Counter::connect(url, &prefix).await?;
    let server = client.server().ok_or("the server did not report its version")?;
    let server = format!("{} {}", server.flavour, server.version);
    let (workers, tasks) = (options.workers, options.tasks);
    let lock = if options.lock { "one mutex" } else { "no lock" };
    eprintln!("{server}, {workers} processes x {tasks} tasks, {lock}");

    let mut story = play::play(options, url, &prefix, &counter).await?;
    story.counter = counter.value().await?;
    story.tokens = counter.tokens().await?;
    story.left = left_behind(&client, story.killed, workers).await?;
    if let Some(server) = own {
        story.left.extend(server.leftovers(&prefix)?);
    }
    counter.delete().await?;
    client.close().await;
    let report = Report::new(options.lock, &server, &story);
    if options.json {
        println!("{}", report.json());
    } else {
        print!("\n{report}");
    }
    if !options.lock {
        eprintln!("\nWithout the lock, updates are lost. With it: cargo xtask demo");
    }
    match report.problems().as_slice() {
        [] => Ok(()),
        problems => Err(problems.join("; ").into()),
    }
}

/// Returns what is still in the lock's record although every worker has stopped.
///
/// Entries of the killed process do not count before [`PLACE_KEPT`] is over: nobody removes them
/// earlier.
async fn left_behind(client: &Client, killed: Option<Instant>, workers: usize) -> Result<Vec<String>> {
    let info = Mutex::new(client, MUTEX)?.inspect().await?;
    let holders = info.holders.into_iter().map(|holder| holder.label);
    let waiters = info.waiters.into_iter().map(|waiter| waiter.label);
    let recently = killed.is_some_and(|at| at.elapsed() < PLACE_KEPT);
    let dead = Some(label(workers - 1));
    let left = holders.chain(waiters).filter(|label| !recently || *label != dead);
    Ok(left.map(|label| format!("an entry of {label:?}")).collect())
}

/// A client of the demo; people who inspect the lock see its label.
fn client(url: &str, prefix: &str, label: &str) -> ClientBuilder {
    let builder = Client::builder().url(url).prefix(prefix);
    builder.lease(LEASE).label(label)
}

/// The name of a worker.
fn label(index: usize) -> String {
    format!("worker {}", index + 1)
}
