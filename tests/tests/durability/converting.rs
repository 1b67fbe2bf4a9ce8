//! Holds that are stolen, resumed or upgraded wait for replicas as those that are acquired.

use std::time::Duration;

use latchwork_core::{ErrorKind, Reached};
use latchwork_mutex::Mutex;
use latchwork_rwlock::RwLock;
use latchwork_semaphore::{Rate, Semaphore};
use latchwork_tests::{Fixture, subject, unlocked};

use super::{ENOUGH, Group, SHORT, durable, expect, replicas};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stolen_and_resumed_holds_wait_for_replicas() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let hasty = durable(&fixture, replicas(1, SHORT)).await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let _held = mutex.lock().await.expect("a hold");
    let stolen = mutex.steal().await.expect("stolen");
    assert_eq!(stolen.reached(), Reached::Replicas(1));
    let ticket = stolen.into_ticket().await.expect("a ticket");
    let resumed = mutex.resume(&ticket).await.expect("resumed");
    assert_eq!(resumed.reached(), Reached::Replicas(1));
    let ticket = resumed.into_ticket().await.expect("a ticket");
    group.freeze();
    let hasty = Mutex::new(&hasty, "a").expect("a mutex");
    expect(hasty.resume(&ticket).await, ErrorKind::NotDurable, &["0 of 1"]);
    assert!(!fixture.is_held(), "it was given up");
    expect(hasty.steal().await, ErrorKind::NotDurable, &["0 of 1"]);
    assert!(!fixture.is_held(), "it was released");
    group.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_waits_for_replicas() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary).with(subject::WRITE);
    let lock = |client: &_| RwLock::new(client, "a").expect("a lock");
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let reads = lock(&client).upgradable_read().await.expect("a share");
    let writes = reads.upgrade().await.expect("exclusive");
    assert_eq!(writes.reached(), Reached::Replicas(1));
    let reads = writes.downgrade().await.expect("a share");
    assert_eq!(reads.reached(), Reached::Primary, "a conversion does not wait");
    reads.unlock().await.expect("released");
    let hasty = durable(&fixture, replicas(1, Duration::from_millis(500))).await;
    let reads = lock(&hasty).upgradable_read().await.expect("a share");
    group.freeze();
    let refused = reads.upgrade().await.expect_err("no replica has it");
    assert_eq!(
        refused.error().map(latchwork_core::Error::kind),
        Some(ErrorKind::NotDurable),
        "{refused:?}"
    );
    assert!(refused.into_guard().is_none(), "it was released");
    assert!(!fixture.is_held(), "nothing is left");
    group.thaw();
}

/// It was not handed out, so it does not have to stay in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_least_time_does_not_keep_what_was_never_handed_out() {
    let group = Group::joined(1).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, SHORT)).await;
    let mutex = Mutex::builder(&client, "a").hold_at_least(Duration::from_secs(3600));
    let mutex = mutex.build().expect("a mutex");
    expect(mutex.lock().await, ErrorKind::NotDurable, &["0 of 1"]);
    assert!(!fixture.is_held(), "it was released at once");
    group.thaw();
    let other = fixture.patient().await;
    unlocked(
        Mutex::new(&other, "a")
            .expect("a mutex")
            .lock()
            .await
            .expect("free"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_may_start_later_is_at_the_replicas_before() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary).with(subject::SEMAPHORE);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let rate = Rate::per(1.try_into().expect("one"), Duration::from_millis(300));
    let permits = Semaphore::builder(&client, "a", 3).rate(rate).build();
    let permits = permits.expect("a semaphore");
    for _ in 0..2 {
        let permit = permits.acquire().await.expect("a permit");
        assert_eq!(permit.reached(), Reached::Replicas(1));
        permit.release().await.expect("released");
    }
}
