//! The processes that an example starts of itself.
//!
//! A member is the same program with arguments, and talks through its stdout: `ready` once it has connected, `report` with
//! numbers for the parent, and whatever else is for people. It waits for the start on its stdin.

#![allow(clippy::print_stdout, reason = "processes that talk through stdout")]

use std::env;
use std::ffi::OsStr;
use std::process::{self, Stdio};
use std::time::Duration;
use std::{fmt, io, thread};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::{Result, Server};

const READY: &str = "ready";
const REPORT: &str = "report";
const START: &str = "start\n";
/// What no example comes near: a crew that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processes of an example. Dropping it kills those that still run.
#[derive(Debug)]
pub struct Crew<'a> {
    server: &'a Server,
    members: Vec<Member>,
    readers: JoinSet<()>,
    heard: Receiver<Heard>,
    speak: Sender<Heard>,
    deadline: Instant,
}

#[derive(Debug)]
struct Member {
    process: Child,
    ready: bool,
    ended: bool,
    report: Option<Vec<u64>>,
}

/// A line of a member, by number; `None`: it has said all.
type Heard = (usize, Option<String>);

impl<'a> Crew<'a> {
    /// Nobody yet. The members will use this server.
    pub fn new(server: &'a Server) -> Self {
        let (speak, heard) = channel(64);
        Self {
            server,
            members: Vec::new(),
            readers: JoinSet::new(),
            heard,
            speak,
            deadline: Instant::now() + PATIENCE,
        }
    }

    /// Starts this program once more, with these arguments. In it, [`Server::find`] finds the crew's server.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn hire<A: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) -> Result {
        let mut process = Command::new(env::current_exe()?)
            .args(arguments)
            .env("REDIS_URL", self.server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("a process without a stdout")?;
        self.readers
            .spawn(forward(self.members.len(), stdout, self.speak.clone()));
        self.members.push(Member {
            process,
            ready: false,
            ended: false,
            report: None,
        });
        Ok(())
    }

    /// Waits until every member has called [`ready`].
    ///
    /// # Errors
    /// One of them failed, or it takes a minute.
    pub async fn all_ready(&mut self) -> Result {
        while self.members.iter().any(|member| !member.ready) {
            self.listen().await?;
        }
        Ok(())
    }

    /// Waits until every member is ready, and lets them all go on from their [`start_signal`].
    ///
    /// # Errors
    /// As [`all_ready`](Self::all_ready).
    pub async fn start(&mut self) -> Result {
        self.all_ready().await?;
        for member in &mut self.members {
            let stdin = member.process.stdin.as_mut().ok_or("a process without a stdin")?;
            stdin.write_all(START.as_bytes()).await?;
        }
        Ok(())
    }

    /// Waits until all members have ended, and returns what each has [reported](report), in the order in which they were
    /// started. Meanwhile it prints what they say to people.
    ///
    /// # Errors
    /// As [`all_ready`](Self::all_ready), or a report is missing.
    pub async fn reports<const N: usize>(mut self) -> Result<Vec<[u64; N]>> {
        while self.members.iter().any(|member| !member.ended) {
            self.listen().await?;
        }
        self.members
            .into_iter()
            .map(|member| {
                let numbers = member.report.ok_or("a process ended without a report")?;
                numbers
                    .try_into()
                    .map_err(|numbers| format!("a report should have {N} numbers, not {numbers:?}").into())
            })
            .collect()
    }

    /// Waits for one line, or for the end of one member.
    async fn listen(&mut self) -> Result {
        let heard = timeout_at(self.deadline, self.heard.recv());
        let (number, line) = heard
            .await
            .map_err(|_| "the processes take too long")?
            .ok_or("no process is left")?;
        let member = self
            .members
            .get_mut(number)
            .ok_or("a process that nobody started")?;
        let Some(line) = line else {
            let status = timeout_at(self.deadline, member.process.wait())
                .await
                .map_err(|_| "a process does not end")??;
            member.ended = true;
            return if status.success() {
                Ok(())
            } else {
                Err(format!("process {} failed: {status}", number + 1).into())
            };
        };
        if line == READY {
            member.ready = true;
        } else if let Some(numbers) = line.strip_prefix(REPORT) {
            member.report = Some(
                numbers
                    .split_whitespace()
                    .map(str::parse)
                    .collect::<std::result::Result<_, _>>()?,
            );
        } else {
            println!("{line}");
        }
        Ok(())
    }
}

/// Passes on what a member says.
async fn forward(number: usize, stdout: ChildStdout, speak: Sender<Heard>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if speak.send((number, Some(line))).await.is_err() {
            return;
        }
    }
    drop(speak.send((number, None)).await); // fails only if nobody listens any more
}

/// In a member: tells the parent that it is ready.
pub fn ready() {
    println!("{READY}");
}

/// In a member: waits until the parent [starts](Crew::start) them all. From then on the process ends with its parent, however
/// that ends.
///
/// # Errors
/// The parent is gone.
pub async fn start_signal() -> Result {
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
    if line != START {
        return Err("the parent is gone".into());
    }
    thread::spawn(|| {
        // Nothing comes any more, except the end.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        process::exit(1);
    });
    Ok(())
}

/// In a member: tells the parent these numbers, at the end.
pub fn report<T: fmt::Display>(numbers: impl IntoIterator<Item = T>) {
    let words: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    println!("{REPORT} {}", words.join(" "));
}
