//! One run of a server process: its keeper shell, its log, its end.
//!
//! The shell reads a pipe that only this process holds, so the server dies with the test however that
//! dies, in a `static` too, where Rust runs no destructor.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;
use crate::find::ServerBinary;

const SCRIPT: &str = include_str!("keeper.sh");
/// How long a server may take to start or to end; a bound for broken machines, not a measure.
const LIMIT: Duration = Duration::from_secs(20);
/// How many lines of the log are kept for error messages.
const LOG_LINES: usize = 200;

/// Why a server did not get ready.
pub(crate) enum NotReady {
    PortTaken,
    Failed(Error),
}

/// A server process, alive or dead.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Child,
    /// Closed to end the shell.
    pipe: Option<ChildStdin>,
    pid: Pid,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: VecDeque<String>,
    pid: Option<i32>,
    ready: bool,
    port_taken: bool,
    ended: bool,
}

impl Keeper {
    /// Starts the server with `args` and returns when it accepts connections. The folder stays if it fails.
    pub(crate) fn launch(binary: &ServerBinary, dir: &Path, args: &[String]) -> Result<Self, NotReady> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "latchwork-keeper"])
            .arg(dir)
            .arg(&binary.path)
            .args(args)
            .envs(binary.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C in a terminal is for the test; the pipe tells the shell
            .spawn()
            .map_err(|error| NotReady::Failed(Error::new(format!("sh does not start: {error}"))))?;
        let pipe = shell.stdin.take();
        let log = Arc::new(Log::default());
        if let Some(stdout) = shell.stdout.take() {
            let log = Arc::clone(&log);
            thread::spawn(move || log.read(BufReader::new(stdout)));
        }
        let state = log.wait(|state| state.pid.is_some() && (state.ready || state.port_taken));
        let pid = state.pid.filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let (ready, taken, text) = (state.ready, state.port_taken, state.tail());
        drop(state);
        let Some(pid) = pid else {
            return Err(NotReady::Failed(Error::new("the keeper shell started no server")));
        };
        let mut keeper = Self {
            shell,
            pipe,
            pid,
            log,
        };
        if ready {
            return Ok(keeper);
        }
        keeper.end(true).map_err(NotReady::Failed)?; // a restart tries again with the data in it
        if taken {
            return Err(NotReady::PortTaken);
        }
        let name = binary.path.display();
        Err(NotReady::Failed(Error::new(format!(
            "{name} did not get ready; its log:\n{text}"
        ))))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether the process has not ended. It may be frozen.
    pub(crate) fn is_alive(&self) -> bool {
        !self.log.lock().ended
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        self.log.lock().tail()
    }

    /// Sends a signal to exactly this process, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        if !self.is_alive() {
            return Err(Error::new(format!("server {} is not running", self.pid())));
        }
        kill_process(self.pid, signal)
            .map_err(|error| Error::new(format!("signal to {}: {error}", self.pid())))
    }

    /// Waits for the process to end.
    pub(crate) fn wait_for_end(&self) -> Result<(), Error> {
        if self.log.wait(|_| false).ended {
            return Ok(());
        }
        Err(Error::new(format!(
            "server {} did not end within {LIMIT:?}",
            self.pid()
        )))
    }

    /// SIGKILL, unless it is dead already, and wait for the end.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        if self.is_alive() {
            self.signal(Signal::KILL)?;
        }
        self.wait_for_end()
    }

    /// Ends the shell, and the server with it. The folder stays only if `keep_folder`.
    pub(crate) fn end(&mut self, keep_folder: bool) -> Result<(), Error> {
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };
        if !self.is_alive() {
            writeln!(pipe, "dead")?;
        }
        if keep_folder {
            writeln!(pipe, "keep")?;
        }
        drop(pipe);
        let deadline = Instant::now() + LIMIT;
        while self.shell.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Err(Error::new(format!(
                    "the keeper of server {} does not end",
                    self.pid()
                )));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The closed pipe alone ends the shell; what fails here is only the waiting for it.
        drop(self.end(false));
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done`, or the log has ended, or the limit.
    fn wait(&self, mut done: impl FnMut(&LogState) -> bool) -> MutexGuard<'_, LogState> {
        let waiting = |state: &mut LogState| !done(state) && !state.ended;
        self.changed
            .wait_timeout_while(self.lock(), LIMIT, waiting)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn read(&self, output: impl BufRead) {
        for line in output.split(b'\n') {
            let Ok(line) = line else { break };
            self.lock().note(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl LogState {
    fn note(&mut self, line: String) {
        if let Some(pid) = line.strip_prefix("latchwork-pid ") {
            self.pid = pid.trim().parse().ok();
            return;
        }
        // The first letters are left out: their case changed between versions.
        self.ready |= line.contains("eady to accept connections") || line.contains("entinel ID is");
        self.port_taken |= line.contains("ddress already in use");
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn tail(&self) -> String {
        self.lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
