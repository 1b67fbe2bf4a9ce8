//! Handles agree on one rate, and changing it forgets no permit that was used.

use std::time::Duration;

use latchwork_limiter::{Algorithm, ErrorKind, Rate, RateLimiter};
use latchwork_testkit::Reply;
use latchwork_tests::Fixture;

use crate::bench::{Bench, ints};
use crate::calls::{BOTH, MINUTE, left, limiter, number, rate};
use crate::model::{Kind, Terms, gcra, window};

const SECOND: i64 = 1_000_000;

#[tokio::test]
async fn a_handle_with_another_rate_is_refused() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (one, other) = (fixture.client().await, fixture.client().await);
        let made = limiter(&one, algorithm, 3, MINUTE);
        made.acquire().await.unwrap();
        let elsewhere = if algorithm == Algorithm::Gcra {
            BOTH[1]
        } else {
            BOTH[0]
        };
        for says in [
            limiter(&other, algorithm, 4, MINUTE),
            limiter(&other, algorithm, 3, MINUTE * 2),
            limiter(&other, elsewhere, 3, MINUTE),
        ] {
            let errors = [
                says.acquire().await.expect_err("refused"),
                says.try_acquire().await.expect_err("refused"),
                says.try_acquire_many(100).await.expect_err("refused"),
                says.peek().await.expect_err("refused"),
                says.rate().await.expect_err("refused"),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
                assert!(
                    error.to_string().contains("3 per 60s"),
                    "it names the rate: {error}"
                );
            }
        }
        assert_eq!(left(&made).await, 2, "nothing was consumed");
    }
}

#[tokio::test]
async fn a_rate_that_was_set_counts_for_everybody_until_it_is_forgotten() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (one, other) = (fixture.client().await, fixture.client().await);
        let first = limiter(&one, algorithm, 3, MINUTE);
        let second = limiter(&other, algorithm, 3, MINUTE);
        let third = limiter(&other, algorithm, 100, MINUTE); // says something else from the beginning
        first.acquire_many(2).await.unwrap();
        let new = rate(algorithm, 10, MINUTE);
        first.set_rate(new).await.unwrap();
        for handle in [&first, &second, &third] {
            assert_eq!(handle.rate().await.unwrap(), new);
            assert!(handle.try_acquire().await.unwrap().allowed, "by the new rate");
        }
        assert_eq!(left(&second).await, 5, "two were used before");
        second.set_rate(rate(algorithm, 4, MINUTE)).await.unwrap();
        assert!(
            !first.try_acquire().await.unwrap().allowed,
            "more were used than that"
        );
        assert_eq!(first.peek().await.unwrap().limit, 4);

        third.reset().await.unwrap();
        // Each goes back to what it says itself; the first to come makes it.
        assert!(second.try_acquire_many(3).await.unwrap().allowed, "as new");
        assert_eq!(first.peek().await.unwrap().limit, 3);
        let error = third.acquire().await.expect_err("it says something else");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
}

#[tokio::test]
async fn the_algorithm_cannot_be_changed_but_by_a_reset() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let [one, other] = BOTH.map(|algorithm| limiter(&client, algorithm, 3, MINUTE));
    for (made, says) in [(&one, &other), (&other, &one)] {
        made.acquire().await.unwrap();
        let error = says
            .set_rate(Rate::per_second(number(1)))
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        assert_eq!(left(made).await, 2, "nothing has changed");
        says.reset().await.unwrap();
        assert_eq!(left(says).await, 3, "as new");
    }
}

#[tokio::test]
async fn rates_that_cannot_work_are_refused_before_anything_is_sent() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let made = limiter(&client, Algorithm::Gcra, 3, MINUTE);
    let day = Duration::from_secs(86_400);
    for bad in [
        Rate::per(number(1), Duration::ZERO),
        Rate::per(number(1), day * 367),
        Rate::per(number(u32::MAX), MINUTE),
        Rate::per(number(1), day).burst(number(367)),
    ] {
        let error = RateLimiter::new(&client, "a", bad).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("`a`"), "{error}");
        let error = made.set_rate(bad).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let burst = Rate::per_second(number(3)).burst(number(2));
    let window = RateLimiter::builder(&client, "a", burst).algorithm(Algorithm::SlidingWindow);
    assert_eq!(window.build().expect_err("no bursts").kind(), ErrorKind::Invalid);
    assert!(RateLimiter::new(&client, "", burst).is_err(), "no name");
    assert!(
        fixture
            .server
            .keys(&fixture.prefix)
            .unwrap()
            .iter()
            .all(|key| !key.contains("limiter"))
    );
}

fn set(terms: Terms) -> Terms {
    Terms { set: true, ..terms }
}

#[test]
fn waiters_are_not_overtaken_after_a_change() {
    for (before, after) in [
        (gcra(10, SECOND, 2), gcra(1000, SECOND, 500)),
        (gcra(10, SECOND, 2), gcra(1, SECOND, 1)),
        (window(2, SECOND), window(2, SECOND * 10)),
        (window(2, SECOND), window(2, SECOND / 10)),
    ] {
        let mut bench = Bench::start();
        bench.ask(&before, 2, 0, 1);
        let wait = bench.ask(&before, 2, before.reach(), 2)[1];
        assert!(wait > 0, "it waits");
        bench.now_us += 1000;
        assert_eq!(ints(&bench.change(&set(after))), [1, bench.now_us]);
        let next = bench.ask(&set(after), 1, -1, 0)[1];
        let least = if before.period > after.period {
            102_000
        } else {
            wait - 1000
        };
        assert!(
            next >= least,
            "{before:?}, {after:?}: {next} µs, the other waits {wait}"
        );
    }
}

