//! Drain, split and merge move permits, and neither make nor lose any.

use std::sync::atomic::Ordering;
use std::time::Duration;

use latchwork_semaphore::{ErrorKind, Loss, Semaphore};
use latchwork_testkit::Action;
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, LEASE, LONG, eventually, lose_forced, lose_the_reply};

use super::{free, semaphore};

#[tokio::test]
async fn drain_takes_what_is_free_in_one_step() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let semaphore = semaphore(&one, 5);
    let held = semaphore.acquire_many(2).await.expect("permits");
    let other = super::semaphore(&two, 5);
    let rest = other.drain().await.expect("an answer").expect("three");
    assert_eq!(rest.permits(), 3, "what was left");
    assert!(
        other.drain().await.expect("an answer").is_none(),
        "nothing is left"
    );
    assert_eq!(two.live(), 1, "no slot of the one in vain");
    let weights: u32 = semaphore
        .inspect()
        .await
        .expect("an answer")
        .holders
        .iter()
        .map(|holder| holder.weight)
        .sum();
    assert_eq!(weights, 5, "inspect knows how many");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!rest.is_lost(), "renewed like others");
    rest.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 3, "all three are back");
    let waiter = fixture.enqueue(semaphore.acquire_many(4)).await;
    assert!(
        other.drain().await.expect("an answer").is_none(),
        "somebody waits for them"
    );
    held.release().await.expect("released");
    drop(waiter.await.expect("no panic"));
    fixture.over().await;
}

#[tokio::test]
async fn h34_permits_split_and_merge() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 6);
    let mut five = semaphore.acquire_many(5).await.expect("permits");
    let watched = five.hold();
    let mut two = five.split(2).await.expect("an answer").expect("enough");
    assert_eq!((five.permits(), two.permits()), (3, 2), "five in all");
    assert_eq!(free(&semaphore).await, 1, "nothing came back");
    assert!(
        five.split(3).await.expect("an answer").is_none(),
        "none would be left"
    );
    let error = five.split(0).await.expect_err("nothing");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    tokio::time::sleep(LEASE * 2).await;
    assert!(
        !five.is_lost() && !two.is_lost() && !watched.is_lost(),
        "both are renewed"
    );
    let info = semaphore.inspect().await.expect("an answer");
    let mut weights: Vec<u32> = info.holders.iter().map(|holder| holder.weight).collect();
    weights.sort_unstable();
    assert_eq!(weights, [2, 3], "{info:?}");
    let one = two.split(1).await.expect("an answer").expect("enough");
    two.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 2, "its one");
    five.merge(one).await.expect("merged");
    assert_eq!(five.permits(), 4, "three and one");
    assert_eq!(client.live(), 1, "one hold");
    let more = semaphore.drain().await.expect("an answer").expect("two");
    five.merge(more).await.expect("merged");
    assert_eq!((five.permits(), free(&semaphore).await), (6, 0), "all");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!five.is_lost(), "renewed");
    five.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 6, "all are back");
    fixture.over().await;
}

#[tokio::test]
async fn a_part_outlives_the_whole_and_a_dead_part_returns_alone() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 4);
    let mut whole = semaphore.acquire_many(4).await.expect("permits");
    let part = whole.split(3).await.expect("an answer").expect("enough");
    let dead = {
        let mut part = part;
        let dead = part.split(1).await.expect("an answer").expect("enough");
        whole.release().await.expect("released");
        assert_eq!(free(&semaphore).await, 1, "the rest of the whole");
        dead.forget();
        part
    };
    tokio::time::sleep(LEASE * 2).await;
    assert!(!dead.is_lost(), "the other part is renewed");
    assert_eq!(free(&semaphore).await, 2, "and the forgotten one is back");
    dead.release().await.expect("released");
    let all = semaphore.try_acquire_many(4).await.expect("an answer");
    drop(all.expect("all are back"));
    fixture.over().await;
}

#[tokio::test]
async fn a_permit_that_cannot_be_merged_is_returned() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let here = semaphore(&one, 4);
    let mut permit = here.acquire().await.expect("a permit");
    let foreign = semaphore(&two, 4).acquire().await.expect("a permit");
    let error = permit.merge(foreign).await.expect_err("another client's");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let elsewhere = Semaphore::new(&one, "b", 4).expect("a semaphore");
    let other = elsewhere.acquire().await.expect("a permit");
    let error = permit.merge(other).await.expect_err("another name's");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    eventually("both went back", || one.live() == 1 && two.live() == 0).await;
    let lost = here.acquire().await.expect("a permit");
    here.force_release().await.expect("forced");
    assert_eq!(lost.lost().await, Loss::Forced, "told");
    let mut fresh = here.acquire().await.expect("a permit");
    let error = fresh.merge(lost).await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    assert_eq!(fresh.permits(), 1, "what it was");
    assert!(!fresh.is_lost(), "and its own");
    let error = permit.split(1).await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    drop((permit, fresh));
    fixture.over().await;
}

