//! `close` ends everything that the client has, and counts it.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use latchwork_mutex::{ErrorKind, Loss, Mutex};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, go, locked, locking, mutex};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn close_ends_everything_and_counts_it() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let mutex = mutex(&client, "a");
    let guard = mutex.lock().await.expect("the lock");
    let other = locked(&client, "b").await;
    let lost = go(guard.lost());
    let waiting = go(mutex.lock());
    fixture.queued(1).await;

    let start = Instant::now();
    let closed = client.close().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "within the operation timeout"
    );
    assert_eq!((closed.released, closed.unsent), (3, 0), "two holds and a waiter");
    fixture.settled_within(Duration::ZERO).await;
    fixture.named("b").settled_within(Duration::ZERO).await;

    assert_eq!(lost.await.expect("no panic"), Loss::Closed, "told");
    for guard in [&guard, &other] {
        assert!(guard.is_lost(), "and it stays so");
        assert_eq!(guard.valid_for(), Duration::ZERO, "no time left");
        assert_eq!(guard.lost().await, Loss::Closed, "whenever it is asked");
        let error = guard.extend(LONG).await.expect_err("lost");
        assert_eq!(error.loss(), Some(Loss::Closed), "{error}");
    }
    let error = guard.unlock().await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Closed), "{error}");
    let error = waiting.await.expect("no panic").expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    let error = mutex.lock().await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    let error = client.ping().await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");

    let again = client.close().await;
    assert_eq!((again.released, again.unsent), (0, 0), "nothing is left to do");
    assert_eq!(client.live(), 0, "no slot is left");
    drop(other);
    fixture.check_leftovers();
}

#[tokio::test]
async fn close_hands_on_to_other_clients() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let other = fixture.client().await;
    let guard = locked(&client, "a").await;
    let next = locking(&other, "a");
    fixture.queued(1).await;
    assert_eq!(client.close().await.released, 1, "the hold");
    let next = next.await.expect("no panic").expect("handed on");
    assert!(guard.is_lost(), "before anybody else had it");
    drop(next);
}

/// A release that is under way when the client closes says what came of it, once.
#[tokio::test]
async fn close_does_not_disturb_a_release_under_way() {
    for round in 0..50 {
        let fixture = Fixture::shared();
        let client = fixture.steady().await;
        let guard = locked(&client, "a").await;
        let (unlocked, closed) = join(guard.unlock(), client.close()).await;
        unlocked.unwrap_or_else(|error| panic!("round {round}: it was ours: {error}"));
        assert_eq!(closed.unsent, 0, "round {round}: all was sent");
    }
}

#[tokio::test]
async fn close_from_many_places_at_once() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let guard = locked(&client, "a").await;
    let all = join_all((0..8).map(|_| client.close())).await;
    assert!(all.iter().all(|closed| closed.unsent == 0), "{all:?}");
    assert!(guard.is_lost(), "closed");
    assert!(!fixture.is_held(), "released");
}

#[tokio::test]
async fn close_dropped_after_its_first_poll_goes_on() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let guard = locked(&client, "a").await;
    let closing = latchwork_testkit::drop_after_polls(client.close(), 1).await;
    assert!(closing.is_dropped(), "it needs the server");
    assert!(guard.is_lost(), "at once");
    fixture.settled_within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn close_with_a_frozen_server_returns_in_time_and_reports_unsent() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let timeout = Duration::from_millis(300);
    let connecting = fixture.builder().lease(LONG).operation_timeout(timeout).connect();
    let client = connecting.await.expect("a client");
    let guard = locked(&client, "a").await;
    server.freeze().expect("it stands still");
    let start = Instant::now();
    let closed = client.close().await;
    let took = start.elapsed();
    server.thaw().expect("it goes on");
    assert!(took >= timeout, "it tries for as long as it may: {took:?}");
    assert!(
        took < timeout + Duration::from_millis(700),
        "not longer: {took:?}"
    );
    assert_eq!(
        (closed.released, closed.unsent),
        (0, 1),
        "the hold was not heard of"
    );
    assert!(guard.is_lost(), "all the same");
    let again = client.close().await;
    assert_eq!((again.released, again.unsent), (0, 1), "and it stays so");
}

#[tokio::test]
async fn h15_the_last_guard_keeps_the_client_and_its_drop_is_still_sent() {
    let fixture = Fixture::shared();
    let guard = {
        let client = fixture.client().await;
        let mutex = mutex(&client, "a");
        mutex.lock().await.expect("the lock")
    };
    tokio::time::sleep(2 * LEASE).await;
    assert!(!guard.is_lost(), "renewed: the guard keeps the client");
    guard.extend(4 * LEASE).await.expect("and everything works");
    drop(guard);
    fixture.settled_within(Duration::from_millis(900)).await;

    let lost = {
        let client = fixture.client().await;
        let mutex = mutex(&client, "b");
        let guard = mutex.lock().await.expect("the lock");
        guard.lost()
    };
    fixture.named("b").settled_within(Duration::from_secs(1)).await;
    let released = tokio::time::timeout(2 * LEASE, lost).await;
    assert!(released.is_err(), "a release is not a loss");
}

/// Attempts that begin while the client closes are refused or ended like the others, never left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn close_races_new_attempts() {
    let fixture = Fixture::shared();
    for round in 0..100 {
        let client = fixture.steady().await;
        let name = format!("a{round}");
        let mutex = Mutex::new(&client, &name).expect("a mutex");
        let tasks = (0..3).map(|_| {
            let mutex = mutex.clone();
            go(async move { while mutex.lock().await.is_ok() {} })
        });
        let tasks: Vec<_> = tasks.collect();
        let pause = Duration::from_micros(50 * round);
        tokio::time::sleep(pause).await;
        let closed = client.close().await;
        assert_eq!(closed.unsent, 0, "round {round}: all was sent");
        for task in tasks {
            let ended = tokio::time::timeout(Duration::from_secs(5), task).await;
            ended.expect("it answers").expect("no panic");
        }
        assert_eq!(client.live(), 0, "round {round}: no slot is left");
        fixture
            .named(name)
            .settled_within(Duration::from_millis(100))
            .await;
    }
}
