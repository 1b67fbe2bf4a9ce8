//! Killed processes keep nobody waiting, and one that starts again counts once.

use std::time::Duration;

use latchwork_tests::{Fixture, LEASE, Other, eventually};

use super::common::{latch, opened, passed, settled, shared, waiting};

fn start(fixture: &Fixture<'_>, tasks: usize) -> Other {
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    Other::spawn(program, fixture, "latch", tasks, LEASE, Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_waiters_keep_nobody_waiting() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 2);
    made.count().await.expect("made");
    let mut other = start(&fixture, 5);
    for _ in 0..5 {
        other.says("left 1").await;
    }
    fixture.queued(5).await;
    let waiter = waiting(&made);
    fixture.queued(6).await;
    other.kill();
    assert_eq!(made.count_down().await.expect("counted"), 0);
    passed(waiter).await;
    assert_eq!(fixture.waiters(), 0, "the places of the dead are gone, too");
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h64_a_process_that_starts_again_counts_once() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 2);
    made.count().await.expect("made");
    for _ in 0..3 {
        let mut other = start(&fixture, 1);
        other.says("left 1").await;
        other.kill();
    }
    let other = start(&fixture, 1);
    other.says("left 1").await;
    eventually("it waits", || fixture.waiters() >= 1).await;
    assert_eq!(opened(&client).count_down().await.expect("counted"), 0);
    other.says("passed").await;
    settled(&fixture, &[&client]).await;
}
