//! Changes lines of the scripts, one at a time, and says which changes no test notices.
//!
//! `cargo run -p latchwork-tests --bin mutate-lua -- [count] [seed]` tries `count` random mutants, or
//! all of them, which takes some hours. `-- after <log>` continues an interrupted run.
//! `-- latch_slow.lua pump.lua:39:drop` tries the mutants of a file, or single ones. A mutant is
//! `file:line:kind`; `LATCHWORK_MUTANT` with that name, before any test of the scripts, repeats it.
//!
//! `tests/scripts/unnoticed.txt` lists the mutants that cannot be noticed, with reasons.
//! `-- show <log>` prints the survivors that are not in it.
//!
//! The tests run in stages, and a failure ends the run. First come a few random requests, which notice
//! most mutants, and some recorded histories; then examples; then many random requests and all
//! recorded histories. The binaries are copied at the start, so the code may change during a run.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use latchwork_testkit::{RespClient, TestServer};
use latchwork_tests::mutants;

/// Mutants at one time.
const WORKERS: usize = 8;
/// A stage that takes longer hangs, in a loop of the script most likely.
const LIMIT: Duration = Duration::from_secs(400);

/// Mutants that one process tries with random requests.
const TOGETHER: usize = 15;

/// A run of a test binary: the target, requests per random test, and arguments.
type Stage = (&'static str, &'static str, &'static [&'static str]);

/// It takes more than a second, and sees no more than others.
const SLOW: &str = "the_scripts_as_they_are_shipped";

/// Random requests have not noticed it.
const OF_LATCHES: [Stage; 2] = [
    (
        "scripts",
        "1",
        &["latch::", "faults::", "thrift::", "--skip", SLOW],
    ),
    (
        "scripts",
        "8000",
        &["latch_random::", "shortcuts_of_latches", "of_latches_are"],
    ),
];
const OF_LOCKS: [Stage; 2] = [
    (
        "scripts",
        "600",
        &[
            "--skip",
            "random::",
            "--skip",
            "shortcuts::",
            "--skip",
            "mutation::",
            "--skip",
            "recorded::",
            "--skip",
            SLOW,
        ],
    ),
    ("scripts", "12000", &["random::", "recorded::"]),
];
/// Its other tests run the product's scripts.
const OF_LIMITERS: [Stage; 3] = [
    ("limiter", "100", &["random::"]),
    ("limiter", "1", &["clock::", "rates::", "record::"]),
    ("limiter", "1500", &["random::"]),
];
const OF_GUARDED: [Stage; 1] = [("scripts", "1", &["guarded::"])];

fn is_of_a_limiter(mutant: &str) -> bool {
    ["gcra", "window", "limiter"]
        .iter()
        .any(|name| mutant.starts_with(name))
}

/// Which tests look at a file.
fn stages(mutant: &str) -> &'static [Stage] {
    if is_of_a_limiter(mutant) {
        &OF_LIMITERS
    } else if mutant.starts_with("guarded") {
        &OF_GUARDED
    } else if mutant.starts_with("latch") || mutant.starts_with("peek") {
        &OF_LATCHES
    } else {
        &OF_LOCKS
    }
}

/// A script with a mistake that the server finds is not worth a run.
fn loads(client: &mut RespClient, mutant: &str) -> bool {
    let file = mutant.split(':').next();
    let scripts = mutants::with(mutant).unwrap_or_default();
    let mut touched = scripts
        .iter()
        .filter(|script| script.parts.iter().any(|(name, _)| Some(*name) == file));
    let all = touched.all(|script| client.call(&["SCRIPT", "LOAD", &script.text]).is_ok());
    all && client.call(&["SCRIPT", "FLUSH"]).is_ok()
}

/// Builds the tests, and copies their binaries into this folder.
fn build(into: &Path) -> Result<(), Box<dyn Error>> {
    for target in ["scripts", "limiter"] {
        let built = Command::new("cargo")
            .args(["test", "--release", "-p", "latchwork-tests", "--test", target])
            .args(["--no-run", "--message-format=json"])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(built.stdout)?;
        let kind = format!("\"kind\":[\"test\"],\"crate_types\":[\"bin\"],\"name\":\"{target}\"");
        let artifact = text.lines().find(|line| line.contains(&kind));
        let path = artifact.and_then(|line| line.split("\"executable\":\"").nth(1));
        let path = path.and_then(|rest| rest.split('"').next());
        fs::copy(path.ok_or("the tests do not build")?, into.join(target))?;
    }
    Ok(())
}

/// A process under way, and its lines. Dropping it ends it, and its servers with it.
struct Process(Child, Receiver<String>);

impl Process {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        // A backtrace takes longer than to notice a mutant.
        let command = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("RUST_BACKTRACE", "0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (send, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                lines
                    .map(|line| send.send(line))
                    .take_while(Result::is_ok)
                    .count()
            });
        }
        Ok(Self(child, lines))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

/// The first test that fails, or that something hangs.
fn first_failure(
    folder: &Path,
    mutant: &str,
    (target, cases, args): Stage,
) -> std::io::Result<Option<String>> {
    let mut command = Command::new(folder.join(target));
    let command = command.args(args).env("LATCHWORK_SCRIPT_CASES", cases);
    let process = Process::start(command.env("LATCHWORK_MUTANT", mutant))?;
    let over = Instant::now() + LIMIT;
    loop {
        match process
            .1
            .recv_timeout(over.saturating_duration_since(Instant::now()))
        {
            Ok(line) if line.ends_with("... FAILED") => {
                return Ok(line.split(' ').nth(1).map(str::to_owned));
            }
            Ok(line) if line.starts_with("test result: ok") => return Ok(None),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Ok(Some("a hang".to_owned())),
            Err(RecvTimeoutError::Disconnected) => return Ok(Some("a crash".to_owned())),
        }
    }
}

