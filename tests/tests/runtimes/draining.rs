//! `drain` begins nothing new, lets guards finish, and closes the client.

use std::time::Duration;

use latchwork_latch::CountdownLatch;
use latchwork_mutex::{ErrorKind, Loss};
use latchwork_rwlock::RwLock;
use latchwork_tests::{Fixture, LEASE, eventually, go, locked, locking, mutex, soon, unlocked};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn guards_finish_and_nothing_new_begins() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let lock = RwLock::new(&client, "shared").expect("a lock");
    let guard = locked(&client, "a").await;
    let writer = soon("a write", lock.write()).await.expect("the lock");
    let waiter = locking(&client, "a");
    fixture.queued(1).await;

    let draining = client.clone();
    let drain = go(async move { draining.drain(LONG).await });
    let ended = soon("an answer", waiter).await.expect("no panic");
    let new = || mutex(&client, "b").lock();
    for error in [
        ended.expect_err("it waited"),
        new().await.expect_err("it is new"),
        mutex(&client, "b").try_lock().await.expect_err("it is new"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("draining"), "{error}");
    }
    // What is held is renewed, converted and released.
    tokio::time::sleep(LEASE * 2).await;
    guard.extend(LEASE).await.expect("extended");
    let reader = soon("a downgrade", writer.downgrade()).await.expect("a share");
    assert_eq!(
        lock.read().await.expect_err("it is new").kind(),
        ErrorKind::Closed
    );
    let latch = CountdownLatch::new(&client, "done", 1).expect("a latch");
    assert_eq!(
        latch.count_down().await.expect("counted"),
        0,
        "others wait for it"
    );
    assert!(!drain.is_finished(), "two are alive");
    unlocked(guard).await;
    drop(reader);
    let drained = soon("the drain", drain).await.expect("no panic");
    assert_eq!((drained.held, drained.closed.unsent), (0, 0), "{drained:?}");
    assert!(drained.names.is_empty(), "{drained:?}");
    let error = new().await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(client.live(), 0, "nothing is left");
}

#[tokio::test]
async fn what_is_held_for_too_long_is_reported_and_released() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let guards = [locked(&client, "a").await, locked(&client, "b").await];
    let drained = soon("the drain", client.drain(LEASE)).await;
    assert_eq!((drained.held, drained.closed.released), (2, 2), "{drained:?}");
    let names: Vec<_> = drained.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"], "the oldest first");
    for guard in guards {
        assert_eq!(guard.lost().await, Loss::Closed, "told");
    }
    fixture.settled_within(Duration::ZERO).await;
}

#[tokio::test]
async fn a_body_of_run_finishes_before_the_client_is_closed() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let lock = mutex(&client, "a");
    let running = go(async move { lock.run(async |_| finished.await.expect("it is told")).await });
    eventually("it runs", || fixture.is_held()).await;
    let draining = client.clone();
    let drain = go(async move { draining.drain(LONG).await });
    eventually("it drains", || mutex_is_refused(&client)).await;
    finish.send(()).expect("it waits");
    soon("the body", running)
        .await
        .expect("no panic")
        .expect("it was not interrupted");
    let drained = soon("the drain", drain).await.expect("no panic");
    assert_eq!(drained.held, 0, "{drained:?}");
}

/// Whether a new attempt is refused at its first poll.
fn mutex_is_refused(client: &latchwork_mutex::Client) -> bool {
    use futures_util::FutureExt;
    let refused = mutex(client, "other").try_lock().now_or_never();
    refused.is_some_and(|result| result.is_err())
}

#[tokio::test]
async fn a_client_without_guards_is_closed_at_once() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let drained = soon("the drain", client.drain(LONG)).await;
    assert_eq!((drained.held, drained.closed.released), (0, 0), "{drained:?}");
    let again = soon("again", client.drain(LONG)).await;
    assert_eq!(again.held, 0, "{again:?}");
}

#[tokio::test]
async fn the_names_of_the_hundred_oldest_holds_are_reported() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let mut guards = Vec::new();
    for number in 0..101 {
        guards.push(locked(&client, &number.to_string()).await);
    }
    let drained = soon("the drain", client.drain(Duration::ZERO)).await;
    assert_eq!(drained.held, 101, "all are counted");
    let names: Vec<_> = drained.names.iter().map(ToString::to_string).collect();
    let oldest: Vec<_> = (0..100).map(|number: u32| number.to_string()).collect();
    assert_eq!(names, oldest, "the oldest first");
}

#[tokio::test]
async fn a_drain_that_is_dropped_refuses_new_work_and_closes_nothing() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let guard = locked(&client, "a").await;
    let dropped = tokio::time::timeout(Duration::from_millis(1), client.drain(LONG)).await;
    assert!(dropped.is_err(), "a guard is alive");
    assert!(mutex_is_refused(&client), "still draining");
    guard.extend(LONG).await.expect("not closed");
    assert!(!guard.is_lost(), "not closed");
    unlocked(guard).await;
    let drained = soon("another drain", client.drain(LONG)).await;
    assert_eq!((drained.held, drained.closed.unsent), (0, 0), "{drained:?}");
}
