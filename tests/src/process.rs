//! Another process that holds or waits, to be killed and stopped: `latchwork-test-holder`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::{Fixture, eventually};

/// A process that acquires what a [`Fixture`] is about, and says what comes of it.
#[derive(Debug)]
pub struct Other {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Other {
    /// So many of its tasks acquire it and keep it; `None`: one takes all there is. `program` is
    /// `env!("CARGO_BIN_EXE_latchwork-test-holder")`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(
        program: &str,
        fixture: &Fixture<'_>,
        tasks: Option<usize>,
        lease: Duration,
        window: Duration,
    ) -> Self {
        let tasks = tasks.map_or_else(|| "all".to_owned(), |tasks| tasks.to_string());
        let what = [fixture.subject.name(), &fixture.name, &tasks];
        Self::run(program, fixture, what, [lease, window])
    }

    /// So many of its tasks do it with the primitive `a`. `what` is the name of a subject, the text of the owner of a reentrant
    /// mutex, or `latch`: then they count it down under one id, and wait for zero.
    ///
    /// # Panics
    /// If it does not start.
    pub fn spawn(
        program: &str,
        fixture: &Fixture<'_>,
        what: &str,
        tasks: usize,
        lease: Duration,
        window: Duration,
    ) -> Self {
        Self::run(program, fixture, [what, "a", &tasks.to_string()], [lease, window])
    }

    fn run(program: &str, fixture: &Fixture<'_>, what: [&str; 3], times: [Duration; 2]) -> Self {
        let mut child = Command::new(program)
            .args([&fixture.url(), fixture.prefix.as_str()])
            .args(what)
            .args(times.map(|time| time.as_millis().to_string()))
            .arg(fixture.distance.trip().as_millis().to_string())
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

    /// The next thing it says begins with this word; the number after it, or zero.
    ///
    /// # Panics
    /// If it says something else, or nothing.
    pub async fn says(&self, word: &str) -> u64 {
        let mut said = None;
        eventually(&format!("it says {word}"), || {
            said = said.take().or_else(|| self.has_said());
            said.is_some()
        })
        .await;
        let said = said.expect("a line");
        let number = said.strip_prefix(word).map(str::trim);
        let number = number.unwrap_or_else(|| panic!("it said {said}, not {word}"));
        number.parse().unwrap_or(0)
    }

    /// What it has said by now.
    pub fn has_said(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If it is not there.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }

    /// SIGSTOP; returns when it really stands still (Linux; elsewhere at once).
    ///
    /// # Panics
    /// If it does not.
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
    ///
    /// # Panics
    /// If it is not there.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().expect("sh");
        assert!(status.success(), "kill -{name}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
