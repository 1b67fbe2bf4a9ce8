//! Requests and messages are counted at the socket, never timed.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::time::Duration;

use latchwork_mutex::Mutex;
use latchwork_testkit::{ConnKind, Proxy, TestServer};
use latchwork_tests::{Place, eventually, go, messages};

fn requests(proxy: &Proxy) -> u64 {
    proxy.requests_of(ConnKind::Commands)
}

#[tokio::test]
async fn an_uncontended_lock_and_unlock_are_two_requests() {
    let place = Place::shared();
    let (proxy, client) = place.counted().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    for _ in 0..50 {
        mutex
            .lock()
            .await
            .expect("the lock")
            .unlock()
            .await
            .expect("released");
    }
    assert_eq!(requests(&proxy), 100, "one to lock, one to unlock");
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
}

#[tokio::test]
async fn a_dropped_guard_costs_one_request() {
    let place = Place::shared();
    let (proxy, client) = place.counted().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    drop(mutex.lock().await.expect("the lock"));
    eventually("released", || client.live() == 0).await;
    assert_eq!(requests(&proxy), 2, "as much as an awaited release");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contended_acquisition_is_two_requests_and_one_message() {
    const CLIENTS: usize = 4;
    const TASKS: usize = 4;
    const ROUNDS: usize = 25;
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(place.counted().await);
    }
    // One that nobody counts holds until everybody waits.
    let outside = place.client().await;
    server.reset_stats().expect("an answer");
    let first = Mutex::new(&outside, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let mut tasks = Vec::new();
    for (_, client) in &clients {
        for _ in 0..TASKS {
            let mutex = Mutex::new(client, "a").expect("a mutex");
            tasks.push(go(async move {
                for _ in 0..ROUNDS {
                    mutex
                        .lock()
                        .await
                        .expect("the lock")
                        .unlock()
                        .await
                        .expect("released");
                }
            }));
        }
    }
    eventually("all wait", || place.members("a").len() == 2 + CLIENTS * TASKS).await;
    first.unlock().await.expect("released");
    for task in tasks {
        task.await.expect("no panic");
    }
    let acquisitions = u64::try_from(CLIENTS * TASKS * ROUNDS).expect("small");
    let sent: u64 = clients.iter().map(|(proxy, _)| requests(proxy)).sum();
    assert_eq!(sent, 2 * acquisitions, "a failed acquire and a release each");
    assert!(
        messages(&server) <= acquisitions,
        "one message each, at most: the last ones need none"
    );
}

#[tokio::test]
async fn h6_waiters_on_a_held_lock_do_not_poll() {
    let place = Place::shared();
    let (proxy, client) = place.counted().await;
    let outside = place
        .builder()
        .lease(Duration::from_secs(60))
        .connect()
        .await
        .expect("a client");
    let held = Mutex::new(&outside, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let tasks: Vec<_> = (0..100).map(|_| go(mutex.lock())).collect();
    eventually("all wait", || place.members("a").len() == 102).await;
    assert_eq!(requests(&proxy), 100, "one each");
    proxy.reset_counts();
    // A tick every three seconds, for all of them together.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(requests(&proxy), 1, "one refresh for all hundred");
    for task in &tasks {
        task.abort();
    }
    eventually("all gave up their places", || client.live() == 0).await;
    held.unlock().await.expect("released");
    place.settled("a", Duration::ZERO).await;
}

#[tokio::test]
async fn renewals_of_many_holds_share_requests() {
    let place = Place::shared();
    let proxy = Proxy::start(place.server.port()).expect("a proxy");
    let client = place
        .builder_at(proxy.url())
        .lease(Duration::from_secs(3))
        .heartbeat(Duration::from_secs(60))
        .connect()
        .await
        .expect("a client");
    let mut guards = Vec::new();
    for number in 0..250 {
        let mutex = Mutex::new(&client, format!("a{number}")).expect("a mutex");
        guards.push(mutex.lock().await.expect("the lock"));
    }
    proxy.reset_counts();
    tokio::time::sleep(Duration::from_millis(2900)).await;
    assert!(guards.iter().all(|guard| !guard.is_lost()), "all renewed");
    let sent = requests(&proxy);
    // Two or three rounds of three requests; taking the locks spread the first round a little.
    assert!((3..=15).contains(&sent), "{sent} requests for 250 holds");
}
