//! The mutex, method by method, against a real server.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::time::Duration;

use latchwork_mutex::Mutex;
use latchwork_tests::{LEASE, Place};

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
