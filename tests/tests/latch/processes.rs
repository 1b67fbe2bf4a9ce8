//! Processes that count or wait, and are killed.

use std::time::Duration;

use latchwork_tests::{LEASE, Other, Place, eventually};

use super::common::{latch, opened, passed, queued, settled, waiters, waiting};

fn start(place: &Place<'_>, tasks: usize) -> Other {
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    Other::spawn(program, place, "latch", tasks, LEASE, Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_waiters_keep_nobody_waiting() {
    let place = Place::shared();
    let client = place.client().await;
    let made = latch(&client, 2);
    made.count().await.expect("made");
    let mut other = start(&place, 5);
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
        let mut other = start(&place, 1);
        other.says("left 1").await;
        other.kill();
    }
    let other = start(&place, 1);
    other.says("left 1").await;
    eventually("it waits", || waiters(&place) >= 1).await;
    assert_eq!(opened(&client).count_down().await.expect("counted"), 0);
    other.says("passed").await;
    settled(&place, &[&client]).await;
}
