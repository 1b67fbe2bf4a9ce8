//! Waiting for replicas costs two requests, which many grants share, and nothing if it is not used.

use futures_util::future::join_all;
use latchwork_core::{Durability, Reached};
use latchwork_mutex::Mutex;
use latchwork_testkit::ConnKind;
use latchwork_tests::{Fixture, MINUTE, eventually, locked, unlocked};

use super::{ENOUGH, Group, durable, replicas};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_waits_costs_two_more_requests() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary);
    let (proxy, client) = fixture.counted().await;
    let connections = proxy.accepted();
    let lock = |durability| {
        let lock = Mutex::builder(&client, "a").durability(durability);
        lock.build().expect("a mutex")
    };
    let (fast, safe) = (lock(Durability::Primary), lock(replicas(1, ENOUGH)));
    for _ in 0..10 {
        unlocked(fast.lock().await.expect("a hold")).await;
    }
    assert_eq!(proxy.requests_of(ConnKind::Commands), 20, "two each");
    assert_eq!(proxy.accepted(), connections, "and no other connection");
    unlocked(safe.lock().await.expect("a hold")).await;
    assert_eq!(proxy.accepted(), connections + 1, "one of its own");
    proxy.reset_counts();
    for _ in 0..10 {
        unlocked(safe.lock().await.expect("a hold")).await;
    }
    let names = proxy.request_names();
    assert_eq!(names.get("WAIT"), Some(&10), "{names:?}");
    assert_eq!(names.get("EVALSHA"), Some(&30), "acquire, tick, end: {names:?}");
    assert_eq!(
        proxy.requests_of(ConnKind::Commands),
        40,
        "and nothing else: {names:?}"
    );
    assert_eq!(proxy.accepted(), connections + 1, "the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_at_the_same_time_share_requests() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    unlocked(locked(&client, "warm").await).await;
    group.primary.reset_stats().expect("reset");
    let names: Vec<String> = (0..200).map(|number| format!("a{number}")).collect();
    let guards = join_all(names.iter().map(|name| locked(&client, name))).await;
    assert!(guards.iter().all(|guard| guard.reached() == Reached::Replicas(1)));
    let calls = group.primary.command_calls().expect("calls");
    let waits = calls.get("wait").copied().unwrap_or(0);
    assert!((1..=50).contains(&waits), "{waits} for 200");
    join_all(guards.into_iter().map(unlocked)).await;
}

/// A replica that stands still costs each handle its own time, and not that of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_that_need_fewer_replicas_do_not_wait_for_those_that_need_more() {
    let group = Group::joined(2).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = fixture.client_with(|b| b.lease(MINUTE)).await;
    let lock = |name: &str, n| {
        let lock = Mutex::builder(&client, name).durability(replicas(n, ENOUGH));
        lock.build().expect("a mutex")
    };
    let two = latchwork_tests::go(lock("two", 2).lock());
    let held = fixture.named("two");
    eventually("it is granted", || held.is_held()).await;
    for _ in 0..5 {
        unlocked(lock("one", 1).lock().await.expect("a hold")).await;
    }
    assert!(!two.is_finished(), "one of its replicas stands still");
    group.thaw();
    unlocked(two.await.expect("no panic").expect("a hold")).await;
}
