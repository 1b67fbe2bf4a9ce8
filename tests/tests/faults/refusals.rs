//! A server that refuses for a while is waited for, without a storm of connections.
//!
//! It may be a replica, loading, busy, short of replicas, or without pub/sub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchwork_mutex::{ErrorKind, Warning};
use latchwork_testkit::{RespClient, TestServer};
use latchwork_tests::{
    Fixture, LEASE, LONG, eventually, granted, locked, locking, mutex, soon, still_held, unlocked,
};

/// What an attempt with this deadline comes to.
async fn refusal(client: &latchwork_mutex::Client, name: &str, wait: Duration) -> latchwork_mutex::Error {
    soon("a refusal", mutex(client, name).try_lock_for(wait))
        .await
        .expect_err("nobody can know")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h42_a_demoted_server_is_waited_for() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.steady().await;
    let kept = locked(&client, "kept").await;
    server
        .admin(&["REPLICAOF", "127.0.0.1", "1"])
        .expect("a replica of nobody");
    let error = refusal(&client, "a", LEASE * 4).await;
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    assert!(error.to_string().contains("`a`"), "names the lock: {error}");
    assert!(error.is_transient(), "it may pass");
    let error = kept.extend(LONG).await.expect_err("refused");
    assert!(
        matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Unavailable),
        "{error:?}"
    );
    let waiter = locking(&client, "b");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiter.is_finished(), "it waits for better times");
    server
        .admin(&["REPLICAOF", "NO", "ONE"])
        .expect("a primary again");
    soon("an unlock", granted(waiter).await.unlock())
        .await
        .expect("released");
    still_held(&kept, LONG).await;
    unlocked(kept).await;
    for name in ["a", "b", "kept"] {
        fixture.named(name).settled_within(Duration::from_secs(2)).await;
    }
    fixture.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h43_a_loading_server_is_waited_for() {
    // Loading slowly: it answers from time to time, and takes seconds.
    let builder = TestServer::builder().persist(true);
    let server = builder.arg("--key-load-delay", "20").start().expect("a server");
    let server = Arc::new(server);
    let fixture = Fixture::on(&server);
    let minute = Duration::from_secs(60); // for a busy machine
    let patient = || {
        fixture
            .builder()
            .lease(LONG * 3)
            .operation_timeout(LONG)
            .unavailable_after(minute)
    };
    let client = patient().connect().await.expect("a client");
    let kept = locked(&client, "kept").await;
    let fill = "for i = 1, 30000 do redis.call('SET', 'fill:' .. i, i, 'PX', 60000) end";
    server.admin(&["EVAL", fill, "0"]).expect("filled");

    let restarted = Arc::clone(&server);
    let restart = tokio::task::spawn_blocking(move || restarted.restart());
    let loading = || {
        let answer = server.admin(&["GET", "x"]);
        answer.is_err_and(|error| error.to_string().contains("LOADING"))
    };
    eventually("it loads", loading).await;
    let waiter = locking(&client, "a");
    let error = soon("a refusal", patient().connect()).await.expect_err("loading");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(format!("{error:?}").contains("LOADING"), "says why: {error:?}");
    soon("the restart", restart)
        .await
        .expect("no panic")
        .expect("again");
    soon("an unlock", granted(waiter).await.unlock())
        .await
        .expect("released");
    still_held(&kept, LONG * 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h45_a_busy_server_is_waited_for() {
    let server = TestServer::builder().arg("--lua-time-limit", "10").start();
    let server = server.expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.steady().await;
    let kept = locked(&client, "kept").await;
    let mut other = RespClient::connect(server.port()).expect("a connection");
    other.send(&["EVAL", "while true do end", "0"]).expect("sent");
    let busy = || {
        let answer = server.admin(&["GET", "x"]);
        answer.is_err_and(|error| error.to_string().contains("BUSY"))
    };
    eventually("it is busy", busy).await;
    let error = refusal(&client, "a", LEASE).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(format!("{error:?}").contains("BUSY"), "says why: {error:?}");
    let waiter = locking(&client, "b");
    server.admin(&["SCRIPT", "KILL"]).expect("killed");
    soon("an unlock", granted(waiter).await.unlock())
        .await
        .expect("released");
    still_held(&kept, LONG).await;
    fixture.settled_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h44_too_few_replicas_delay_a_release() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.steady().await;
    let guard = locked(&client, "a").await;
    let replicas = |least: &str| {
        let set = server.admin(&["CONFIG", "SET", "min-replicas-to-write", least]);
        set.expect("set");
    };
    replicas("1");
    let told = async {
        loop {
            let error = refusal(&client, "b", LEASE).await;
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            // The last request may be cut short by the deadline, and then says that.
            if format!("{error:?}").contains("NOREPLICAS") {
                return;
            }
        }
    };
    soon("it says why", told).await;
    let mut unlock = std::pin::pin!(guard.unlock());
    let early = tokio::time::timeout(LEASE, &mut unlock).await;
    assert!(early.is_err(), "not released yet: {early:?}");
    assert!(
        mutex(&client, "a").is_locked().await.expect("an answer"),
        "still there"
    );
    replicas("0");
    soon("an unlock", unlock).await.expect("released after all");
    fixture.settled_within(Duration::ZERO).await;
    fixture.named("b").settled_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h44_a_release_that_stays_refused_is_reported_when_the_lease_is_over() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client().await;
    let guard = locked(&client, "a").await;
    server
        .admin(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .expect("set");
    let start = Instant::now();
    let error = soon("an unlock", guard.unlock()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    // Its lease is 300 ms; what it must not do is go on for as long as the keeper does.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "it went on for {took:?}");
    server
        .admin(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .expect("set");
    eventually("the keeper has ended it", || client.live() == 0).await;
    fixture.settled_within(Duration::from_secs(1)).await;
}

/// Hands a lock over under these rules of an ACL user; returns the warnings of both clients.
async fn hand_over_under(rules: &[&str], waiter_too: bool) -> Vec<Warning> {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let url = fixture.restricted(rules);
    let one = fixture.builder_at(&url).connect().await.expect("one");
    let url = if waiter_too { url } else { server.url() };
    let two = fixture.builder_at(url).connect().await.expect("two");
    assert_eq!(two.is_listening(), !waiter_too, "its inbox");
    for _ in 0..2 {
        let first = locked(&one, "a").await;
        let mut waiters = Vec::new();
        for count in [1, 2] {
            waiters.push(locking(&two, "a"));
            fixture.queued(count).await;
        }
        let mut last = first.fencing_token();
        unlocked(first).await;
        for waiter in waiters {
            let guard = granted(waiter).await;
            assert!(guard.fencing_token() > last, "tokens rise");
            last = guard.fencing_token();
            unlocked(guard).await;
        }
    }
    fixture.settled_within(Duration::ZERO).await;
    let mut warnings = one.warnings();
    warnings.extend(two.warnings());
    warnings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h46_without_the_right_to_subscribe_waiting_polls() {
    for rules in [&["-subscribe"][..], &["resetchannels", "&elsewhere:*"]] {
        let warnings = hand_over_under(rules, true).await;
        let said = |warning: &Warning| matches!(warning, Warning::SubscribeDenied { .. });
        assert!(warnings.iter().any(said), "{rules:?}: {warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h46_without_the_right_to_publish_waiting_polls() {
    let warnings = hand_over_under(&["-publish"], true).await;
    assert!(warnings.contains(&Warning::PublishDenied), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h46_a_holder_without_the_right_to_publish_costs_a_waiter_with_it_one_tick() {
    let warnings = hand_over_under(&["-publish"], false).await;
    assert!(warnings.contains(&Warning::PublishDenied), "{warnings:?}");
}

#[tokio::test]
async fn h42_a_demoted_primary_causes_no_storm_of_connections() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture.proxied().await;
    let before = proxy.accepted();
    server.admin(&["REPLICAOF", "127.0.0.1", "1"]).expect("an answer");
    let mutex = mutex(&client, "a");
    let error = mutex
        .try_lock_for(Duration::from_secs(1))
        .await
        .expect_err("a replica");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    let made = proxy.accepted() - before;
    assert!(
        made < 80,
        "{made} connections in a second, with pauses of 2 to 50 ms"
    );
    server.admin(&["REPLICAOF", "NO", "ONE"]).expect("an answer");
    mutex
        .lock()
        .await
        .expect("a primary again")
        .unlock()
        .await
        .expect("released");
}