/// A run: what it needs, and what it came to.
struct Run {
    server: TestServer,
    folder: PathBuf,
    left: Mutex<VecDeque<String>>,
    tried: AtomicUsize,
    survived: Mutex<Vec<String>>,
}

impl Run {
    /// Tries mutants until there is none left.
    fn work(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut client = RespClient::connect(self.server.port())?;
        loop {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let many = TOGETHER.min(left.len());
            let mut some: VecDeque<_> = left.drain(..many).collect();
            drop(left);
            if some.is_empty() {
                return Ok(());
            }
            some.retain(|mutant| loads(&mut client, mutant));
            self.tried.fetch_add(some.len(), Ordering::Relaxed);
            let (alone, mut some): (VecDeque<_>, VecDeque<_>) = some
                .into_iter()
                .partition(|mutant| is_of_a_limiter(mutant) || mutant.starts_with("guarded"));
            for mutant in alone {
                self.try_alone(&mutant)?;
            }
            while !some.is_empty() {
                self.try_together(&mut some)?;
            }
        }
    }

    /// Random requests, to one after the other. Ends early with a mutant that breaks the process.
    fn try_together(&self, some: &mut VecDeque<String>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut command = Command::new(self.folder.join("scripts"));
        let command = command.args(["mutation::", "--nocapture"]);
        let names = some.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let process = Process::start(command.env("LATCHWORK_MUTANTS", names))?;
        while let Some(mutant) = some.front() {
            let prefix = format!("mutant {mutant} ");
            let line = loop {
                match process.1.recv_timeout(LIMIT) {
                    Ok(line) => {
                        if let Some(by) = line.split(&prefix).nth(1) {
                            break by.to_owned();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break "a hang".to_owned(),
                    Err(RecvTimeoutError::Disconnected) => break "a crash".to_owned(),
                }
            };
            match line.as_str() {
                "-" => self.try_alone(mutant)?,
                by => println!("noticed  {mutant} by {by}"),
            }
            some.pop_front();
            if line.starts_with("a ") {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The stages, one after the other.
    fn try_alone(&self, mutant: &str) -> std::io::Result<()> {
        for stage in stages(mutant) {
            if let Some(test) = first_failure(&self.folder, mutant, *stage)? {
                println!("noticed  {mutant} by {test}");
                return Ok(());
            }
        }
        println!("SURVIVED {mutant}");
        self.survived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(mutant.to_owned());
        Ok(())
    }
}

/// Those that are asked for, in random order.
fn chosen(args: &[String]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut all = mutants::all();
    if let [after, log] = args
        && after == "after"
    {
        let log = fs::read_to_string(log)?;
        let tried: BTreeSet<_> = log.split_whitespace().collect();
        all.retain(|mutant| !tried.contains(mutant.as_str()));
        return Ok(in_random_order(all, usize::MAX, 1));
    }
    let names: Vec<_> = args.iter().filter(|arg| arg.contains('.')).collect();
    if !names.is_empty() {
        let is_meant = |mutant: &str| {
            names
                .iter()
                .any(|name| mutant == *name || mutant.starts_with(&format!("{name}:")))
        };
        all.retain(|mutant| is_meant(mutant));
        return Ok(all);
    }
    let many = args.first().map_or(Ok(usize::MAX), |text| text.parse())?;
    let seed = args.get(1).map_or(Ok(1), |text| text.parse())?;
    Ok(in_random_order(all, many, seed))
}

/// Constants last.
fn in_random_order(mut all: Vec<String>, many: usize, mut state: u64) -> Vec<String> {
    let mut some = Vec::new();
    while some.len() < many && !all.is_empty() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33).unwrap_or_default() % all.len();
        some.push(all.swap_remove(at));
    }
    some.sort_by_key(|mutant| mutant.contains(":plus") || mutant.contains(":minus"));
    some
}

/// The survivors of a log that have no reason yet, as they would stand in the list.
fn show(log: &str) -> Result<(), Box<dyn Error>> {
    let log = fs::read_to_string(log)?;
    let survivors = log.lines().filter_map(|line| line.strip_prefix("SURVIVED "));
    let shown: BTreeSet<_> = survivors.filter_map(mutants::shown).collect();
    let explained = mutants::explained();
    for line in shown.iter().filter(|line| !explained.contains_key(*line)) {
        println!("{line}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    if let [what, log] = &args[..]
        && what == "show"
    {
        return show(log);
    }
    let some = chosen(&args)?;
    let server = TestServer::start()?;
    let folder = server.dir().join("tests");
    fs::create_dir(&folder)?;
    build(&folder)?;
    let run = Run {
        server,
        folder,
        left: Mutex::new(some.into()),
        tried: AtomicUsize::new(0),
        survived: Mutex::default(),
    };
    let ended = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| run.work())).collect();
        let ends = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err("a panic".into())));
        ends.collect::<Result<Vec<()>, _>>()
    });
    let survived = run.survived.into_inner().unwrap_or_else(PoisonError::into_inner);
    let explained = mutants::explained();
    let shown: BTreeSet<_> = survived.iter().filter_map(|name| mutants::shown(name)).collect();
    let rest: Vec<_> = shown
        .iter()
        .filter(|line| !explained.contains_key(*line))
        .collect();
    let (tried, survived) = (run.tried.into_inner(), survived.len());
    println!("{tried} tried, {survived} survived; those without a reason: {rest:#?}");
    ended.map(|_| ()).map_err(|error| error.to_string().into())
}
