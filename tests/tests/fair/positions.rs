//! A waiter can watch its position, for one request a second and only while it is polled.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use latchwork_testkit::ConnKind;
use latchwork_tests::{Fixture, LEASE, eventually, soon};

use super::lock;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_fall_to_zero_and_end_with_the_grant() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    let held = lock.lock().await.unwrap();
    let first = fixture.enqueue(lock.lock()).await;
    let second = fixture.enqueue(lock.lock()).await;
    let mut waiting = pin!(lock.lock());
    assert_eq!(waiting.position().await.unwrap(), None, "not polled yet");
    let mut positions = waiting.positions();
    let mut seen = Vec::new();
    let (mut first, mut second, mut held) = (Some(first), Some(second), Some(held));
    let guard = loop {
        tokio::select! {
            guard = &mut waiting => break guard.unwrap(),
            Some(position) = positions.next() => {
                seen.push(position);
                match position {
                    2 => {
                        if let Some(held) = held.take() {
                            held.unlock().await.unwrap();
                        }
                    }
                    1 => {
                        if let Some(first) = first.take() {
                            soon("the first", first).await.unwrap().unlock().await.unwrap();
                        }
                    }
                    _ => {
                        if let Some(second) = second.take() {
                            soon("the second", second).await.unwrap().unlock().await.unwrap();
                        }
                    }
                }
            }
        }
    };
    seen.dedup();
    assert_eq!(seen, [2, 1, 0], "one place after the other");
    assert_eq!(soon("the end", positions.next()).await, None, "it has the lock");
    assert_eq!(waiting.position().await.unwrap(), None, "it does not wait");
    guard.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_cost_a_request_each_and_nothing_while_nobody_polls() {
    let fixture = Fixture::shared();
    let holder = fixture.patient().await;
    let (proxy, client) = fixture.counted().await;
    let held = lock(&holder).lock().await.unwrap();
    let waiting = lock(&client).lock();
    let mut positions = waiting.positions();
    let waiting = fixture.enqueue(waiting).await;
    let asked = || proxy.request_names().get("ZRANK").copied().unwrap_or(0);
    assert_eq!(asked(), 0, "nobody has polled it");
    let start = Instant::now();
    for count in 1..=3 {
        assert_eq!(soon("a position", positions.next()).await, Some(0));
        assert_eq!(asked(), count, "one request each");
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "once a second");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(asked(), 3, "nothing while nobody polls");
    held.unlock().await.unwrap();
    let guard = soon("the grant", waiting).await.unwrap();
    assert_eq!(soon("the end", positions.next()).await, None);
    assert_eq!(asked(), 3, "nor after the grant");
    guard.unlock().await.unwrap();
    eventually("nothing is under way", || client.live() == 0).await;
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
}

#[tokio::test]
async fn positions_end_when_the_future_is_gone() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    let held = lock.lock().await.unwrap();
    // Never polled.
    let unpolled = lock.lock();
    let mut positions = unpolled.positions();
    drop(unpolled);
    assert_eq!(soon("the end", positions.next()).await, None);
    // Given up while it waits, with a request under way or not.
    let waiting = lock.lock();
    let mut positions = waiting.positions();
    let waiting = fixture.enqueue(waiting).await;
    assert_eq!(soon("a position", positions.next()).await, Some(0));
    waiting.abort();
    assert_eq!(soon("the end", positions.next()).await, None);
    // Its time was over.
    let bounded = lock.try_lock_for(LEASE / 10);
    let mut positions = bounded.positions();
    assert!(bounded.await.unwrap().is_none(), "busy");
    assert_eq!(soon("the end", positions.next()).await, None);
    held.unlock().await.unwrap();
}
