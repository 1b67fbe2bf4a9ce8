//! A dropped future gives back its reservation if nobody reserved behind it.

use std::time::{Duration, Instant};

use latchwork_limiter::{Algorithm, ErrorKind, RateLimiter, futures::RateAcquire};
use latchwork_testkit::{Action, ConnKind, Direction, Outcome, contains, drop_after_polls, drop_when_woken};
use latchwork_tests::{Fixture, eventually, go, soon};

use crate::calls::{BOTH, becomes, left, limiter};

/// A future that has reserved a slot and sleeps. `taken`: how many wait by then, itself included.
async fn reserved(limiter: &RateLimiter, weight: u32) -> std::pin::Pin<Box<RateAcquire>> {
    let mut future = Box::pin(limiter.acquire_many(weight));
    let over = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
    assert!(over.is_err(), "it waits");
    // It was sent on the same connection before this, and its answer came before this one's.
    limiter.peek().await.unwrap();
    let over = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
    assert!(over.is_err(), "it waits");
    future
}

/// How long the next one would have to wait; only grows by reservations, and falls as they go back, or as time passes.
async fn next(limiter: &RateLimiter) -> Duration {
    limiter.peek().await.unwrap().retry_after
}

/// So long that what passes during a test is nothing next to a permit of it.
const DAY: Duration = Duration::from_secs(86_400);
const STEP: Duration = Duration::from_secs(24 * 60 * 60 / 5);

#[tokio::test]
async fn h14_a_dropped_reservation_is_refunded_if_it_is_the_last_one() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 5, DAY);
        limiter.acquire_many(5).await.unwrap();
        let free = next(&limiter).await;
        let first = reserved(&limiter, 3).await;
        let second = reserved(&limiter, 2).await;
        let full = next(&limiter).await;
        assert!(full > free + STEP * 4, "{free:?}, {full:?}");
        drop(first);
        eventually("it was answered", || client.live() == 1).await;
        assert!(
            next(&limiter).await + STEP / 2 > full,
            "not the last one: it stays consumed"
        );
        drop(second);
        eventually("it was answered", || client.live() == 0).await;
        let after = next(&limiter).await;
        match algorithm {
            // The first one's permits are consumed: three steps more than before.
            Algorithm::Gcra => assert!(after <= free + STEP * 3 && after > free + STEP * 2, "{after:?}"),
            _ => assert!(
                after <= free,
                "two are free in the window of the first: {after:?}"
            ),
        }
        fixture.check_leftovers();
    }
}

#[tokio::test]
async fn reservations_dropped_together_are_all_refunded() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 50, DAY);
        limiter.acquire_many(50).await.unwrap();
        let free = next(&limiter).await;
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(reserved(&limiter, 1).await);
        }
        assert!(next(&limiter).await > free + STEP * 4, "a window is reserved");
        drop(waiting); // the first one first
        eventually("they are back", || client.live() == 0).await;
        assert!(next(&limiter).await <= free, "as if nobody had waited");
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_at_any_poll_leaves_nothing() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (proxy, client) = fixture.counted().await;
        let limiter = limiter(&client, algorithm, 5, DAY);
        // One that is dropped right after a poll may not have sent its request. One that is dropped when it is woken has
        // its answer, unread: what that reserved has to go back.
        let mut reserved = 0;
        for woken in [false, true] {
            let whole = left(&limiter).await;
            for polls in 0.. {
                proxy.reset_counts();
                let call = limiter.try_acquire();
                let outcome = match woken {
                    true if polls == 0 => Outcome::Dropped, // nothing wakes it
                    true => soon("a wake-up", drop_when_woken(call, polls)).await,
                    false => drop_after_polls(call, polls).await,
                };
                match outcome {
                    Outcome::Dropped => {}
                    Outcome::Completed(decision) => {
                        assert!(decision.unwrap().allowed, "there was one");
                        break;
                    }
                }
                eventually("it is back", || client.live() == 0).await;
                let requests = proxy.requests_of(ConnKind::Commands);
                assert!(
                    !woken || polls == 0 || requests >= 2,
                    "it reserved, and gave back"
                );
                reserved += usize::from(woken && polls > 0);
                assert_eq!(
                    left(&limiter).await,
                    whole,
                    "dropped after {polls} polls, woken: {woken}"
                );
            }
            assert_eq!(left(&limiter).await, whole - 1, "the one that was taken");
        }
        assert!(reserved > 0, "the test drops something that was reserved");
        let before = left(&limiter).await;
        drop(limiter.acquire()); // never polled
        assert_eq!(left(&limiter).await, before);
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_at_any_poll_leaves_nothing() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 5, DAY);
        limiter.acquire_many(5).await.unwrap();
        let free = next(&limiter).await;
        // After the second poll it has read its answer, and sleeps until its slot.
        let first = soon("a wake-up", drop_when_woken(limiter.acquire(), 1)).await;
        assert!(first.is_dropped(), "its answer was not read");
        eventually("it is back", || client.live() == 0).await;
        assert!(next(&limiter).await <= free, "as if nobody had waited");
        let second = soon("a second poll", drop_after_polls(limiter.acquire(), 2)).await;
        assert!(second.is_dropped(), "it sleeps");
        eventually("it is back", || client.live() == 0).await;
        assert!(next(&limiter).await <= free, "as if nobody had waited");
    }
}

