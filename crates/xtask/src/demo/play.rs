//! The course of the demo: one worker keeps the lock and is killed, a survivor takes over.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{interval, sleep, timeout};

use super::counter::Counter;
use super::{Options, Result, label};

/// How long the victim keeps the lock before it is killed. Longer than half the claim window, so
/// that its grant is confirmed by then and it dies with a full lease.
pub(super) const HOLD: Duration = Duration::from_millis(700);
/// How long the workers may take beyond the time that they work.
const PATIENCE: Duration = Duration::from_secs(60);
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// Finished rounds, and those of them in which another task was in the critical section.
    pub(super) rounds: u64,
    pub(super) overlaps: u64,
    /// The sum of all waits for the lock, and the longest one, in microseconds.
    pub(super) waited: u64,
    pub(super) longest_wait: u64,
    /// From the start until the last worker ended.
    pub(super) elapsed: Duration,
    /// How many scripts the server ran in that time.
    pub(super) scripts: u64,
    /// The counter at the end, and the fencing tokens in the order in which tasks entered the
    /// critical section.
    pub(super) counter: u64,
    pub(super) tokens: Vec<u64>,
    /// Entries of the lock and keys that should be gone at the end.
    pub(super) left: Vec<String>,
    /// The mark under which the victim keeps the lock.
    pub(super) held: String,
    pub(super) killed: Option<Instant>,
    /// From the kill until a survivor was in the critical section.
    pub(super) recovery: Option<Duration>,
}

/// A line of a worker, by its number; `None` is the end of its stdout.
type News = (usize, Instant, Option<String>);

struct Play {
    workers: Vec<Child>,
    news: UnboundedReceiver<News>,
    ready: usize,
    ended: usize,
    story: Story,
}

/// Runs the workers to their end.
pub(super) async fn play(options: &Options, url: &str, prefix: &str, counter: &Counter) -> Result<Story> {
    let mut play = Play::start(options, url, prefix)?;
    let limit = PATIENCE + Duration::from_secs(options.seconds);
    let played = timeout(limit, play.run(counter)).await;
    played.map_err(|_| "the workers take too long")??;
    Ok(play.story)
}

impl Play {
    /// Starts this program again for each worker.
    fn start(options: &Options, url: &str, prefix: &str) -> Result<Self> {
        let (sender, news) = unbounded_channel();
        let mut workers = Vec::new();
        for index in 0..options.workers {
            let mut command = Command::new(env::current_exe()?);
            command.args(env::args_os().skip(1)); // the options of this process
            command.args(["--worker", prefix, &index.to_string()]);
            command.env("REDIS_URL", url); // other users cannot read it there
            let mut worker = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let stdout = worker.stdout.take().ok_or("a worker has no stdout")?;
            let sender = sender.clone();
            thread::spawn(move || forward(index, BufReader::new(stdout), &sender));
            workers.push(worker);
        }
        Ok(Self {
            workers,
            news,
            ready: 0,
            ended: 0,
            story: Story::default(),
        })
    }

    async fn run(&mut self, counter: &Counter) -> Result {
        while self.ready < self.workers.len() {
            let news = self.news.recv().await;
            self.note(news).await?;
        }
        let scripts = counter.scripts().await?;
        for stdin in self.workers.iter_mut().filter_map(|worker| worker.stdin.as_mut()) {
            writeln!(stdin, "go")?;
        }
        let started = Instant::now();
        let mut progress = interval(PROGRESS_EVERY);
        progress.tick().await; // the first tick is at once
        while self.ended < self.workers.len() {
            tokio::select! {
                news = self.news.recv() => self.note(news).await?,
                _ = progress.tick() => {
                    let value = counter.value().await?;
                    eprintln!("{:>4} s  the counter is {value}", started.elapsed().as_secs());
                }
            }
        }
        self.story.elapsed = started.elapsed();
        self.story.scripts = counter.scripts().await?.saturating_sub(scripts);
        Ok(())
    }

    async fn note(&mut self, news: Option<News>) -> Result {
        let (index, at, line) = news.ok_or("no worker is left")?;
        let who = label(index);
        let Some(line) = line else {
            return self.note_end(index);
        };
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ready", _) => self.ready += 1,
            ("done", tally) => self.story.add(tally)?,
            ("holding", rest) => {
                let (mark, tally) = rest.split_once(' ').ok_or("a tally is missing")?;
                self.story.add(tally)?;
                mark.clone_into(&mut self.story.held);
                eprintln!("        {who} holds the lock and stays inside");
                sleep(HOLD).await; // nobody may enter now
                self.story.killed = Some(Instant::now());
                self.workers[index].kill()?; // SIGKILL, to this process only
                eprintln!("        {who} killed while it holds");
            }
            ("met", mark) => {
                if let (Some(killed), None) = (self.story.killed, self.story.recovery)
                    && mark == self.story.held
                    && at >= killed
                {
                    self.story.recovery = Some(at - killed);
                    eprintln!(
                        "        {who} has the lock, {} ms after the kill",
                        (at - killed).as_millis()
                    );
                }
            }
            _ => return Err(format!("{who} said {line:?}").into()),
        }
        Ok(())
    }

    fn note_end(&mut self, index: usize) -> Result {
        let status = self.workers[index].wait()?;
        self.ended += 1;
        let killed = self.story.killed.is_some() && index + 1 == self.workers.len();
        if status.success() || killed {
            return Ok(());
        }
        Err(format!("{} failed: {status}", label(index)).into())
    }
}

impl Story {
    /// Adds what a worker has counted.
    fn add(&mut self, tally: &str) -> Result {
        let numbers: Vec<u64> = tally.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [rounds, overlaps, waited, longest_wait] = numbers[..] else {
            return Err(format!("not a tally: {tally:?}").into());
        };
        self.rounds += rounds;
        self.overlaps += overlaps;
        self.waited += waited;
        self.longest_wait = self.longest_wait.max(longest_wait);
        Ok(())
    }
}

fn forward(index: usize, stdout: impl BufRead, sender: &UnboundedSender<News>) {
    let lines = stdout.lines().map_while(io::Result::ok).map(Some);
    for line in lines.chain([None]) {
        if sender.send((index, Instant::now(), line)).is_err() {
            return; // the demo has failed
        }
    }
}