/// The reply to the only copy that the server ran is lost, and the task is not polled for two leases. Whether others looked at
/// the record meanwhile (`settled`) or not.
fn split_without_an_answer(settled: bool) {
    const SHORT: Duration = Duration::from_millis(150);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let fixture = Fixture::of(SEMAPHORE);
    let proxied = fixture.proxied_with(|b| b.lease(SHORT).keeper_thread(true));
    let (proxy, client) = runtime.block_on(proxied);
    let here = semaphore(&client, 5);
    let mut whole = runtime.block_on(here.acquire_many(5)).expect("permits");
    let lost = lose_the_reply(&proxy, ":2:150:".to_owned(), Action::Cut);
    let split = {
        let mut split = Box::pin(whole.split(2));
        runtime.block_on(async {
            while !lost.load(Ordering::SeqCst) {
                let early = tokio::time::timeout(Duration::from_millis(2), split.as_mut()).await;
                assert!(early.is_err(), "its answer is lost");
            }
        });
        std::thread::sleep(SHORT * 2); // its thread is busy
        if settled {
            let rival = runtime.block_on(fixture.client());
            let none = runtime.block_on(semaphore(&rival, 5).try_acquire_many(5));
            assert!(none.expect("an answer").is_none(), "the whole is renewed");
        }
        runtime.block_on(split)
    };
    let part = split.map_or(0, |part| part.map_or(0, |part| part.permits()));
    let holders = runtime.block_on(here.inspect()).expect("an answer").holders;
    let there: u32 = holders.iter().map(|holder| holder.weight).sum();
    assert!(!whole.is_lost(), "the keeper renews it");
    assert!(
        whole.permits() + part <= there,
        "{} and {part} are counted on, and the server knows of {there}",
        whole.permits(),
    );
    runtime.block_on(whole.release()).expect("released");
    runtime.block_on(fixture.over());
}

#[test]
fn h34_a_split_whose_answer_is_lost_never_counts_a_permit_twice() {
    for settled in [true, false] {
        split_without_an_answer(settled);
    }
}

#[tokio::test]
async fn a_split_that_is_dropped_after_any_poll_returns_its_permits_to_the_whole() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.steady().await;
    let semaphore = Semaphore::new(&client, "a", 5).expect("a semaphore");
    let mut whole = semaphore.acquire_many(3).await.expect("permits");
    for round in 0..200 {
        let polls = round % 5 + 1;
        let outcome = latchwork_testkit::drop_after_polls(whole.split(1), polls).await;
        if let Some(part) = outcome.completed() {
            let part = part.expect("an answer").expect("a part");
            whole.merge(part).await.expect("merged");
        }
        eventually("they return", || whole.permits() == 3).await;
        let available = semaphore.available_permits().await.expect("an answer");
        assert_eq!(available, 2, "the server has the same, after {polls} polls");
    }
    let part = whole.split(2).await.expect("an answer").expect("two");
    assert_eq!((whole.permits(), part.permits()), (1, 2), "and all can be split");
    part.release().await.expect("released");
    whole.release().await.expect("released");
    fixture.settled().await;
    assert_eq!(client.live(), 0, "nothing is left");
}

#[tokio::test]
async fn a_part_whose_reply_is_lost_with_its_future_returns_to_the_whole() {
    let fixture = Fixture::of(SEMAPHORE);
    let (proxy, client) = fixture.proxied_with(|b| b.lease(LONG)).await;
    let semaphore = Semaphore::new(&client, "a", 5).expect("a semaphore");
    let mut whole = semaphore.acquire_many(3).await.expect("permits");
    let lost = lose_the_reply(&proxy, fixture.key(), Action::Hold);
    tokio::select! {
        biased;
        part = whole.split(1) => panic!("its reply is held up: {part:?}"),
        () = eventually("the reply", || lost.load(Ordering::SeqCst)) => {}
    }
    assert_eq!(whole.permits(), 2, "not known to be here");
    assert_eq!(fixture.holders().len(), 2, "the server has split it");
    proxy.release();
    eventually("it returns", || whole.permits() == 3).await;
    assert_eq!(fixture.holders().len(), 1, "one hold");
    assert_eq!(
        semaphore.available_permits().await.expect("an answer"),
        2,
        "of three"
    );
    whole.release().await.expect("released");
    fixture.settled().await;
}

#[tokio::test]
async fn a_hold_that_was_forced_a_moment_before_is_not_split_or_merged_and_says_why() {
    let fixture = Fixture::of(SEMAPHORE);
    let (proxy, client) = fixture.proxied_with(|builder| builder.lease(LONG)).await;
    lose_forced(&proxy);
    let semaphore = semaphore(&client, 5);
    let mut held = semaphore.acquire_many(3).await.expect("permits");
    let other = semaphore.acquire().await.expect("a permit");
    semaphore.force_release().await.expect("forced");
    let split = held.split(1).await.expect_err("forced");
    assert_eq!(split.loss(), Some(Loss::Forced), "{split}");
    let merge = held.merge(other).await.expect_err("forced");
    assert_eq!(merge.loss(), Some(Loss::Forced), "{merge}");
    let ticket = held.into_ticket().await.expect_err("forced");
    assert_eq!(ticket.loss(), Some(Loss::Forced), "{ticket}");
    eventually("all is given up", || client.live() == 0).await;
    fixture.settled().await;
}
