//! Each call of a limiter counts, waits in order and is refused as documented.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use latchwork_limiter::{Algorithm, Client, ErrorKind, Rate, RateLimiter};
use latchwork_testkit::ConnKind;
use latchwork_tests::{Fixture, eventually, go};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const BOTH: [Algorithm; 2] = [Algorithm::Gcra, Algorithm::SlidingWindow];

pub(crate) fn number(of: u32) -> NonZeroU32 {
    NonZeroU32::new(of).unwrap()
}

/// So many at once, which are all back after `period`.
pub(crate) fn rate(algorithm: Algorithm, permits: u32, period: Duration) -> Rate {
    let rate = Rate::per(number(permits), period);
    match algorithm {
        Algorithm::SlidingWindow => rate,
        _ => rate.burst(number(permits)),
    }
}

pub(crate) fn limiter(client: &Client, algorithm: Algorithm, permits: u32, period: Duration) -> RateLimiter {
    RateLimiter::builder(client, "a", rate(algorithm, permits, period))
        .algorithm(algorithm)
        .build()
        .unwrap()
}

/// How many there are now.
pub(crate) async fn left(limiter: &RateLimiter) -> u32 {
    limiter.peek().await.unwrap().remaining
}

/// Asks until there are so many, for ten seconds.
pub(crate) async fn becomes(limiter: &RateLimiter, count: u32) {
    let over = Instant::now() + Duration::from_secs(10);
    while left(limiter).await != count {
        assert!(Instant::now() < over, "in vain: {count} are left");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn permits_are_taken_and_counted() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 5, MINUTE);
        assert_eq!(limiter.name().as_bytes(), b"a");
        let decision = limiter.peek().await.unwrap();
        assert!(decision.allowed && decision.retry_after.is_zero(), "{decision:?}");
        assert_eq!((decision.limit, decision.remaining), (5, 5), "{decision:?}");
        assert!(decision.reset_after.is_zero(), "{decision:?}");
        let decision = limiter.try_acquire().await.unwrap();
        assert!(decision.allowed && decision.retry_after.is_zero(), "{decision:?}");
        assert_eq!((decision.limit, decision.remaining), (5, 4), "{decision:?}");
        assert!(decision.reset_after > Duration::ZERO, "{decision:?}");
        assert!(limiter.acquire().await.unwrap().allowed, "at once");
        assert_eq!(limiter.acquire_many(2).await.unwrap().remaining, 1);
        let refused = limiter.try_acquire_many(2).await.unwrap();
        assert!(!refused.allowed && refused.remaining == 1, "{refused:?}");
        assert!(
            refused.retry_after > Duration::ZERO && refused.retry_after <= MINUTE * 51 / 50,
            "{refused:?}"
        );
        assert!(
            refused.retry_after_secs() >= 1 && refused.retry_after_secs() <= 62,
            "{refused:?}"
        );
        assert_eq!(left(&limiter).await, 1, "what is refused consumes nothing");
        assert!(limiter.try_acquire().await.unwrap().allowed, "the last one");
        assert!(!limiter.peek().await.unwrap().allowed, "none is left");
        assert_eq!(client.live(), 0, "no place is left");
        limiter.reset().await.unwrap();
        assert_eq!(left(&limiter).await, 5, "as new");
        fixture.check_leftovers();
    }
}

#[tokio::test]
async fn limiters_of_one_name_in_several_clients_are_one() {
    let fixture = Fixture::shared();
    let (one, other) = (fixture.client().await, fixture.client().await);
    let [one, other] = [&one, &other].map(|client| limiter(client, Algorithm::Gcra, 2, MINUTE));
    assert!(one.try_acquire().await.unwrap().allowed);
    assert!(other.try_acquire().await.unwrap().allowed);
    assert!(!one.try_acquire().await.unwrap().allowed);
    assert!(!other.try_acquire().await.unwrap().allowed);
}

/// One acquire of several: its number, when it was sent and when it went.
type Turn = (usize, Duration, Duration);

