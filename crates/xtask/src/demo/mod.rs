//! `cargo xtask demo`: real processes take turns under one mutex, and one of them is killed while it holds.
//!
//! Every task of every worker process does what goes wrong without a lock: it reads a counter, lets others run, and
//! writes back one more. At the end the counter is compared with the number of rounds.
//!
//! - here: options, names, and the whole run from server to verdict;
//! - `place`: the server and the demo's own keys;
//! - `worker`: what a worker process does; `said`: what it tells; `crew`: the processes, seen from the parent;
//! - `play`: the course of events, with the kill;
//! - `show`: progress; `report`: the verdict as a table; `json`: as JSON.

mod crew;
mod json;
mod place;
mod play;
mod report;
mod said;
mod show;
mod worker;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use crate::Failure;
use crew::Crew;
use place::Place;
use report::Facts;
use show::Show;

pub(crate) use worker::run as work;

/// Short, so that the wait for a dead process's lease is short.
const LEASE: Duration = Duration::from_secs(2);
/// The name of the mutex.
const MUTEX: &str = "counter";

/// What the command line asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) lock: bool,
    pub(crate) json: bool,
    pub(crate) seconds: u64,
    pub(crate) workers: usize,
    pub(crate) tasks: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock: true,
            json: false,
            // Long enough to see the queue forget the dead process: see `place::PATIENCE`.
            seconds: 12,
            workers: 4,
            tasks: 8,
        }
    }
}

impl Options {
    /// Refuses what makes no demo: nobody would survive a kill, or the machine would not survive the demo.
    pub(crate) fn check(&self) -> Result<(), String> {
        let ranges = [
            ("--seconds", self.seconds, 1, 3600),
            ("--workers", self.workers as u64, 2, 64),
            ("--tasks", self.tasks as u64, 1, 1000),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} must be between {least} and {most}"));
            }
        }
        Ok(())
    }
}

/// What one worker process is told when it is started; the server's URL comes in `REDIS_URL`, where others cannot read it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) prefix: String,
    pub(crate) index: usize,
    pub(crate) tasks: usize,
    pub(crate) lock: bool,
}

impl Part {
    /// The command line of the worker, read back in `main.rs`.
    pub(crate) fn arguments(&self) -> [OsString; 5] {
        [
            "demo-worker".into(),
            self.prefix.clone().into(),
            self.index.to_string().into(),
            self.tasks.to_string().into(),
            self.lock.to_string().into(),
        ]
    }

    /// What people see who inspect the lock.
    fn label(&self) -> String {
        label(self.index)
    }
}

fn label(index: usize) -> String {
    format!("worker {}", index + 1)
}

/// The demo's own keys. One hash tag, so that a cluster keeps them together; all of them have a TTL.
#[derive(Debug)]
struct Keys {
    /// What everybody increments.
    counter: String,
    /// Who is inside the critical section.
    inside: String,
    /// A list: every critical section appends its fencing token.
    tokens: String,
    /// A hash: the rounds that each worker has finished.
    rounds: String,
}

/// How long the keys outlive a demo that is cut off.
const KEYS_LIVE: Duration = Duration::from_secs(3600 + 600);

impl Keys {
    fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}:{{demo}}:{name}");
        Self {
            counter: key("counter"),
            inside: key("inside"),
            tokens: key("tokens"),
            rounds: key("rounds"),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut place = Place::find()?;
    let show = Show::new(options, &place.server);
    let crew = Crew::start(options, &place)?;
    let played = play::play(options, &mut place, crew, &show)?;
    let facts = Facts::gather(options, &mut place, played)?;
    place.clear()?;
    show.close();
    if options.json {
        println!("{}", facts.json());
    } else {
        print!("\n{facts}");
    }
    let problems = facts.problems();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Other(problems.join("; ")))
    }
}

/// Anything that went wrong, in words.
fn failed(what: &str, error: impl fmt::Display) -> Failure {
    Failure::Other(format!("{what}: {error}"))
}
