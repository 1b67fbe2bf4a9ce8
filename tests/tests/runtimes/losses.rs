//! Each loss is logged once, with what led to it, and counts as lateness if the keeper was late.

use std::time::Duration;

use latchwork_mutex::{Loss, Renew};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, LONG, Log, eventually, locked, locking, mutex, unlocked};

/// The warnings of losses.
fn losses(log: &Log) -> Vec<String> {
    log.with("a hold was lost")
}

#[tokio::test]
async fn a_loss_behind_a_cut_network_is_logged_once_with_its_cause() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.proxied().await;
    let guard = locked(&client, "a").await;
    proxy.refuse(true);
    proxy.cut();
    assert_eq!(guard.lost().await, Loss::Expired);
    eventually("it is logged", || !losses(&log).is_empty()).await;
    tokio::time::sleep(LEASE * 2).await;
    drop(guard);
    let lines = losses(&log);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN"), "{lines:?}");
    assert!(lines[0].contains("connect"), "names the cause: {lines:?}");
}

#[tokio::test]
async fn a_loss_after_refused_renewals_is_logged_with_the_refusal() {
    let (log, _logging) = Log::start();
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.builder_at(fixture.restricted(&[])).connect().await;
    let guard = locked(&client.expect("a client"), "a").await;
    server
        .admin(&["ACL", "SETUSER", "worker", "-evalsha"])
        .expect("fewer rights");
    assert_eq!(guard.lost().await, Loss::Expired);
    eventually("it is logged", || !losses(&log).is_empty()).await;
    let lines = losses(&log);
    assert!(lines.len() == 1 && lines[0].contains("+evalsha"), "{lines:?}");
}

#[tokio::test]
async fn a_blocked_runtime_that_cost_a_hold_shows_as_lateness_and_in_the_log() {
    for looks_first in [false, true] {
        let (log, _logging) = Log::start();
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let guard = locked(&client, "a").await;
        std::thread::sleep(LEASE * 4); // it was to be renewed after a third of the lease
        if looks_first {
            assert!(guard.is_lost(), "its lease is over");
            drop(guard);
        } else {
            assert_eq!(guard.lost().await, Loss::Expired);
        }
        eventually("it is logged", || !losses(&log).is_empty()).await;
        let late = client.keeper_lateness();
        assert!(late >= LEASE * 3, "{late:?} with looks_first: {looks_first}");
        let lines = losses(&log);
        assert!(lines.len() == 1 && lines[0].contains("late"), "{lines:?}");
    }
}

#[tokio::test]
async fn nothing_is_logged_of_what_is_no_loss() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let (client, other) = (fixture.client().await, fixture.client().await);
    let connected = log.lines().len();
    let guard = locked(&client, "a").await;
    let waiter = locking(&other, "a");
    fixture.queued(1).await;
    waiter.abort();
    eventually("its place is dropped", || other.live() == 0).await;
    assert!(mutex(&other, "a").try_lock().await.expect("an answer").is_none());
    tokio::time::sleep(LEASE).await; // renewals
    unlocked(guard).await;
    drop(locked(&client, "a").await);
    locked(&client, "a").await.forget();
    eventually("all is ended", || client.live() == 0).await;
    client.close().await;
    assert_eq!(log.lines()[connected..], [""; 0], "no news");
}

#[tokio::test]
async fn a_hold_that_nobody_renews_is_a_loss_like_others() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let manual = latchwork_mutex::Mutex::builder(&client, "a");
    let manual = manual.lease(Duration::from_millis(50)).renew(Renew::Manual);
    let guard = manual.build().expect("a mutex").lock().await.expect("the lock");
    let kept = locked(&client, "kept").await;
    assert_eq!(guard.lost().await, Loss::Expired);
    eventually("it is logged", || losses(&log).len() == 1).await;
    assert!(kept.valid_for() > LONG / 2, "no other is affected");
    assert!(client.keeper_lateness() < LEASE, "nothing was late");
}
