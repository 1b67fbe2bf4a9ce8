//! A hold can stay in use after its guard, for exactly as long as its user said.

use std::time::Duration;

use latchwork_mutex::ErrorKind;
use latchwork_tests::distance::{lease, long, medium, scaled};
use latchwork_tests::subject::{Options, Subject};
use latchwork_tests::{Fixture, MINUTE, go, soon};

/// Longer than any test, and not the length of a lease.
const HOUR: Duration = Duration::from_secs(3600);

/// What is left of the only hold there is.
async fn left(fixture: &Fixture<'_>, client: &latchwork_core::Client) -> Duration {
    let info = fixture.handle(client).inspect().await.expect("an answer");
    assert_eq!(info.holders.len(), 1, "{info:?}");
    info.holders[0].lease_left
}

pub(crate) async fn a_release_after_a_time_is_one_request_and_wakes_the_waiter_then(
    subject: &'static dyn Subject,
) {
    let fixture = Fixture::of(subject);
    let (proxy, client) = fixture.counted().await;
    let other = fixture.patient().await;
    let guard = fixture.held(&client).await;
    // It will learn of the end in a minute, or at its next tick; the second one leaves the queue.
    let first = go(subject.take_all(&other, b"a"));
    fixture.queued(1).await;
    let second = go(subject.take_all(&other, b"a"));
    fixture.queued(2).await;
    proxy.reset_counts();
    guard.release_after(lease()).await.expect("released");
    let requests = proxy.request_names();
    assert_eq!(requests.values().sum::<u64>(), 1, "{requests:?}");
    assert_eq!(client.live(), 0, "nobody renews it");
    assert!(fixture.is_held(), "it is in use");
    assert!(left(&fixture, &client).await <= lease(), "but not for long");
    first.abort(); // who leaves passes on when to look
    let next = fixture.granted(second).await;
    fixture.released(next).await;
    fixture.over().await;
}

pub(crate) async fn a_release_after_a_time_may_end_after_the_lease(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let guard = fixture.held(&client).await;
    guard.release_after(scaled(MINUTE)).await.expect("released");
    tokio::time::sleep(lease() * 2).await;
    assert!(left(&fixture, &client).await > scaled(MINUTE) / 2, "it is in use");
    let handle = fixture.handle(&client);
    assert!(handle.force().await.expect("an answer"), "it can be forced open");
    assert!(fixture.tried(&client).await.is_some(), "and is free");
    fixture.settled().await;
    fixture.over().await;
}

pub(crate) async fn a_dropped_release_after_a_time_keeps_the_hold(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let guard = fixture.held(&client).await;
    drop(guard.release_after(HOUR));
    latchwork_tests::eventually("it is sent", || client.live() == 0).await;
    assert!(left(&fixture, &client).await > long(), "it is in use");
    fixture.handle(&client).force().await.expect("an answer");
    fixture.over().await;
}

pub(crate) async fn a_release_after_a_time_keeps_no_hold_past_its_maximum(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let options = Options {
        max_hold: Some(medium()),
        ..Options::NONE
    };
    let handle = fixture.handle_with(&client, &options);
    let guard = soon("a hold", handle.acquire()).await.expect("a hold");
    guard.release_after(HOUR).await.expect("released");
    assert!(left(&fixture, &client).await <= medium(), "cut to the maximum");
    fixture.released(fixture.all(&client).await).await;
    fixture.over().await;
}

pub(crate) async fn a_release_after_more_than_a_day_is_refused_and_releases(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.steady().await;
    let day = Duration::from_secs(24 * 3600);
    let guard = fixture.held(&client).await;
    let error = guard.release_after(day + Duration::from_nanos(1)).await;
    let error = error.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("24 h"), "{error}");
    fixture.released(fixture.all(&client).await).await;
    fixture
        .held(&client)
        .await
        .release_after(day)
        .await
        .expect("released");
    assert!(left(&fixture, &client).await > day / 2, "a day is fine");
    fixture.handle(&client).force().await.expect("an answer");
    fixture.over().await;
}

pub(crate) async fn a_least_time_counts_whatever_ends_the_hold(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    for at_least in [HOUR, lease() * 2] {
        let options = Options {
            at_least: Some(at_least),
            ..Options::NONE
        };
        let handle = fixture.handle_with(&client, &options);
        for way in ["a release", "a drop", "a short release after a time"] {
            let guard = soon("a hold", handle.acquire()).await.expect("a hold");
            match way {
                "a drop" => drop(guard),
                "a release" => guard.release().await.expect("released"),
                _ => guard.release_after(Duration::ZERO).await.expect("released"),
            }
            latchwork_tests::eventually("it is sent", || client.live() == 0).await;
            let left = left(&fixture, &client).await;
            assert!(left <= at_least && left > at_least / 4, "{way}: {left:?}");
            if at_least == HOUR {
                handle.force().await.expect("an answer");
            }
            // The next round waits for its end.
            fixture.released(fixture.all(&client).await).await;
        }
    }
    fixture.over().await;
}

pub(crate) async fn a_hold_with_a_least_time_outlasts_its_process(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.renewing().await, fixture.client().await);
    let options = Options {
        at_least: Some(HOUR),
        ..Options::NONE
    };
    let handle = fixture.handle_with(&one, &options);
    let all = fixture.all(&two).await;
    let waiter = go(handle.acquire());
    fixture.queued(1).await;
    fixture.released(all).await;
    let by_message = fixture.granted(waiter).await;
    // Confirmed, and then renewed for a lease, which does not shorten it.
    tokio::time::sleep(medium()).await;
    let by_reply = match subject.most() {
        Some(1) => None,
        _ => Some(handle.acquire().await.expect("a hold")),
    };
    let info = handle.inspect().await.expect("an answer");
    for holder in &info.holders {
        assert!(holder.lease_left > HOUR / 2, "nobody has to renew it: {info:?}");
    }
    drop((by_message, by_reply));
    latchwork_tests::eventually("they are sent", || one.live() == 0).await;
    handle.force().await.expect("an answer");
    fixture.over().await;
}

pub(crate) async fn a_hold_that_is_undone_is_not_kept(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let options = Options {
        at_least: Some(HOUR),
        ..Options::NONE
    };
    let handle = fixture.handle_with(&client, &options);
    let all = fixture.all(&client).await;
    let mut waiter = handle.acquire();
    // Polled until it waits, and not any longer: it is granted, and nobody takes it.
    tokio::select! {
        biased;
        granted = &mut waiter => panic!("{granted:?}"),
        () = fixture.queued(1) => {}
    }
    fixture.released(all).await;
    drop(waiter);
    fixture.released(fixture.all(&client).await).await;
    fixture.over().await;
}
