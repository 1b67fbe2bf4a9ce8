//! Programs that disagree about a rate run side by side, and agree as their handles say.
//!
//! `LATCHWORK_DEPLOYMENT_SECS` is how long the test under load runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use latchwork_limiter::{Algorithm, Client, ErrorKind, OnMismatch, RateLimiter};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, go};

use crate::calls::{BOTH, MINUTE, left, rate};

fn handle(client: &Client, algorithm: Algorithm, permits: u32, on_mismatch: OnMismatch) -> RateLimiter {
    RateLimiter::builder(client, "a", rate(algorithm, permits, MINUTE))
        .algorithm(algorithm)
        .on_mismatch(on_mismatch)
        .build()
        .unwrap()
}

const fn set(version: u16) -> OnMismatch {
    OnMismatch::Set { version }
}

async fn permits(limiter: &RateLimiter) -> u32 {
    limiter.rate().await.unwrap().permits().get()
}

#[tokio::test]
async fn a_handle_that_adopts_uses_the_rate_of_the_first() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (one, other) = (fixture.client().await, fixture.client().await);
        let first = handle(&one, algorithm, 3, OnMismatch::Error);
        let adopts = handle(&other, algorithm, 100, OnMismatch::Adopt);
        first.acquire().await.unwrap();
        let decision = adopts.try_acquire().await.unwrap();
        assert_eq!(
            (decision.limit, decision.remaining),
            (3, 1),
            "the rate of the first"
        );
        assert_eq!(permits(&adopts).await, 3);
        let elsewhere = BOTH[usize::from(algorithm == BOTH[0])];
        let error = handle(&other, elsewhere, 3, OnMismatch::Adopt).peek().await;
        assert_eq!(
            error.unwrap_err().kind(),
            ErrorKind::Mismatch,
            "another algorithm"
        );
        // What was adopted is never written: without a record the handle has its own rate.
        first.reset().await.unwrap();
        assert_eq!(left(&adopts).await, 100);
        assert!(adopts.try_acquire().await.unwrap().allowed);
        assert_eq!(first.peek().await.unwrap_err().kind(), ErrorKind::Mismatch);
    }
}

#[tokio::test]
async fn the_highest_version_counts_whatever_comes_after_it() {
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let (one, other) = (fixture.client().await, fixture.client().await);
        let plain = handle(&one, algorithm, 3, OnMismatch::Error);
        let first = handle(&one, algorithm, 5, set(0));
        let second = handle(&other, algorithm, 10, set(1));
        plain.acquire_many(2).await.unwrap();
        assert_eq!(permits(&second).await, 3, "to look sets nothing");
        assert_eq!(first.acquire().await.unwrap().limit, 5, "it had no version");
        assert_eq!(second.acquire().await.unwrap().limit, 10, "the higher version");
        assert_eq!(first.acquire().await.unwrap().limit, 10, "the lower one adopts");
        assert_eq!(
            plain.acquire().await.unwrap().limit,
            10,
            "and so does one without"
        );
        assert_eq!(left(&second).await, 4, "what was used stays used");
        let same = handle(&one, algorithm, 11, set(1));
        let error = same.acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");

        // By hand until the next version.
        plain.set_rate(rate(algorithm, 20, MINUTE)).await.unwrap();
        for limiter in [&plain, &first, &second, &same] {
            assert_eq!(permits(limiter).await, 20, "by hand");
            assert!(limiter.try_acquire().await.unwrap().allowed);
        }
        let third = handle(&other, algorithm, 30, set(2));
        assert_eq!(third.acquire().await.unwrap().limit, 30);
        for limiter in [&plain, &first, &second, &same] {
            assert_eq!(limiter.acquire().await.unwrap().limit, 30, "the highest version");
        }
    }
}

#[tokio::test]
async fn a_usual_call_takes_one_request_in_every_mode() {
    for algorithm in BOTH {
        for on_mismatch in [OnMismatch::Error, OnMismatch::Adopt, set(7)] {
            let server = TestServer::start().unwrap();
            let fixture = Fixture::on(&server);
            let client = fixture.client().await;
            let limiter = handle(&client, algorithm, 100, on_mismatch);
            limiter.acquire().await.unwrap();
            server.reset_stats().unwrap();
            for _ in 0..5 {
                limiter.try_acquire().await.unwrap();
            }
            let calls = server.command_calls().unwrap();
            assert_eq!(calls["evalsha"], 5, "{on_mismatch:?}");
            assert_eq!((calls["get"], calls["set"]), (5, 5), "{on_mismatch:?}");
        }
    }
}

fn seconds() -> Duration {
    let text = std::env::var("LATCHWORK_DEPLOYMENT_SECS").unwrap_or_default();
    Duration::from_secs(text.parse().unwrap_or(1))
}

/// Calls without pause until told to stop; returns how many calls failed for another reason than a mismatch, and how many
/// for that.
async fn load(limiter: RateLimiter, stop: Arc<AtomicBool>, calls: Arc<AtomicU32>) -> (u32, u32) {
    let (mut failed, mut disagree) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        calls.fetch_add(1, Ordering::Relaxed);
        match limiter.try_acquire().await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Mismatch => disagree += 1,
            Err(_) => failed += 1,
        }
    }
    (failed, disagree)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_under_load_agree() {
    for algorithm in BOTH {
        for (old, new, limit) in [
            (OnMismatch::Error, OnMismatch::Error, None),
            (OnMismatch::Adopt, OnMismatch::Adopt, Some(5)),
            (OnMismatch::Error, OnMismatch::Adopt, Some(5)),
            (OnMismatch::Error, set(0), Some(9)),
            (set(1), set(2), Some(9)),
            (OnMismatch::Adopt, set(2), Some(9)),
        ] {
            let fixture = Fixture::shared();
            let clients = [
                fixture.client().await,
                fixture.client().await,
                fixture.client().await,
                fixture.client().await,
            ];
            let old_one = handle(&clients[0], algorithm, 5, old);
            old_one.try_acquire().await.unwrap();
            let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
            let mut tasks = Vec::new();
            for client in &clients {
                for (permits, mode) in [(5, old), (9, new)] {
                    let limiter = handle(client, algorithm, permits, mode);
                    tasks.push((mode, go(load(limiter, Arc::clone(&stop), Arc::clone(&calls)))));
                }
            }
            tokio::time::sleep(seconds() / 4).await;
            while calls.load(Ordering::Relaxed) < 200 {
                tokio::task::yield_now().await;
            }
            stop.store(true, Ordering::Relaxed);
            let mut refused = 0;
            for (_, task) in tasks {
                let (failed, disagree) = task.await.unwrap();
                assert_eq!(failed, 0, "{old:?} {new:?}");
                refused += disagree;
            }
            assert_eq!(refused > 0, limit.is_none(), "{old:?} {new:?}: {refused}");
            let Some(limit) = limit else { continue };
            for (permits, mode) in [(5, old), (9, new)] {
                let late = handle(&clients[1], algorithm, permits, mode);
                assert_eq!(late.peek().await.unwrap().limit, limit, "{old:?} {new:?}");
            }
        }
    }
}
