//! Waiting, renewing, loading scripts and heartbeats take no more requests than they should.

use std::time::Duration;

use latchwork_mutex::Mutex;
use latchwork_testkit::{ConnKind, Proxy, TestServer};
use latchwork_tests::{Fixture, eventually, go, locked, mutex};

fn requests(proxy: &Proxy) -> u64 {
    proxy.requests_of(ConnKind::Commands)
}

#[tokio::test]
async fn h6_waiters_on_a_held_lock_do_not_poll() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.counted().await;
    let outside = fixture.patient().await;
    let held = locked(&outside, "a").await;
    let mutex = mutex(&client, "a");
    let tasks: Vec<_> = (0..100).map(|_| go(mutex.lock())).collect();
    fixture.queued(100).await;
    let sent = requests(&proxy);
    assert!((1..=100).contains(&sent), "one each at most, not {sent}");
    proxy.reset_counts();
    // A tick every three seconds, for all of them together.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(requests(&proxy), 1, "one refresh for all hundred");
    for task in &tasks {
        task.abort();
    }
    eventually("all gave up their places", || client.live() == 0).await;
    held.unlock().await.expect("released");
    fixture.settled_within(Duration::ZERO).await;
}

#[tokio::test]
async fn renewals_of_many_holds_share_requests() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture
        .proxied_with(|b| b.lease(Duration::from_secs(3)).heartbeat(Duration::from_secs(60)))
        .await;
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

#[tokio::test]
async fn scripts_are_sent_once_to_a_server_and_not_to_every_client() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let proxy = Proxy::start(server.port()).expect("a proxy");
    // Redis 6.2 has one number for all of SCRIPT: also for the question whether it knows them, one for each client.
    let loads = |clients: u64| {
        let calls = server.command_calls().expect("an answer");
        match calls.get("script") {
            Some(all) => all.saturating_sub(clients),
            None => calls.get("script|load").copied().unwrap_or(0),
        }
    };
    fixture.client().await;
    let first = loads(1);
    assert!(first > 0, "the server knew none");
    let second = fixture.builder_at(proxy.url()).connect().await.expect("a client");
    assert_eq!(loads(2), first, "it knows them now");
    let mutex = mutex(&second, "a");
    let guard = mutex.lock().await.expect("the lock");
    guard.unlock().await.expect("released");
    assert_eq!(loads(2), first, "and runs them");
}

/// A count-down hears no time, nor does a release: who asks for little else would drift away from the server's clock.
#[tokio::test]
async fn a_heartbeat_asks_for_the_time() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture
        .proxied_with(|b| b.heartbeat(Duration::from_millis(30)))
        .await;
    proxy.reset_counts();
    eventually("three heartbeats", || {
        proxy.request_names().get("TIME").is_some_and(|times| *times >= 3)
    })
    .await;
    drop(client);
}
