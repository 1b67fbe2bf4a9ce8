//! Processes that count or wait, and are killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use latchwork_tests::{Place, eventually};

use super::common::{latch, opened, passed, queued, settled, waiters, waiting};

/// A process whose tasks count the latch `a` down under one id, and wait.
struct Other {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Other {
    fn start(place: &Place<'_>, tasks: usize) -> Self {
        let task = format!("{} {} {tasks} 300 1000 latch", place.server.url(), place.prefix);
        let mut child = Command::new(env!("CARGO_BIN_EXE_latchwork-test-holder"))
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

    /// The next thing it says.
    async fn says(&self, what: &str) {
        let mut said = None;
        eventually(&format!("it says {what}"), || {
            said = said.take().or_else(|| self.lines.try_recv().ok());
            said.is_some()
        })
        .await;
        assert_eq!(said.as_deref(), Some(what), "what it says next");
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_waiters_keep_nobody_waiting() {
    let place = Place::shared();
    let client = place.client().await;
    let made = latch(&client, 2);
    made.count().await.expect("made");
    let mut other = Other::start(&place, 5);
    for _ in 0..5 {
        other.says("left 1").await;
    }
    queued(&place, 5).await;
    let waiter = waiting(&made);
    queued(&place, 6).await;
    other.kill();
    assert_eq!(made.count_down().await.expect("counted"), 0);
    passed(waiter).await;
    assert_eq!(waiters(&place), 0, "the places of the dead are gone, too");
    settled(&place, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h64_a_process_that_starts_again_counts_once() {
    let place = Place::shared();
    let client = place.client().await;
    let made = latch(&client, 2);
    made.count().await.expect("made");
    for _ in 0..3 {
        let mut other = Other::start(&place, 1);
        other.says("left 1").await;
        other.kill();
    }
    let other = Other::start(&place, 1);
    other.says("left 1").await;
    eventually("it waits", || waiters(&place) >= 1).await;
    assert_eq!(opened(&client).count_down().await.expect("counted"), 0);
    other.says("passed").await;
    settled(&place, &[&client]).await;
}
