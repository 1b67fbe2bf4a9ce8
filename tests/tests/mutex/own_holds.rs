//! A client that waits for a lease for what it holds itself says so once, in its log.

use latchwork_tests::{Fixture, LONG, Log, MEDIUM, eventually, granted, locked, locking, unlocked};

/// How many warnings about own holds there are.
fn warnings(log: &Log) -> usize {
    let lines = log.with("for what it holds itself");
    assert!(lines.iter().all(|line| line.starts_with("WARN")), "{lines:?}");
    lines.len()
}

#[tokio::test]
async fn a_wait_for_an_own_hold_is_logged_once_after_a_lease() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let guard = locked(&client, "a").await;
    let waiters = [locking(&client, "a"), locking(&client, "a")];
    eventually("the warning", || warnings(&log) == 1).await;
    tokio::time::sleep(MEDIUM).await;
    assert_eq!(warnings(&log), 1, "once, though two wait for several leases");
    unlocked(guard).await;
    for waiter in waiters {
        drop(granted(waiter).await);
    }
}

#[tokio::test]
async fn a_wait_for_the_hold_of_another_client_is_not_logged() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let (one, two) = (
        fixture.client_with(|b| b.lease(LONG)).await,
        fixture.client().await,
    );
    let guard = locked(&one, "a").await;
    let _other = locked(&two, "b").await;
    let waiter = locking(&two, "a");
    tokio::time::sleep(MEDIUM).await;
    assert_eq!(warnings(&log), 0, "nobody waits for itself");
    unlocked(guard).await;
    drop(granted(waiter).await);
}