#[test]
fn the_same_change_once_more_changes_nothing() {
    for (before, after) in [
        (gcra(10, SECOND, 2), set(gcra(7, SECOND, 5))),
        (window(5, SECOND), set(window(6, SECOND * 2))),
    ] {
        let mut bench = Bench::start();
        bench.ask(&before, 2, 0, 1);
        bench.change(&after);
        bench.now_us += 1000;
        bench.ask(&after, 1, after.reach(), 2);
        let record = bench.record();
        bench.now_us += 1000;
        assert_eq!(ints(&bench.change(&after)), [1, bench.now_us]);
        assert_eq!(bench.record(), record, "{after:?}");
        assert_eq!(
            ints(&bench.refund(&after, &[(2, 0, 1)])),
            [1, 1],
            "nor what can be given back"
        );
    }
}

#[test]
fn used_permits_stay_used_after_a_change() {
    for (before, after, left) in [
        (gcra(10, SECOND, 10), gcra(5, SECOND, 20), 14),
        (gcra(10, SECOND, 10), gcra(7, SECOND, 6), 0),
        (window(10, SECOND), window(20, SECOND * 5), 14),
        (window(10, SECOND), window(6, SECOND / 10), 0),
    ] {
        let mut bench = Bench::start();
        bench.ask(&before, 6, 0, 1);
        bench.change(&set(after));
        let told = bench.ask(&set(after), 1, -1, 0);
        let remaining = match after.kind {
            Kind::Gcra => {
                let debt = (told[2] * after.permits + told[3]) / after.period;
                after.burst - debt
            }
            Kind::Window => told[2],
        };
        assert_eq!(remaining, left, "{before:?}, {after:?}: {told:?}");
        // The oldest is forgotten when it would be in the new window.
        bench.now_us += after.reach() * 2;
        assert_eq!(
            bench.ask(&set(after), after.limit(), 0, 5)[..2],
            [1, 0],
            "all of it"
        );
    }
}

#[test]
fn a_window_is_carried_over_at_the_latest_time() {
    let (before, after) = (window(10, SECOND), set(window(10, SECOND / 2)));
    let mut bench = Bench::start();
    bench.ask(&before, 4, 0, 1);
    bench.now_us += 300_000;
    bench.ask(&before, 6, 0, 2);
    bench.now_us += 100_000;
    bench.change(&after);
    assert_eq!(
        bench.ask(&after, 1, -1, 0)[2],
        0,
        "all are in the last half second"
    );
    bench.now_us += 130_000; // the first ones are out of it now, the others not
    assert_eq!(bench.ask(&after, 1, -1, 0)[2], 4);
    // Taken at 300 ms, which may have been 320 ms; half a second later, and one piece of 10 ms.
    bench.now_us += 299_999;
    assert_eq!(bench.ask(&after, 1, -1, 0)[2], 4);
    bench.now_us += 1;
    assert_eq!(bench.ask(&after, 1, -1, 0)[2], 10);
}

/// The configuration of these terms, set by hand or not, and by a version.
fn of_version(terms: Terms, by_hand: bool, version: u16) -> String {
    let config = Terms {
        set: by_hand,
        ..terms
    };
    config.config().replace('|', &format!(".{version}|"))
}

#[test]
fn a_late_change_of_a_lower_version_changes_nothing() {
    for terms in [gcra(10, SECOND, 3), window(3, SECOND)] {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, 0, 1);
        let mut change = |config: &str| {
            let mut args = vec![config.to_owned(), bench.now_ms().to_string(), "1000".to_owned()];
            let (script, numbers) = match terms.kind {
                Kind::Gcra => ("gcra_change", vec![terms.permits, terms.period, terms.burst]),
                Kind::Window => ("window_change", vec![terms.piece()]),
            };
            args.extend(numbers.iter().map(ToString::to_string));
            assert_eq!(ints(&bench.call(script, &args)), [1, bench.now_us]);
            let Reply::Bulk(record) = bench.record() else {
                panic!("no record");
            };
            let end = record.iter().position(|byte| *byte == b'|').expect("a rate");
            String::from_utf8_lossy(&record[..=end]).into_owned()
        };
        let other = Terms {
            permits: terms.permits + 1,
            ..terms
        };
        let two = of_version(terms, false, 2);
        assert_eq!(change(&two), two, "there was no version");
        assert_eq!(change(&of_version(other, false, 1)), two, "a lower one");
        assert_eq!(
            change(&of_version(other, false, 2)),
            two,
            "as high: the first counts"
        );
        let by_hand = set(other).config();
        assert_eq!(
            change(&by_hand),
            of_version(other, true, 2),
            "by hand, and of the same version"
        );
        assert_eq!(change(&by_hand), of_version(other, true, 2), "once more");
        assert_eq!(change(&two), of_version(other, true, 2), "no handle undoes it");
        let three = of_version(terms, false, 3);
        assert_eq!(change(&three), three, "but the next version does");
    }
}

#[tokio::test]
async fn a_weekly_quota_is_counted() {
    let week = Duration::from_secs(7 * 86_400);
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let quota = limiter(&client, algorithm, 1000, week);
        let decision = quota.try_acquire_many(400).await.unwrap();
        assert_eq!((decision.allowed, decision.remaining), (true, 600));
        let refused = quota.try_acquire_many(601).await.unwrap();
        assert!(
            !refused.allowed && refused.retry_after <= week * 51 / 50,
            "{refused:?}"
        );
        assert!(refused.reset_after > week / 5, "{refused:?}");
    }
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let day = Duration::from_secs(86_400);
    let month = Rate::per(number(1), day).burst(number(30));
    let exact = RateLimiter::new(&client, "a", month).expect("exactly 30 days");
    assert_eq!(exact.try_acquire_many(30).await.unwrap().remaining, 0);
}
