//! When sentinels name another primary, clients go there at once, with their holds and places.

use std::time::Duration;

use latchwork_mutex::ClientBuilder;
use latchwork_testkit::{Reply, RespClient, TestSentinel, TestServer};
use latchwork_tests::{
    Fixture, LONG, MINUTE, eventually, go, granted, locked, locking, mutex, rises, soon, subject, unlocked,
};

use super::{follows, scripts, sentinel};

/// Each primitive: a holder and a waiter on other clients.
async fn holds_and_places_live_on(all: &TestSentinel, switch: impl AsyncFnOnce()) {
    let fixture = Fixture::behind(all);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let mut pairs = Vec::new();
    for subject in subject::all() {
        let fixture = fixture.named(subject.name()).with(subject);
        let first = fixture.all(&one).await;
        let waiter = fixture.queue(&two).await;
        pairs.push((fixture, first, waiter));
    }
    all.wait_replicated().expect("copied");
    switch().await;
    let primary = all.master().expect("a primary");
    follows(&one, primary).await;
    follows(&two, primary).await;
    for (mut fixture, first, waiter) in pairs {
        fixture.server = primary;
        assert!(
            !first.is_lost(),
            "{}: the record went along",
            fixture.subject.name()
        );
        let token = first.token();
        fixture.released(first).await;
        let second = fixture.granted(waiter).await;
        rises(token, second.token());
        fixture.released(second).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commanded_failover_costs_nothing_that_was_copied() {
    let all = sentinel(1);
    holds_and_places_live_on(&all, async || {
        all.failover().expect("another primary");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_before_writes_are_paused_is_not_lost() {
    let all = sentinel(1);
    let fixture = Fixture::behind(&all);
    let client = fixture.steady().await;
    let old = all.master().expect("a primary");
    let mut held = vec![locked(&client, "before").await];
    old.admin(&["CLIENT", "PAUSE", "10000", "WRITE"]).expect("paused");
    let asking: Vec<_> = (0..5)
        .map(|number| locking(&client, format!("during-{number}")))
        .collect();
    all.wait_replicated().expect("copied");
    let new = all.failover().expect("another primary");
    follows(&client, new).await;
    for locking in asking {
        held.push(granted(locking).await);
    }
    let keys = new.keys(&fixture.prefix).expect("keys");
    for name in ["before", "during-0", "during-4"] {
        assert!(
            keys.contains(&fixture.named(name).key()),
            "{name} is not in {keys:?}"
        );
    }
    for guard in held {
        assert!(!guard.is_lost(), "nothing is lost");
        unlocked(guard).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_primary_costs_nothing_that_was_copied() {
    let all = sentinel(2);
    holds_and_places_live_on(&all, async || {
        let old = all.master().expect("a primary");
        old.kill().expect("killed");
        all.wait_switched(old).expect("another primary");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_is_left_and_nothing_is_sent_to_it_again() {
    let all = sentinel(1);
    let old = all.master().expect("a primary");
    holds_and_places_live_on(&all, async || {
        old.freeze().expect("frozen");
        all.wait_switched(old).expect("another primary");
    })
    .await;
    let fixture = Fixture::behind(&all);
    let client = fixture.client().await;
    old.thaw().expect("thawed");
    let before = scripts(old);
    for _ in 0..20 {
        unlocked(locked(&client, "a").await).await;
    }
    assert_eq!(
        scripts(old),
        before,
        "it still takes itself for the primary, for all we know"
    );
}

/// The old primary runs what it still has in its sockets when it thaws, and grants. Nobody believes
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h56_a_grant_of_the_old_primary_makes_no_guard() {
    let all = sentinel(1);
    let fixture = Fixture::behind(&all);
    let old = all.master().expect("a primary");
    let patient = Duration::from_secs(20);
    let client = fixture
        .client_with(|b| {
            b.lease(LONG)
                .operation_timeout(patient)
                .unavailable_after(patient * 2)
        })
        .await;
    unlocked(locked(&client, "warm").await).await;
    let before = scripts(old);
    old.freeze().expect("frozen");
    let handle = mutex(&client, "a");
    let locking = go(async move { handle.lock().await });
    let new = all.wait_switched(old).expect("another primary");
    follows(&client, new).await;
    old.thaw().expect("thawed");
    eventually("it runs what it was sent", || scripts(old) > before).await;
    // Its own request is unanswered for as long as a request may be. Others are not held up by
    // that.
    unlocked(locked(&client, "b").await).await;
    let guard = soon("the lock", locking)
        .await
        .expect("no panic")
        .expect("granted");
    let holders = new.keys(&fixture.prefix).expect("keys");
    assert!(
        holders.contains(&fixture.key()),
        "by the new primary: {holders:?}"
    );
    unlocked(guard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_missed_is_found_by_asking() {
    let all = sentinel(1);
    let fixture = Fixture::behind(&all);
    // It would be patient with the old primary for longer than this test.
    let patient = |b: ClientBuilder| {
        let b = b.lease(MINUTE).heartbeat(MINUTE);
        b.operation_timeout(MINUTE).unavailable_after(MINUTE * 2)
    };
    let client = fixture.client_with(patient).await;
    let held = locked(&client, "a").await;
    all.wait_replicated().expect("copied");
    let old = all.master().expect("a primary");
    old.freeze().expect("frozen"); // so that it is not made a replica, which ends connections
    // No subscription is there while the event is sent: they are killed again and again.
    let kill = || {
        for sentinel in all.sentinels() {
            let _killed = sentinel.kill_pubsub_clients().is_ok();
        }
    };
    kill();
    let switching = std::thread::scope(|scope| {
        let switching = scope.spawn(|| all.wait_switched(old).map(TestServer::port));
        while !switching.is_finished() {
            kill();
            std::thread::sleep(Duration::from_millis(2));
        }
        switching.join().expect("no panic")
    });
    let new = all.master().expect("a primary");
    assert_eq!(switching.expect("another primary"), new.port(), "it switched");
    assert_ne!(old.port(), new.port(), "to the other one");
    follows(&client, new).await;
    unlocked(held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_news_of_a_sentinel_that_was_frozen_changes_nothing() {
    let all = sentinel(1);
    let fixture = Fixture::behind(&all);
    let client = fixture.steady().await;
    let late = &all.sentinels()[0];
    late.freeze().expect("frozen");
    let first = all.master().expect("a primary").port();
    let urls = all.sentinel_urls();
    let command = || {
        // The frozen one cannot be asked.
        let url = urls[1].as_str();
        let port: u16 = url
            .rsplit_once(':')
            .expect("a port")
            .1
            .trim_end_matches('/')
            .parse()
            .expect("one");
        let mut sentinel = RespClient::connect(port).expect("connected");
        sentinel
            .call(&["SENTINEL", "FAILOVER", all.name()])
            .expect("an answer")
    };
    command();
    let moved = |to: u16, from: u16| {
        let client = &client;
        async move {
            eventually("it follows", || {
                super::address(client) != format!("127.0.0.1:{from}")
            })
            .await;
            assert_ne!(to, from, "elsewhere");
        }
    };
    moved(0, first).await;
    let held = locked(&client, "a").await;
    let connections = |server: &TestServer| {
        server
            .info("stats", "total_connections_received")
            .expect("a number")
    };
    let present = all
        .nodes()
        .iter()
        .find(|node| super::address(&client).ends_with(&node.port().to_string()));
    let present = present.expect("one of them");
    eventually("it listens", || client.is_listening()).await;
    let before = super::address(&client);
    late.thaw().expect("thawed");
    // It has caught up: whatever it had to say was said.
    all.wait_settled().expect("settled");
    let generation = connections(present);
    unlocked(held).await;
    unlocked(locked(&client, "a").await).await;
    assert_eq!(super::address(&client), before, "it stays");
    assert_eq!(connections(present), generation, "on its connection");
}

/// The old primary was frozen in the middle of a handshake, and thaws when another one has taken
/// over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_replaced_during_the_handshake_is_not_used() {
    let all = sentinel(1);
    let fixture = Fixture::behind(&all);
    let old = all.master().expect("a primary");
    let patient = Duration::from_secs(20);
    let client = fixture
        .client_with(|b| {
            b.lease(LONG)
                .operation_timeout(patient)
                .heartbeat(Duration::from_secs(5))
                .reconnect_backoff(Duration::from_secs(1), Duration::from_secs(1))
        })
        .await;
    unlocked(locked(&client, "warm").await).await;
    old.kill_normal_clients().expect("killed");
    unlocked(locked(&client, "warm").await).await; // over another connection, which was made at once
    old.kill_normal_clients().expect("killed");
    let handle = mutex(&client, "a");
    let locking = go(async move { handle.lock().await }); // notices it; but that one was young, so there is a pause
    tokio::time::sleep(Duration::from_millis(100)).await;
    old.freeze().expect("frozen");
    let new = all.wait_switched(old).expect("another primary");
    eventually("every sentinel has said so", || {
        let port = new.port().to_string();
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", all.name()];
        all.sentinels().iter().all(|sentinel| {
            let named = sentinel.admin(&words).expect("an answer");
            named.items().last().and_then(Reply::text) == Some(port.clone())
        })
    })
    .await;
    follows(&client, new).await;
    let guard = soon("the lock", locking)
        .await
        .expect("no panic")
        .expect("granted");
    let holders = new.keys(&fixture.prefix).expect("keys");
    assert!(
        holders.contains(&fixture.key()),
        "by the new primary: {holders:?}"
    );
    unlocked(guard).await;
}