#[tokio::test]
async fn a_request_that_is_under_way_when_its_future_is_dropped_is_undone() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (proxy, client) = fixture.proxied().await;
        let other = fixture.client().await;
        let [limiter, other] = [&client, &other].map(|client| limiter(client, algorithm, 5, DAY));
        limiter.acquire().await.unwrap();
        // The answer is held up, so the future knows nothing when it is dropped.
        let key = format!("{}:limiter:{{a}}", fixture.prefix);
        let mut asked = None;
        proxy.on_chunk(move |direction, id, chunk| {
            if direction == Direction::ToServer && contains(chunk, &key) {
                asked = Some(id);
            }
            if direction == Direction::ToClient && asked == Some(id) {
                return Action::Hold;
            }
            Action::Pass
        });
        let mut future = Box::pin(limiter.acquire_many(2));
        let over = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
        assert!(over.is_err(), "no answer");
        becomes(&other, 2).await;
        drop(future);
        becomes(&other, 4).await;
        proxy.no_hook();
        proxy.release();
    }
}

#[test]
fn h15_a_drop_needs_no_runtime_of_its_own() {
    let fixture = Fixture::shared();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (client, limiter, future, free) = runtime.block_on(async {
        let client = fixture.client().await;
        let limiter = limiter(&client, Algorithm::Gcra, 5, DAY);
        limiter.acquire_many(5).await.unwrap();
        let free = next(&limiter).await;
        let future = reserved(&limiter, 2).await;
        (client, limiter, future, free)
    });
    std::thread::spawn(move || drop(future)).join().unwrap();
    let late = runtime.block_on(async {
        eventually("it was answered", || client.live() == 0).await;
        assert!(next(&limiter).await <= free, "it is back");
        Some(reserved(&limiter, 2).await)
    });
    // When the runtime that drives the client has ended, nothing happens, nor panics.
    drop(runtime);
    std::thread::spawn(move || drop((late, limiter, client)))
        .join()
        .unwrap();
}

#[test]
fn a_runtime_that_has_ended_answers_closed() {
    let fixture = Fixture::shared();
    let build = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let first = build();
    let (limiter, future) = first.block_on(async {
        let client = fixture.client().await;
        let limiter = limiter(&client, Algorithm::Gcra, 5, DAY);
        limiter.acquire_many(5).await.unwrap();
        let future = reserved(&limiter, 2).await;
        (limiter, future)
    });
    drop(first);
    build().block_on(async {
        let error = future.await.expect_err("nobody drives it");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let error = limiter.try_acquire().await.expect_err("nobody drives it");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        drop(limiter.acquire());
    });
}

#[tokio::test]
async fn closing_wakes_waiters_and_refunds_their_permits() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (client, other) = (fixture.client().await, fixture.client().await);
        let [limiter, other] = [&client, &other].map(|client| limiter(client, algorithm, 5, DAY));
        limiter.acquire_many(5).await.unwrap();
        let free = next(&other).await;
        let waits: Vec<_> = [reserved(&limiter, 1).await, reserved(&limiter, 2).await]
            .into_iter()
            .map(go)
            .collect();
        client.close().await;
        for wait in waits {
            let error = wait.await.unwrap().expect_err("closed");
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        }
        assert!(next(&other).await <= free, "both are back when close returns");
        let error = limiter.acquire().await.expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

#[tokio::test]
async fn dropping_client_and_future_together_refunds_the_permits() {
    let fixture = Fixture::shared();
    let (client, other) = (fixture.client().await, fixture.client().await);
    let [limiter, other] = [&client, &other].map(|client| limiter(client, Algorithm::Gcra, 5, DAY));
    limiter.acquire_many(5).await.unwrap();
    let free = next(&other).await;
    let future = reserved(&limiter, 2).await;
    assert!(next(&other).await > free, "it is reserved");
    drop((client, limiter, future));
    let over = Instant::now() + Duration::from_secs(10);
    while next(&other).await > free {
        assert!(Instant::now() < over, "it does not come back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
