//! `close()`, and what it says.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use latchwork_mutex::{ErrorKind, Loss, Mutex};
use latchwork_testkit::TestServer;
use latchwork_tests::{LEASE, Place, eventually, go};

use crate::support::{is_held, waiters};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn close_ends_everything_and_counts_it() {
    let place = Place::shared();
    let client = place.builder().lease(LONG).connect().await.expect("a client");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let other = Mutex::new(&client, "b")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let lost = go(guard.lost());
    let waiting = go(mutex.lock());
    eventually("it queues", || waiters(&place, "a") == 1).await;

    let start = Instant::now();
    let closed = client.close().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "within the operation timeout"
    );
    assert_eq!((closed.released, closed.unsent), (3, 0), "two holds and a waiter");
    place.settled("a", Duration::ZERO).await;
    place.settled("b", Duration::ZERO).await;

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
    place.check_leftovers();
}

#[tokio::test]
async fn close_hands_on_to_other_clients() {
    let place = Place::shared();
    let client = place.builder().lease(LONG).connect().await.expect("a client");
    let other = place.client().await;
    let guard = Mutex::new(&client, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let next = go(Mutex::new(&other, "a").expect("a mutex").lock());
    eventually("it queues", || waiters(&place, "a") == 1).await;
    assert_eq!(client.close().await.released, 1, "the hold");
    let next = next.await.expect("no panic").expect("handed on");
    assert!(guard.is_lost(), "before anybody else had it");
    drop(next);
}

/// A release that is under way when the client closes says what came of it, once.
#[tokio::test]
async fn close_does_not_disturb_a_release_under_way() {
    for round in 0..50 {
        let place = Place::shared();
        let client = place.builder().lease(LONG).connect().await.expect("a client");
        let guard = Mutex::new(&client, "a")
            .expect("a mutex")
            .lock()
            .await
            .expect("the lock");
        let (unlocked, closed) = join(guard.unlock(), client.close()).await;
        unlocked.unwrap_or_else(|error| panic!("round {round}: it was ours: {error}"));
        assert_eq!(closed.unsent, 0, "round {round}: all was sent");
    }
}

#[tokio::test]
async fn close_from_many_places_at_once() {
    let place = Place::shared();
    let client = place.client().await;
    let guard = Mutex::new(&client, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let all = join_all((0..8).map(|_| client.close())).await;
    assert!(all.iter().all(|closed| closed.unsent == 0), "{all:?}");
    assert!(guard.is_lost(), "closed");
    assert!(!is_held(&place, "a"), "released");
}

#[tokio::test]
async fn close_dropped_after_its_first_poll_goes_on() {
    let place = Place::shared();
    let client = place.builder().lease(LONG).connect().await.expect("a client");
    let guard = Mutex::new(&client, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let closing = latchwork_testkit::drop_after_polls(client.close(), 1).await;
    assert!(closing.is_dropped(), "it needs the server");
    assert!(guard.is_lost(), "at once");
    place.settled("a", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn close_with_a_frozen_server_returns_in_time_and_says_unsent() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let timeout = Duration::from_millis(300);
    let connecting = place.builder().lease(LONG).operation_timeout(timeout).connect();
    let client = connecting.await.expect("a client");
    let guard = Mutex::new(&client, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
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
    let place = Place::shared();
    let guard = {
        let client = place.client().await;
        let mutex = Mutex::new(&client, "a").expect("a mutex");
        mutex.lock().await.expect("the lock")
    };
    tokio::time::sleep(2 * LEASE).await;
    assert!(!guard.is_lost(), "renewed: the guard keeps the client");
    guard.extend(4 * LEASE).await.expect("and everything works");
    drop(guard);
    place.settled("a", Duration::from_millis(900)).await;

    let lost = {
        let client = place.client().await;
        let mutex = Mutex::new(&client, "b").expect("a mutex");
        let guard = mutex.lock().await.expect("the lock");
        guard.lost()
    };
    place.settled("b", Duration::from_secs(1)).await;
    let released = tokio::time::timeout(2 * LEASE, lost).await;
    assert!(released.is_err(), "a release is not a loss");
}

/// Attempts that begin while the client closes are refused or ended like the others, never left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn close_races_new_attempts() {
    let place = Place::shared();
    for round in 0..100 {
        let client = place.builder().lease(LONG).connect().await.expect("a client");
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
        place.settled(&name, Duration::from_millis(100)).await;
    }
}
