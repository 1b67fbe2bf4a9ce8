//! A semaphore with a rate: at most so many at once, and so many per time, in one step.
#![allow(
    clippy::significant_drop_tightening,
    clippy::unwrap_used,
    reason = "guards are the subject; helpers of tests are tests"
)]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use latchwork_semaphore::{Client, ErrorKind, Rate, Semaphore};
use latchwork_tests::{Place, eventually, go};

fn every(ms: u64) -> Rate {
    Rate::per(NonZeroU32::MIN, Duration::from_millis(ms))
}

fn paced(client: &Client, permits: u32, rate: Rate) -> Semaphore {
    Semaphore::builder(client, "a", permits)
        .rate(rate)
        .build()
        .unwrap()
}

fn dump(place: &Place<'_>) -> Vec<(String, String)> {
    place
        .server
        .dump_zset(&format!("{}:semaphore:{{a}}", place.prefix))
        .unwrap()
}

#[tokio::test]
async fn starts_are_apart_and_the_number_at_once_is_bounded() {
    let place = Place::shared();
    let clients = [place.client().await, place.client().await];
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for turn in 0..8 {
        // A start is at most a period ahead: ten in 300 ms are.
        let rate = Rate::per(NonZeroU32::new(10).unwrap(), Duration::from_millis(300));
        let semaphore = paced(&clients[turn % 2], 2, rate);
        tasks.push(go(async move {
            let permit = semaphore.acquire().await.unwrap();
            let start = Instant::now();
            assert!(permit.is_valid(), "a hold like others");
            permit.release().await.unwrap();
            start
        }));
    }
    let mut starts = Vec::new();
    for task in tasks {
        starts.push(task.await.unwrap());
    }
    starts.sort();
    // Never early: the eighth start is seven intervals after the first, by the server's clock.
    assert!(
        starts[7].duration_since(begun) >= Duration::from_millis(7 * 30),
        "{:?}",
        starts[7].duration_since(begun)
    );
    place.check_leftovers();
}

#[tokio::test]
async fn a_burst_starts_at_once_and_try_takes_only_what_may_start_now() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = paced(&client, 10, every(60_000).burst(NonZeroU32::new(3).unwrap()));
    for _ in 0..3 {
        semaphore
            .try_acquire()
            .await
            .unwrap()
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    assert!(
        semaphore.try_acquire().await.unwrap().is_none(),
        "the burst is used up"
    );
    let wait = Duration::from_millis(50);
    assert!(
        semaphore.try_acquire_for(wait).await.unwrap().is_none(),
        "it could not start before the deadline"
    );
    assert!(semaphore.drain().await.unwrap().is_none(), "nor any of them");
    assert_eq!(semaphore.available_permits().await.unwrap(), 10, "nothing is had");
}

#[tokio::test]
async fn what_is_dropped_before_its_start_gives_it_back() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = paced(&client, 10, every(60_000));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    for _ in 0..3 {
        // The next start is a minute away, and a second one would be two minutes: more than a period.
        let early = go({
            let semaphore = semaphore.clone();
            async move { semaphore.acquire().await }
        });
        eventually("it has a start", || {
            dump(&place).iter().any(|(member, _)| member.starts_with('y'))
        })
        .await;
        let late = semaphore.acquire().await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TooLate, "{late}");
        early.abort();
        eventually("it is given back", || {
            !dump(&place).iter().any(|(member, _)| member.starts_with('y'))
        })
        .await;
    }
    assert_eq!(semaphore.available_permits().await.unwrap(), 10, "nothing is had");
}

#[tokio::test]
async fn one_that_waits_for_a_permit_may_be_too_late_then() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = paced(&client, 1, every(60_000).burst(NonZeroU32::new(2).unwrap()));
    let held = semaphore.acquire().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let semaphore = semaphore.clone();
        waiting.push(go(async move { semaphore.acquire_many(1).await }));
    }
    eventually("they wait", || {
        dump(&place)
            .iter()
            .filter(|(_, score)| score.starts_with('-'))
            .count()
            == 2
    })
    .await;
    held.release().await.unwrap();
    let first = waiting.remove(0).await.unwrap().unwrap();
    semaphore.set_rate(Some(every(1))).await.unwrap();
    first.release().await.unwrap();
    waiting.remove(0).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn all_say_the_same_rate_until_it_is_set() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = paced(&client, 5, every(1));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    let others = [
        paced(&client, 5, every(2)),
        paced(&client, 5, every(1).burst(NonZeroU32::new(2).unwrap())),
        Semaphore::new(&client, "a", 5).unwrap(),
    ];
    for other in &others {
        let error = other.try_acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
    semaphore.set_rate(None).await.unwrap();
    for other in &others {
        other
            .try_acquire()
            .await
            .unwrap()
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    assert!(
        !dump(&place).iter().any(|(member, _)| "ibdr".contains(member)),
        "no trace"
    );
    let absurd = Semaphore::builder(&client, "a", 5)
        .rate(every(0))
        .build()
        .unwrap_err();
    assert_eq!(absurd.kind(), ErrorKind::Invalid, "{absurd}");
    let error = semaphore.set_rate(Some(every(0))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn more_than_a_period_and_the_burst_is_too_late() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = paced(&client, 10, every(60_000));
    let error = semaphore.acquire_many(3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLate, "{error}");
    semaphore
        .try_acquire()
        .await
        .unwrap()
        .unwrap()
        .release()
        .await
        .unwrap();
}
