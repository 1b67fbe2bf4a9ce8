//! The mutex, method by method, against a real server.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::time::{Duration, Instant};

use latchwork_mutex::{ErrorKind, Loss, Mutex, Renew};
use latchwork_tests::{LEASE, Place, eventually, go};

#[tokio::test]
async fn lock_and_unlock() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    assert!(!mutex.is_locked().await.expect("an answer"), "free");
    let guard = mutex.lock().await.expect("the lock");
    assert!(mutex.is_locked().await.expect("an answer"), "held");
    assert!(!guard.is_lost(), "just taken");
    assert!(guard.valid_for() > LEASE / 2, "nearly the lease");
    guard.unlock().await.expect("released");
    assert!(!mutex.is_locked().await.expect("an answer"), "free again");
    assert_eq!(client.live(), 0, "no slot is left");
    place.settled("a", Duration::ZERO).await;
    place.check_leftovers();
}

#[tokio::test]
async fn try_lock_says_busy_and_never_waits() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let guard = Mutex::new(&one, "a")
        .expect("a mutex")
        .try_lock()
        .await
        .expect("an answer")
        .expect("free");
    let other = Mutex::new(&two, "a").expect("a mutex");
    assert!(other.try_lock().await.expect("an answer").is_none(), "busy");
    assert!(
        other
            .try_lock_for(Duration::ZERO)
            .await
            .expect("an answer")
            .is_none(),
        "zero is one try"
    );
    assert!(
        other
            .try_lock_until(Instant::now())
            .await
            .expect("an answer")
            .is_none(),
        "past is one try"
    );
    assert_eq!(two.live(), 0, "no slot is left");
    guard.unlock().await.expect("released");
    assert!(other.try_lock().await.expect("an answer").is_some(), "free");
    place.check_leftovers();
}

#[tokio::test]
async fn a_release_hands_the_lock_to_the_waiter() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let guard = Mutex::new(&one, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let first = guard.fencing_token();
    let other = Mutex::new(&two, "a").expect("a mutex");
    let waiter = go(other.lock());
    eventually("it queues", || place.members("a").len() == 3).await;
    guard.unlock().await.expect("released");
    let guard = waiter.await.expect("no panic").expect("the lock");
    assert!(guard.fencing_token() > first, "tokens rise");
    guard.unlock().await.expect("released");
    place.settled("a", Duration::ZERO).await;
}

#[tokio::test]
async fn a_bounded_wait_ends_with_none_and_leaves_no_place() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let waited = mutex
        .try_lock_for(Duration::from_millis(30))
        .await
        .expect("an answer");
    assert!(waited.is_none(), "busy until then");
    eventually("its place is given up", || place.members("a").len() == 1).await;
    guard.unlock().await.expect("released");
    place.settled("a", Duration::ZERO).await;
}

#[tokio::test]
async fn a_dropped_guard_releases() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    drop(mutex.lock().await.expect("the lock"));
    drop(mutex.lock().await.expect("handed on at once"));
    place.settled("a", Duration::from_secs(1)).await;
    eventually("its slot is free", || client.live() == 0).await;
}

#[tokio::test]
async fn a_held_lock_outlives_its_lease_and_ends_without_renewal() {
    let place = Place::shared();
    let client = place.client().await;
    let kept = Mutex::new(&client, "kept")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let manual = Mutex::builder(&client, "manual")
        .renew(Renew::Manual)
        .build()
        .expect("a mutex");
    let manual = manual.lock().await.expect("the lock");
    assert_eq!(manual.lost().await, Loss::Expired, "nobody renews");
    assert!(manual.is_lost(), "and it stays so");
    assert_eq!(manual.valid_for(), Duration::ZERO, "no time left");
    let error = manual.unlock().await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    tokio::time::sleep(LEASE).await;
    assert!(!kept.is_lost(), "renewed");
    kept.unlock().await.expect("still ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_of_many_clients_take_turns() {
    let place = Place::shared();
    let mut tasks = Vec::new();
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    for _ in 0..4 {
        let client = place.client().await;
        for _ in 0..8 {
            let mutex = Mutex::new(&client, "a").expect("a mutex");
            let inside = std::sync::Arc::clone(&inside);
            tasks.push(go(async move {
                let mut tokens = Vec::new();
                for _ in 0..50 {
                    let guard = mutex.lock().await.expect("the lock");
                    assert_eq!(
                        inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
                        0,
                        "alone"
                    );
                    tokens.push(guard.fencing_token());
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    guard.unlock().await.expect("released");
                }
                tokens
            }));
        }
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("no panic"));
    }
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (1600, 1600), "every token once");
    place.settled("a", Duration::ZERO).await;
    place.check_leftovers();
}