/// Acquires from two clients by turns, each reserved before the next is sent; returns them in the
/// order in which they went. The first `free` go at once, `apart` from each other, and the others
/// wait.
async fn turns(algorithm: Algorithm, rate: Rate, free: usize, waits: usize, apart: Duration) -> Vec<Turn> {
    let fixture = Fixture::shared();
    let clients = [fixture.client().await, fixture.client().await];
    let limiters = clients.each_ref().map(|client| {
        let builder = RateLimiter::builder(client, "a", rate).algorithm(algorithm);
        builder.build().unwrap()
    });
    let start = Instant::now();
    let order = Arc::new(Mutex::new(Vec::new()));
    for turn in 0..free {
        let sent = start.elapsed();
        limiters[turn % 2].acquire().await.unwrap();
        order.lock().unwrap().push((turn, sent, start.elapsed()));
        tokio::time::sleep(apart).await;
    }
    let mut tasks = Vec::new();
    for turn in free..free + waits {
        let sent = start.elapsed();
        let mut future = Box::pin(limiters[turn % 2].acquire());
        let early = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
        assert!(early.is_err(), "{turn} has to wait");
        let order = Arc::clone(&order);
        tasks.push(go(async move {
            future.await.unwrap();
            order.lock().unwrap().push((turn, sent, start.elapsed()));
        }));
        // The server answers a client in turn: what the other client sends from now on comes after
        // this one.
        clients[turn % 2].ping().await.unwrap();
    }
    assert_eq!(clients[0].live() + clients[1].live(), waits, "each has a place");
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(clients[0].live() + clients[1].live(), 0, "no place is left");
    let order = order.lock().unwrap();
    order.clone()
}

#[tokio::test]
async fn waiters_go_in_order_of_arrival_and_not_before_their_slots() {
    const SECOND: Duration = Duration::from_secs(1);
    for algorithm in BOTH {
        // GCRA: one every 100 ms. The window: three in any second, so the slots of those that wait
        // are as far apart as the first three were: more than a piece, which is 20 ms.
        let (permits, free, waits, apart) = match algorithm {
            Algorithm::Gcra => (10, 1, 7, Duration::ZERO),
            _ => (3, 3, 3, SECOND / 20),
        };
        let rate = Rate::per(number(permits), SECOND);
        let order = turns(algorithm, rate, free, waits, apart).await;
        let numbers: Vec<_> = order.iter().map(|(turn, ..)| *turn).collect();
        assert_eq!(numbers, (0..free + waits).collect::<Vec<_>>(), "{order:?}");
        for (turn, _, went) in &order {
            let slot = match algorithm {
                Algorithm::Gcra => SECOND / 10 * u32::try_from(*turn).unwrap(),
                _ if *turn >= free => order[turn - free].1 + SECOND,
                _ => Duration::ZERO,
            };
            assert!(*went >= slot, "{turn} went before {slot:?}: {order:?}");
        }
    }
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_refused_at_once() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 3, MINUTE);
        limiter.acquire_many(3).await.unwrap();
        let before = limiter.peek().await.unwrap();
        let wait = MINUTE / 4;
        for (what, acquire) in [
            ("for", limiter.acquire_for(wait)),
            ("zero", limiter.acquire_for(Duration::ZERO)),
            ("until", limiter.acquire_until(Instant::now() + wait)),
            ("past", limiter.acquire_until(Instant::now())),
            ("many for", limiter.acquire_many_for(2, wait)),
            ("many until", limiter.acquire_many_until(2, Instant::now() + wait)),
        ] {
            let start = Instant::now();
            let error = acquire.await.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::TooLate, "{what}: {error}");
            assert!(error.to_string().contains("`a`"), "{error}");
            assert!(error.is_transient(), "later it may do");
            assert!(start.elapsed() < wait, "{what}: at once");
        }
        let after = limiter.peek().await.unwrap();
        assert_eq!(after.remaining, before.remaining, "nothing was consumed");
        assert!(after.retry_after <= before.retry_after, "{before:?}, {after:?}");
        assert_eq!(client.live(), 0, "no place is left");
    }
}

