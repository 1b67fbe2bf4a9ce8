//! The reentrant mutex.
#![allow(
    clippy::significant_drop_tightening,
    clippy::unwrap_used,
    reason = "guards are the subject; helpers of tests are tests"
)]

use latchwork_mutex::{FairMutex, Mutex, Owner, ReentrantMutex};
use latchwork_tests::{Place, eventually, go};

#[tokio::test]
async fn an_owner_enters_again_and_others_wait() {
    let place = Place::shared();
    let client = place.client().await;
    let lock = ReentrantMutex::new(&client, "a").unwrap();
    let (us, them) = (Owner::new(), Owner::new());
    let outer = lock.lock(&us).await.unwrap();
    let waiting = go({
        let lock = lock.clone();
        async move { lock.lock(&them).await.unwrap() }
    });
    eventually("they wait", || {
        place.members("a").iter().any(|member| member == "q")
    })
    .await;
    let inner = lock.lock(&us).await.unwrap();
    assert_eq!(inner.fencing_token(), outer.fencing_token(), "the same");
    assert_eq!(lock.holds(&us).await.unwrap(), 2, "two holds");
    outer.unlock().await.unwrap();
    assert!(!waiting.is_finished(), "one is left");
    let token = inner.fencing_token();
    let again = lock.try_lock(&us).await.unwrap().unwrap();
    assert_eq!(again.fencing_token(), token, "the same");
    inner.unlock().await.unwrap();
    again.unlock().await.unwrap();
    let theirs = waiting.await.unwrap();
    assert!(theirs.fencing_token() > token, "a new one");
    assert!(lock.try_lock(&us).await.unwrap().is_none(), "another owner");
    assert!(
        Mutex::new(&client, "a")
            .unwrap()
            .try_lock()
            .await
            .unwrap()
            .is_none(),
        "one lock"
    );
    theirs.unlock().await.unwrap();
    place.settled("a", std::time::Duration::from_secs(2)).await;
}

#[tokio::test]
async fn waiters_of_one_owner_go_together() {
    let place = Place::shared();
    let client = place.client().await;
    let lock = ReentrantMutex::new(&client, "a").unwrap();
    let mutex = Mutex::new(&client, "a").unwrap();
    let held = mutex.lock().await.unwrap();
    let us = Owner::new();
    let mut tasks = Vec::new();
    for round in 0..3 {
        let lock = lock.clone();
        let other = mutex.clone();
        tasks.push(go(async move { lock.lock(&us).await.unwrap() }));
        eventually("one more waits", || waiting(&place) == 2 * round + 1).await;
        drop(go(
            async move { other.lock().await.unwrap().unlock().await.unwrap() },
        ));
        eventually("a stranger waits", || waiting(&place) == 2 * round + 2).await;
    }
    held.unlock().await.unwrap();
    let mut guards = Vec::new();
    for task in tasks {
        guards.push(task.await.unwrap());
    }
    assert_eq!(waiting(&place), 3, "the strangers still wait");
    for guard in guards {
        guard.unlock().await.unwrap();
    }
    place.settled("a", std::time::Duration::from_secs(2)).await;
    assert!(place.members("a").is_empty(), "no mark is left");
}

fn waiting(place: &Place<'_>) -> usize {
    let dump = place.server.dump_zset(&place.key("a")).unwrap();
    dump.iter().filter(|(_, score)| score.starts_with('-')).count()
}

#[tokio::test]
async fn priorities_are_a_head_start() {
    let place = Place::shared();
    let client = place.client().await;
    let lock = FairMutex::new(&client, "a").unwrap();
    let held = lock.lock().await.unwrap();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (count, priority) in [0, -2, 3, 0, 3].into_iter().enumerate() {
        let (lock, order) = (lock.with_priority(priority), std::sync::Arc::clone(&order));
        tasks.push(go(async move {
            let guard = lock.lock().await.unwrap();
            order.lock().unwrap().push(count);
            guard.unlock().await.unwrap();
        }));
        eventually("one more waits", || waiting(&place) == count + 1).await;
    }
    held.unlock().await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [2, 4, 0, 3, 1], "by arrival and priority");
    place.settled("a", std::time::Duration::from_secs(2)).await;
}
