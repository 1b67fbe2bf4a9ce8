//! Another process that locks, waits, and is killed or stopped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::{Place, eventually};

/// A process that takes the lock `a`, and says what comes of it; see `src/bin/latchwork-test-holder.rs`.
#[derive(Debug)]
pub struct Other {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Other {
    /// `attempts` tasks of it take what `what` says and keep it. `program` is `env!("CARGO_BIN_EXE_latchwork-test-holder")`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(
        program: &str,
        place: &Place<'_>,
        what: &str,
        attempts: usize,
        lease: Duration,
        window: Duration,
    ) -> Self {
        let task = format!(
            "{} {} {attempts} {} {} {what}",
            place.server.url(),
            place.prefix,
            lease.as_millis(),
            window.as_millis()
        );
        let mut child = Command::new(program)
            .args(task.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next thing it says has to begin with `word`; returns the number behind it.
    ///
    /// # Panics
    /// If it says something else, or nothing.
    pub async fn says(&self, word: &str) -> u64 {
        let mut said = None;
        eventually(&format!("it says {word}"), || {
            said = said.take().or_else(|| self.said());
            said.is_some()
        })
        .await;
        let said = said.expect("a line");
        let number = said.strip_prefix(word).map(str::trim);
        let number = number.unwrap_or_else(|| panic!("it said {said}, not {word}"));
        number.parse().unwrap_or(0)
    }

    /// What it has said and nobody has read yet.
    pub fn said(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("sh");
        assert!(status.success(), "kill -{name}");
    }

    /// SIGSTOP; returns when it really stands still (Linux; elsewhere at once).
    ///
    /// # Panics
    /// If it does not stop.
    pub async fn stop(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        let stands_still = || match std::fs::read_to_string(&stat) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")),
            Err(_no_proc) => true,
        };
        eventually("it stands still", stands_still).await;
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("CONT");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
