//! A limiter is gone from the server shortly after its permits are back, unless its rate was set.

use std::time::Duration;

use latchwork_limiter::{Algorithm, OnMismatch, Rate, RateLimiter};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, eventually, go, soon};

use crate::bench::{Bench, KEY, LIFE};
use crate::calls::{BOTH, MINUTE, limiter, number, rate};
use crate::model::{gcra, window};

const SECOND: i64 = 1_000_000;

fn life(fixture: &Fixture<'_>) -> Duration {
    let key = format!("{}:limiter:{{a}}", fixture.prefix);
    let life = fixture.server.admin(&["PTTL", &key]).unwrap().int().unwrap();
    Duration::from_millis(life.try_into().expect("it has a TTL"))
}

#[tokio::test]
async fn a_record_lives_until_its_permits_are_back() {
    let margin = Duration::from_secs(2);
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 6, MINUTE);
        let decision = limiter.acquire_many(3).await.unwrap();
        let found = life(&fixture);
        let most = decision.reset_after + margin + Duration::from_millis(1);
        assert!(
            found <= most && found + Duration::from_secs(5) > most,
            "{found:?}, all are back after {:?}",
            decision.reset_after
        );
        limiter.set_rate(rate(algorithm, 7, MINUTE)).await.unwrap();
        let almost_a_day = MINUTE * (24 * 60 - 1);
        assert!(life(&fixture) > almost_a_day, "a rate that was set: a day");
        limiter.try_acquire().await.unwrap();
        assert!(life(&fixture) > almost_a_day, "a day from the last use");
    }
}

#[tokio::test]
async fn a_rate_that_was_set_is_remembered_for_as_long_as_asked() {
    for algorithm in BOTH {
        for on_mismatch in [OnMismatch::Error, OnMismatch::Set { version: 1 }] {
            let fixture = Fixture::shared();
            let client = fixture.client().await;
            let with = |keep| {
                RateLimiter::builder(&client, "a", rate(algorithm, 5, Duration::from_millis(5)))
                    .algorithm(algorithm)
                    .on_mismatch(on_mismatch)
                    .keep(keep)
                    .build()
            };
            let limiter = with(MINUTE * 10).unwrap();
            if on_mismatch == OnMismatch::Error {
                limiter
                    .set_rate(rate(algorithm, 6, Duration::from_millis(5)))
                    .await
                    .unwrap();
            }
            limiter.try_acquire().await.unwrap();
            let found = life(&fixture);
            assert!(
                found > MINUTE * 9 && found < MINUTE * 11,
                "{on_mismatch:?}: {found:?}"
            );
            let year = Duration::from_secs(366 * 86_400);
            let tick = Duration::from_nanos(1);
            assert!(with(Duration::from_secs(1)).is_ok() && with(year).is_ok());
            assert!(with(Duration::from_nanos(999_999_999)).is_err() && with(year + tick).is_err());
        }
    }
}

/// A crowd of visitors, each with a limiter of its own, leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_burst_once_are_gone_shortly_after() {
    let count = std::env::var("LATCHWORK_VISITORS").unwrap_or_default();
    let count: u32 = count.parse().unwrap_or(2000);
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture.client().await;
    for algorithm in BOTH {
        for first in (0..count).step_by(500) {
            let calls = (first..count.min(first + 500)).map(|visitor| {
                let rate = rate(algorithm, 10, Duration::from_millis(10));
                let limiter = RateLimiter::builder(&client, format!("visitor-{visitor}"), rate)
                    .algorithm(algorithm)
                    .build()
                    .unwrap();
                go(async move { limiter.try_acquire_many(10).await })
            });
            for call in calls.collect::<Vec<_>>() {
                assert!(call.await.unwrap().unwrap().allowed);
            }
        }
        let gone = || {
            server
                .keys(&format!("{}:limiter", fixture.prefix))
                .unwrap()
                .is_empty()
        };
        assert!(!gone() || count > 10_000, "they were there");
        eventually("all are gone", gone).await;
    }
}

#[test]
fn h49_a_record_is_not_forgotten_before_its_permits_are_back() {
    for terms in [gcra(10, SECOND, 10), window(10, SECOND)] {
        let mut bench = Bench::start();
        let keep: i64 = LIFE.parse().unwrap();
        let lives = |bench: &mut Bench, what: &str, least: i64| {
            let life = bench.redis(&["PTTL", KEY]).int().unwrap() - keep;
            assert!(
                life <= least && life > least - 200,
                "{terms:?}, {what}: {life} ms instead of {least}"
            );
        };
        let all = terms.reach() / 1000;
        let part = if terms.reach() > SECOND + 1 { all } else { 1000 };
        assert_eq!(bench.ask(&terms, 10, 0, 1)[0], 1);
        lives(&mut bench, "all of them", part);
        // The clock is set back: no time has passed, so it all comes back later.
        bench.now_us -= 3_600 * SECOND;
        assert_eq!(bench.ask(&terms, 1, 0, 2)[0], 3);
        lives(&mut bench, "after a step back", part);
        assert_eq!(bench.ask(&terms, 10, terms.reach(), 3)[0], 1, "a slot ahead");
        let life = bench.redis(&["PTTL", KEY]).int().unwrap() - keep;
        assert!(life > part + 800, "{terms:?}: reserved ahead: {life} ms");
    }
}

#[tokio::test]
async fn a_hundred_calls_at_once_all_get_a_slot_with_a_long_wait() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let ten = Rate::per(number(10), Duration::from_millis(100)); // 100 in a second
    let by = |wait: Option<Duration>| {
        let builder = RateLimiter::builder(&client, "a", ten);
        match wait {
            Some(wait) => builder.max_wait(wait).build(),
            None => builder.build(),
        }
    };
    let patient = by(Some(Duration::from_secs(2))).unwrap();
    let calls: Vec<_> = (0..100).map(|_| go(patient.acquire())).collect();
    for call in calls {
        let decision = soon("its turn", call).await.unwrap().unwrap();
        assert!(decision.allowed);
    }
    patient.reset().await.unwrap();
    let usual = by(None).unwrap();
    let mut calls: Vec<_> = (0..100).map(|_| go(usual.acquire())).collect();
    let mut refused = 0;
    for call in calls.drain(..) {
        refused += u32::from(call.await.unwrap().is_err());
    }
    assert!((80..=89).contains(&refused), "a window ahead at most: {refused}");
    let error = by(Some(Duration::ZERO)).unwrap();
    error.reset().await.unwrap();
    error.acquire().await.unwrap();
    let error = error.acquire().await.unwrap_err();
    assert!(error.to_string().contains("max_wait"), "{error}");
    let month = Duration::from_secs(30 * 86_400);
    assert!(by(Some(month)).is_ok() && by(Some(month + Duration::from_nanos(1))).is_err());
    let window = |wait| {
        RateLimiter::builder(&client, "a", Rate::per_second(number(10)))
            .algorithm(Algorithm::SlidingWindow)
            .max_wait(wait)
            .build()
    };
    let most = Duration::from_millis(1020);
    assert!(window(most).is_ok() && window(most + Duration::from_micros(1)).is_err());
}
