//! What a hold is for is shown beside it, and costs nothing unless it lasts.

use std::time::Duration;

use latchwork_core::LockInfo;
use latchwork_mutex::{FairMutex, Mutex, Owner, ReentrantMutex};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::ConnKind;
use latchwork_tests::{Fixture, eventually, go, soon};

/// The purposes of holders and waiters, in their order.
fn purposes(info: &LockInfo) -> Vec<Option<&str>> {
    let holders = info.holders.iter().map(|it| it.purpose.as_deref());
    let waiters = info.waiters.iter().map(|it| it.purpose.as_deref());
    holders.chain(waiters).collect()
}

/// Inspects until these are found.
async fn until_told(mutex: &Mutex, expected: &[Option<&str>]) {
    let looking = async {
        loop {
            let info = mutex.inspect().await.expect("an answer");
            if purposes(&info) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("they are told", looking).await;
}

#[tokio::test]
async fn each_hold_and_each_waiter_has_its_own() {
    let fixture = Fixture::shared();
    let (ours, other) = (fixture.patient().await, fixture.patient().await);
    let mutex = Mutex::builder(&ours, "a").purpose("nightly").build();
    let mutex = mutex.expect("a mutex");
    let held = mutex.lock().await.expect("the lock");
    let plain = latchwork_tests::mutex(&other, "a");
    let mut waiting = Vec::new();
    for (number, handle) in (1..).zip([
        mutex.for_purpose("order 7: \u{e9}\n"),
        plain.clone(),
        mutex.for_purpose(""),
    ]) {
        waiting.push(go(handle.lock()));
        fixture.queued(number).await;
    }
    until_told(&plain, &[Some("nightly"), Some("order 7: \u{e9}\n"), None, None]).await;
    held.unlock().await.expect("released");
    let second = waiting.remove(0).await.expect("no panic").expect("the lock");
    until_told(&plain, &[Some("order 7: \u{e9}\n"), None, None]).await;
    drop((second, waiting));
}

#[tokio::test]
async fn every_primitive_has_them() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let fair = FairMutex::new(&client, "fair").expect("a mutex").for_purpose("x");
    let reentrant = ReentrantMutex::new(&client, "reentrant").expect("a mutex");
    let owner = Owner::new();
    let handle = reentrant.with_owner(&owner).for_purpose("x");
    let lock = RwLock::new(&client, "lock").expect("a lock").for_purpose("x");
    let permits = Semaphore::builder(&client, "permits", 5).purpose("x").build();
    let permits = permits.expect("a semaphore");
    let turn = fair.lock().await.expect("the lock");
    let outer = reentrant.for_purpose("x").lock(&owner).await.expect("the lock");
    let inner = handle.lock().await.expect("the lock");
    let reading = lock.read().await.expect("the lock");
    let upgradable = lock.upgradable_read().await.expect("the lock");
    let mut permit = permits.acquire_many(3).await.expect("permits");
    let part = permit.split(1).await.expect("an answer").expect("a part");
    let looking = async {
        loop {
            let found = [
                fair.inspect().await,
                reentrant.inspect().await,
                lock.inspect().await,
                permits.inspect().await,
            ];
            let found = found.map(|info| {
                purposes(&info.expect("an answer"))
                    .iter()
                    .filter(|it| **it == Some("x"))
                    .count()
            });
            if found == [1, 2, 2, 2] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all are told", looking).await;
    drop((turn, outer, inner, reading, upgradable, permit, part));
}

#[tokio::test]
async fn a_long_purpose_is_cut_between_characters() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let text = format!("x{}", "\u{e9}".repeat(100));
    let mutex = latchwork_tests::mutex(&client, "a").for_purpose(&text);
    let held = mutex.lock().await.expect("the lock");
    until_told(&mutex, &[Some(&text[..127])]).await;
    held.unlock().await.expect("released");
}

/// Whoever looks finds it a quarter of a second later; a critical section is over by then.
#[tokio::test]
async fn a_purpose_costs_a_request_only_if_its_hold_lasts() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.proxied_with(|b| b.lease(latchwork_tests::MINUTE)).await;
    let sets = || proxy.request_names().get("SET").copied().unwrap_or(0);
    eventually("the record is written", || sets() == 1).await;
    let mutex = latchwork_tests::mutex(&client, "a").for_purpose("x");
    proxy.reset_counts();
    for _ in 0..10 {
        mutex
            .lock()
            .await
            .expect("the lock")
            .unlock()
            .await
            .expect("released");
    }
    // A second record would come before this one's.
    let held = mutex.for_purpose("y").lock().await.expect("the lock");
    eventually("it is told", || sets() > 0).await;
    until_told(&mutex, &[Some("y")]).await;
    assert_eq!(sets(), 1, "one for all");
    held.unlock().await.expect("released");
    assert!(proxy.requests_of(ConnKind::Commands) >= 23, "they were counted");
}

/// A record has a bound: the oldest are shown, for which people look.
#[tokio::test]
async fn of_many_the_oldest_are_shown() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let semaphore = Semaphore::new(&client, "a", 1000).expect("a semaphore");
    let semaphore = semaphore.for_purpose(&"p".repeat(128));
    let mut permits = Vec::new();
    for _ in 0..300 {
        permits.push(semaphore.acquire().await.expect("a permit"));
    }
    let looking = async {
        loop {
            let mut found = Vec::new();
            for first in [0, 100, 200] {
                let info = semaphore.inspect_from(first).await.expect("an answer");
                found.extend(info.holders.iter().map(|it| it.purpose.is_some()));
            }
            if found.iter().filter(|found| **found).count() > 50 {
                return found;
            }
        }
    };
    let found = soon("many are told", looking).await;
    assert_eq!(found.len(), 300, "all are listed");
    assert!(found[0] && !found[299], "the oldest, which end first");
    drop(permits);
}
