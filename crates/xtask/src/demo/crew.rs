//! The worker processes, seen from the parent.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::place::Place;
use super::said::Said;
use super::{Options, Part, failed, label};
use crate::Failure;

/// Something that a worker said, or that it said its last.
#[derive(Debug)]
pub(super) struct News {
    pub(super) index: usize,
    pub(super) at: Instant,
    /// `None`: its stdout has ended.
    pub(super) said: Option<Said>,
}

/// All workers. Dropping it ends them; they end by themselves too when this process does.
#[derive(Debug)]
pub(super) struct Crew {
    workers: Vec<Worker>,
    news: Receiver<News>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Crew {
    /// Starts them all: this same program, with other arguments.
    pub(super) fn start(options: &Options, place: &Place) -> Result<Self, Failure> {
        let program = env::current_exe().map_err(|error| failed("our own path", error))?;
        let (sender, news) = mpsc::channel();
        let mut crew = Self {
            workers: Vec::new(),
            news,
        };
        for index in 0..options.workers {
            let part = Part {
                prefix: place.prefix.clone(),
                index,
                tasks: options.tasks,
                lock: options.lock,
            };
            let mut child = Command::new(&program)
                .args(part.arguments())
                .env("REDIS_URL", &place.url)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| failed("a worker does not start", error))?;
            let (orders, stdout) = (child.stdin.take(), child.stdout.take());
            crew.workers.push(Worker { child, orders });
            if let Some(stdout) = stdout {
                let sender = sender.clone();
                thread::spawn(move || listen(index, stdout, &sender));
            }
        }
        Ok(crew)
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The next news, if there are any within `limit`.
    pub(super) fn next(&self, limit: Duration) -> Option<News> {
        self.news.recv_timeout(limit).ok()
    }

    pub(super) fn tell(&mut self, index: usize, order: &str) -> Result<(), Failure> {
        let Some(orders) = &mut self.workers[index].orders else {
            return Ok(()); // it was killed
        };
        writeln!(orders, "{order}").map_err(|error| failed(&label(index), error))
    }

    pub(super) fn tell_all(&mut self, order: &str) -> Result<(), Failure> {
        (0..self.workers.len()).try_for_each(|index| self.tell(index, order))
    }

    /// SIGKILL, to this one process alone. Returns when it is gone, with the instant before the signal.
    pub(super) fn kill(&mut self, index: usize) -> Result<Instant, Failure> {
        let worker = &mut self.workers[index];
        let at = Instant::now();
        worker
            .child
            .kill()
            .and_then(|()| worker.child.wait())
            .map_err(|error| failed(&label(index), error))?;
        worker.orders = None;
        Ok(at)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.orders = None;
            // `kill` does nothing to a child that was waited for, and a child of ours is no other process before that.
            if let Err(error) = worker.child.kill().and_then(|()| worker.child.wait()) {
                eprintln!("a worker does not end: {error}");
            }
        }
    }
}

fn listen(index: usize, stdout: ChildStdout, sender: &Sender<News>) {
    let tell = |said| {
        let at = Instant::now();
        sender.send(News { index, at, said }).is_ok()
    };
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let said = line.parse().unwrap_or_else(Said::Trouble);
        if !tell(Some(said)) {
            return;
        }
    }
    tell(None);
}
