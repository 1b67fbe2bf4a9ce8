//! The works: what is measured, each in a file of its own. A new one is a file and a line in [`WORKS`].

mod contended;
mod cost;
mod deep_queue;
mod free;
mod hand_off;
mod lanes;
mod latch;
mod limiter;
mod memory;
mod outage;
mod pairs;
mod reads;
mod renewal;
mod size;
mod throughput;
mod waiting;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::Result;
use crate::contender::{Library, Work};
use crate::row::Row;

/// Who takes part, and how long it may take.
#[derive(Clone)]
pub(crate) struct Bench {
    /// What everybody is compared with.
    pub(crate) floor: Arc<dyn Library>,
    /// Who is measured; the bars are for those that are ours.
    pub(crate) contenders: Vec<Arc<dyn Library>>,
    /// Fewer rounds: all of it within four minutes.
    pub(crate) quick: bool,
    /// 50 000 of everything, too, where that is asked.
    pub(crate) huge: bool,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.contenders.iter().map(|library| library.name()).collect();
        f.debug_struct("Bench")
            .field("floor", &self.floor.name())
            .field("contenders", &names)
            .field("quick", &self.quick)
            .field("huge", &self.huge)
            .finish()
    }
}

impl Bench {
    /// Measures these against `floor`.
    pub(crate) fn new(floor: Arc<dyn Library>, contenders: Vec<Arc<dyn Library>>, quick: bool) -> Self {
        Self {
            floor,
            contenders,
            quick,
            huge: false,
        }
    }

    pub(crate) fn huge(self, huge: bool) -> Self {
        Self { huge, ..self }
    }

    /// Rounds, turns or samples: fewer if it has to be quick.
    fn pick(&self, quick: usize, thorough: usize) -> usize {
        if self.quick { quick } else { thorough }
    }

    /// The same of what alternates between all who take part: the more they are, the fewer.
    fn rounds(&self, quick: usize, thorough: usize) -> usize {
        self.pick(quick, thorough) / self.contenders.len().max(1).pow(2) + 5
    }

    /// What only Latchwork itself can be asked.
    fn has_ours(&self) -> bool {
        self.contenders
            .iter()
            .any(|library| library.is_ours() && library.name() == "latchwork")
    }
}

/// What came of a work.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The numbers.
    pub(crate) rows: Vec<Row>,
    /// What is no number, or has no bar and no floor; for people.
    pub(crate) notes: Vec<String>,
}

impl Findings {
    /// A library that fails where each has its turn alone is left out, unless it is ours.
    fn excuse(&mut self, work: &str, library: &dyn Library, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if !library.is_ours() => {
                self.notes
                    .push(format!("{work}: {} is left out: {error}", library.name()));
                Ok(())
            }
            result => result,
        }
    }
}

/// A work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    /// As in the results.
    pub(crate) name: &'static str,
    /// What it does, in a line.
    pub(crate) what: &'static str,
    /// Whether other libraries can do it, too.
    pub(crate) with_peers: bool,
    run: for<'a> fn(&'a Bench) -> Work<'a, Findings>,
}

impl Named {
    /// Does it.
    ///
    /// # Errors
    /// The server or a library fails; there is no number then.
    pub(crate) async fn run(&self, bench: &Bench) -> Result<Findings> {
        (self.run)(bench).await
    }
}

/// Of everybody, or only of Latchwork.
macro_rules! work {
    (everybody $name:literal, $what:literal, |$bench:ident| $run:expr) => {
        work!($name, $what, true, |$bench| $run)
    };
    (ours $name:literal, $what:literal, |$bench:ident| $run:expr) => {
        work!($name, $what, false, |$bench| $run)
    };
    ($name:literal, $what:literal, $with_peers:literal, |$bench:ident| $run:expr) => {
        Named {
            name: $name,
            what: $what,
            with_peers: $with_peers,
            run: |$bench| Box::pin($run),
        }
    };
}

/// All of them, in the order in which they run.
pub(crate) const WORKS: &[Named] = &[
    work!(everybody "uncontended", "lock + unlock, one task", |bench| pairs::mutex(bench)),
    work!(everybody "throughput-1", "1 task, one client", |bench| throughput::run(bench, "throughput-1", 1)),
    work!(everybody "throughput-64", "64 tasks on as many names, one client", |bench| {
        throughput::run(bench, "throughput-64", 64)
    }),
    work!(everybody "throughput-512", "512 tasks on as many names, one client", |bench| {
        throughput::run(bench, "throughput-512", 512)
    }),
    work!(everybody "hand-off", "A holds, B waits, A unlocks: until B holds", |bench| hand_off::run(bench)),
    work!(everybody "contended", "8 clients of 8 tasks, empty section", |bench| contended::run(bench)),
    work!(ours "cost", "server time of a turn, by primitive", |bench| cost::run(bench)),
    work!(ours "deep-queue", "server time of a hand-off with 1 to 5 000 waiters", |bench| deep_queue::run(bench)),
    work!(ours "size", "longest script and stall with 100 to 50 000 of everything", |bench| size::run(bench)),
    work!(everybody "waiting", "1 000 waiters of 10 clients, for 10 s", |bench| waiting::run(bench)),
    work!(ours "renewal", "10 000 guards held by one client", |bench| renewal::run(bench)),
    work!(ours "outage", "1 000 calls a second while the server is away", |bench| outage::run(bench)),
    work!(everybody "reads", "read + unlock beside 1 and 1 000 readers", |bench| reads::run(bench)),
    work!(ours "semaphore", "acquire + release, one task", |bench| pairs::semaphore(bench)),
    work!(ours "latch", "last count-down + wait, one task", |bench| latch::run(bench)),
    work!(ours "limiter", "a call that is let through, one task", |bench| limiter::run(bench)),
    work!(everybody "memory", "bytes in Redis and in the client", |bench| memory::run(bench)),
];

/// Runs `work` where user code runs: in a task of the runtime, on a worker thread.
async fn in_task<T: Send + 'static>(work: Work<'static, T>) -> Result<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    match tasks.join_next().await {
        Some(joined) => joined?,
        None => Err("the task is gone".into()),
    }
}