#[tokio::test]
async fn a_deadline_that_can_be_met_is_waited_for() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let limiter = RateLimiter::new(&client, "a", Rate::per_second(number(20))).unwrap();
    let start = Instant::now();
    limiter.acquire_for(Duration::ZERO).await.unwrap();
    limiter.acquire_for(MINUTE).await.unwrap();
    limiter.acquire_until(start + MINUTE).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(100),
        "two waits of 50 ms"
    );
}

#[tokio::test]
async fn further_ahead_than_a_window_is_too_late() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 3, MINUTE);
        limiter.acquire_many(3).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut future = Box::pin(limiter.acquire());
            let before = limiter.peek().await.unwrap().reset_after;
            let over = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
            assert!(over.is_err(), "it waits");
            waiting.push(future);
            while limiter.peek().await.unwrap().reset_after <= before {
                let over = tokio::time::timeout(Duration::from_millis(1), waiting.last_mut().unwrap()).await;
                assert!(over.is_err(), "it waits");
                if algorithm == Algorithm::SlidingWindow {
                    break; // they all have the same slot
                }
            }
        }
        let error = limiter.acquire().await.expect_err("a window is full");
        assert_eq!(error.kind(), ErrorKind::TooLate, "{error}");
        assert!(error.to_string().contains("ahead"), "{error}");
    }
}

/// At ten a minute, one goes now and ten have slots in the next minute.
#[tokio::test]
async fn of_a_hundred_calls_at_once_eleven_get_a_slot_by_default() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let limiter = RateLimiter::new(&client, "a", Rate::per_minute(number(10))).expect("a limiter");
    let calls: Vec<_> = (0..100).map(|_| go(limiter.acquire())).collect();
    eventually("the others are refused", || {
        calls.iter().filter(|call| call.is_finished()).count() == 90
    })
    .await;
    let mut refused = 0;
    for call in calls {
        if call.is_finished() {
            let result = call.await.expect("no panic");
            refused += usize::from(result.is_err_and(|error| error.kind() == ErrorKind::TooLate));
        } else {
            call.abort();
        }
    }
    assert_eq!(refused, 89, "eleven have a slot");
}

#[tokio::test]
async fn a_call_is_one_request() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (proxy, client) = fixture.proxied_with(|b| b.heartbeat(MINUTE)).await;
        let limiter = limiter(&client, algorithm, 4, Duration::from_millis(100));
        eventually("the label is written", || {
            proxy.request_names().contains_key("SET")
        })
        .await;
        proxy.reset_counts();
        for _ in 0..4 {
            assert!(limiter.try_acquire().await.unwrap().allowed);
        }
        assert!(!limiter.try_acquire_many(4).await.unwrap().allowed);
        limiter.acquire().await.unwrap(); // waits
        limiter.peek().await.unwrap();
        let slow = RateLimiter::new(&client, "b", Rate::per_minute(number(1))).unwrap();
        slow.acquire().await.unwrap();
        slow.acquire_for(Duration::ZERO).await.expect_err("not now");
        assert_eq!(proxy.requests_of(ConnKind::Commands), 9, "one each");
        assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
    }
}

#[tokio::test]
async fn more_than_the_limiter_can_ever_admit_is_too_large() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 3, MINUTE);
        for future in [
            limiter.acquire_many(4),
            limiter.try_acquire_many(4),
            limiter.try_acquire_many(u32::MAX),
        ] {
            let error = future.await.expect_err("too large");
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        }
        for future in [limiter.acquire_many(0), limiter.try_acquire_many(0)] {
            let error = future.await.expect_err("none");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        assert_eq!(left(&limiter).await, 3, "nothing was consumed");
        limiter.set_rate(rate(algorithm, 9, MINUTE)).await.unwrap();
        assert!(
            limiter.try_acquire_many(9).await.unwrap().allowed,
            "now there are so many"
        );
    }
}
