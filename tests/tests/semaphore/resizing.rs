//! Another capacity is a mismatch between handles until `resize`, which wakes who fits.

use std::time::Duration;

use latchwork_semaphore::{ErrorKind, SemaphorePermit};
use latchwork_testkit::TestServer;
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, LEASE, eventually, go};

use super::{free, semaphore};

#[tokio::test]
async fn another_number_of_permits_is_a_mismatch_until_resize() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let (three, five) = (semaphore(&one, 3), semaphore(&two, 5));
    let permit = three.acquire().await.expect("a permit");
    for found in [five.acquire().await.map(Some), five.try_acquire().await] {
        let error = found.expect_err("another number");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        let text = error.to_string();
        assert!(
            text.contains('3') && text.contains('5') && text.contains("resize"),
            "{text}"
        );
    }
    permit.release().await.expect("released");
    let error = five.acquire().await.expect_err("and so when nobody holds");
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    assert_eq!(five.capacity().await.expect("an answer"), 3, "that of the first");
    assert_eq!(two.live(), 0, "nothing is left of those");
    five.resize(4).await.expect("resized");
    assert_eq!(three.capacity().await.expect("an answer"), 4, "for everybody");
    let most = three.acquire_many(4).await.expect("more than the handle says");
    assert!(five.try_acquire().await.expect("no mismatch").is_none(), "busy");
    most.release().await.expect("released");
    let error = five.acquire_many(5).await.expect_err("less than the handle says");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    fixture.over().await;
}

#[tokio::test]
async fn a_resize_before_the_first_use_counts() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 3);
    semaphore.resize(7).await.expect("resized");
    semaphore.resize(7).await.expect("once more");
    assert_eq!(semaphore.capacity().await.expect("an answer"), 7);
    drop(semaphore.acquire_many(7).await.expect("all"));
    fixture.over().await;
}

#[tokio::test]
async fn a_smaller_semaphore_lets_its_holders_finish() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 4);
    let first = semaphore.acquire_many(2).await.expect("permits");
    let second = semaphore.acquire_many(2).await.expect("permits");
    semaphore.resize(1).await.expect("resized");
    assert_eq!(free(&semaphore).await, 0, "not less than none");
    let waiter = fixture.enqueue(semaphore.acquire_many(1)).await;
    first.release().await.expect("still its own");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!second.is_lost(), "nobody loses a permit");
    assert!(!waiter.is_finished(), "two are still out");
    second.release().await.expect("still its own");
    drop(waiter.await.expect("no panic"));
    fixture.over().await;
}

#[tokio::test]
async fn a_waiter_for_more_than_the_new_capacity_is_refused_and_blocks_nobody() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let semaphore = semaphore(&one, 4);
    let first = semaphore.acquire().await.expect("a permit");
    let large = go(semaphore.acquire_many(4));
    fixture.queued(1).await;
    let small = fixture.enqueue(super::semaphore(&two, 4).acquire_many(1)).await;
    semaphore.resize(2).await.expect("resized");
    let small = small.await.expect("no panic");
    let told = tokio::time::timeout(Duration::from_secs(1), large).await;
    let error = told.expect("at once").expect("no panic").expect_err("never");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    drop((first, small));
    fixture.over().await;
}

#[tokio::test]
async fn a_resize_wakes_exactly_the_waiters_that_fit() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(SEMAPHORE);
    let (_holds, holder) = fixture.counted().await;
    let first = semaphore(&holder, 1).acquire().await.expect("a permit");
    let mut waiting = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(fixture.counted().await);
    }
    for (_, client) in &clients {
        waiting.push(fixture.enqueue(semaphore(client, 1).acquire_many(1)).await);
    }
    server.reset_stats().expect("an answer");
    semaphore(&holder, 1).resize(4).await.expect("resized");
    eventually("three go on", || {
        waiting.iter().filter(|task| task.is_finished()).count() == 3
    })
    .await;
    let messages = server.command_calls().expect("an answer")["publish"];
    assert_eq!(messages, 3, "a message each, and none to the others");
    assert_eq!(fixture.waiters(), 2, "they wait on");
    let mut done: Vec<SemaphorePermit> = Vec::new();
    for task in waiting.drain(..3) {
        done.push(task.await.expect("in their order"));
    }
    drop((first, done));
    for task in waiting {
        drop(task.await.expect("no panic"));
    }
    fixture.over().await;
}

#[tokio::test]
async fn a_waiter_for_too_many_is_refused_while_all_that_is_left_is_in_use() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.steady().await;
    let semaphore = semaphore(&client, 4);
    let held = semaphore.acquire_many(3).await.expect("permits");
    let large = go(semaphore.acquire_many(4));
    fixture.queued(1).await;
    let second = go(semaphore.acquire_many(3));
    fixture.queued(2).await;
    let small = fixture.enqueue(semaphore.acquire_many(2)).await;
    semaphore.resize(2).await.expect("resized");
    for waiter in [large, second] {
        let told = tokio::time::timeout(Duration::from_secs(10), waiter).await;
        let error = told.expect("soon").expect("no panic").expect_err("never");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
    assert!(!held.is_lost(), "three are still out");
    assert!(!small.is_finished(), "and it waits on");
    held.release().await.expect("still its own");
    drop(small.await.expect("no panic"));
    fixture.over().await;
}
