//! Each policy decides who goes first: the oldest, writers or readers.

use std::sync::{Arc, Mutex};

use latchwork_rwlock::{RwLock, RwPolicy};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, go, soon};
use tokio::task::JoinHandle;

use super::common::with_policy;

type Order = Arc<Mutex<Vec<&'static str>>>;

/// Waits for its turn, says its name, and leaves at once.
async fn turn(fixture: &Fixture<'_>, lock: &RwLock, name: &'static str, order: &Order) -> JoinHandle<()> {
    let (lock, order) = (lock.clone(), Arc::clone(order));
    let before = fixture.waiters();
    let task = go(async move {
        if name.starts_with('w') {
            let guard = lock.write().await.unwrap();
            order.lock().unwrap().push(name);
            guard.unlock().await.unwrap();
        } else {
            let guard = lock.read().await.unwrap();
            order.lock().unwrap().push("r");
            guard.unlock().await.unwrap();
        }
    });
    fixture.queued(before + 1).await;
    task
}

/// The order in which these get it who came in their order while somebody wrote. Readers that go together have no order.
async fn order_of(policy: RwPolicy, names: &[&'static str]) -> Vec<&'static str> {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = with_policy(&client, policy);
    let writer = lock.write().await.unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for name in names {
        tasks.push(turn(&fixture, &lock, name, &order).await);
    }
    writer.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    fixture.settled().await;
    let order = order.lock().unwrap();
    order.clone()
}

#[tokio::test]
async fn the_order_of_each_policy() {
    let came = ["r", "w1", "r", "r", "w2", "r"];
    let fair = order_of(RwPolicy::Fair, &came).await;
    assert_eq!(fair, came, "as they came");
    let writers = order_of(RwPolicy::PreferWriters, &came).await;
    assert_eq!(writers, ["w1", "w2", "r", "r", "r", "r"], "h10: readers wait");
    let readers = order_of(RwPolicy::PreferReaders, &came).await;
    assert_eq!(readers, ["r", "r", "r", "r", "w1", "w2"], "h9: writers wait");
}

#[tokio::test]
async fn trying_under_each_policy_while_a_writer_waits_for_readers() {
    for (policy, may_read) in [
        (RwPolicy::Fair, false),
        (RwPolicy::PreferWriters, false),
        (RwPolicy::PreferReaders, true),
    ] {
        let fixture = Fixture::of(READ);
        let client = fixture.patient().await;
        let lock = with_policy(&client, policy);
        let reader = lock.read().await.unwrap();
        let writer = fixture.enqueue(lock.write()).await;
        let joined = lock.try_read().await.unwrap();
        assert_eq!(joined.is_some(), may_read, "{policy:?}");
        let upgradable = lock.try_upgradable_read().await.unwrap();
        assert_eq!(upgradable.is_some(), may_read, "{policy:?}");
        assert!(lock.try_write().await.unwrap().is_none(), "{policy:?}");
        for found in [
            lock.try_read_for(std::time::Duration::ZERO).await.unwrap(),
            lock.try_read_until(std::time::Instant::now()).await.unwrap(),
        ] {
            assert_eq!(found.is_some(), may_read, "{policy:?}");
        }
        drop((reader, joined, upgradable));
        soon("the writer", writer).await.unwrap().unlock().await.unwrap();
        fixture.settled().await;
    }
}

#[tokio::test]
async fn trying_under_each_policy_while_readers_wait_for_a_writer() {
    for policy in [RwPolicy::Fair, RwPolicy::PreferWriters, RwPolicy::PreferReaders] {
        let fixture = Fixture::of(READ);
        let client = fixture.patient().await;
        let lock = with_policy(&client, policy);
        let writer = lock.write().await.unwrap();
        let reader = fixture.enqueue(lock.read()).await;
        assert!(lock.try_read().await.unwrap().is_none(), "{policy:?}");
        assert!(lock.try_write().await.unwrap().is_none(), "{policy:?}");
        writer.unlock().await.unwrap();
        let reader = soon("the reader", reader).await.unwrap();
        lock.try_read()
            .await
            .unwrap()
            .expect("it joins")
            .unlock()
            .await
            .unwrap();
        reader.unlock().await.unwrap();
        fixture.settled().await;
    }
}

#[tokio::test]
async fn a_reader_that_is_preferred_goes_before_writers_that_wait_already() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let (fair, preferred) = (
        with_policy(&client, RwPolicy::Fair),
        with_policy(&client, RwPolicy::PreferReaders),
    );
    // The policy is that of the attempt.
    let writer = fair.write().await.unwrap();
    let order = Order::default();
    let mut tasks = vec![turn(&fixture, &fair, "w1", &order).await];
    tasks.push(turn(&fixture, &preferred, "r", &order).await);
    tasks.push(turn(&fixture, &fair, "w2", &order).await);
    writer.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["r", "w1", "w2"], "before the writers");
    fixture.settled().await;
}
