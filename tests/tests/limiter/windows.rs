//! Many callers of several clients together keep to the rate.
//!
//! Each admission is put between two looks at the server's own clock.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use latchwork_limiter::{Algorithm, Rate, RateLimiter};
use latchwork_testkit::RespClient;
use latchwork_tests::{Fixture, go};

const CLIENTS: usize = 4;
const TASKS: usize = 8;

/// µs by the server's clock.
fn server_time(connection: &mut RespClient) -> i64 {
    let reply = connection.call(&["TIME"]).unwrap();
    let parts: Vec<i64> = reply
        .items()
        .iter()
        .map(|part| part.text().unwrap().parse().unwrap())
        .collect();
    parts[0] * 1_000_000 + parts[1]
}

/// Admissions of eight tasks of four clients: not before, not after, and how many.
async fn admissions(rate: Rate, algorithm: Algorithm, wait: bool, each: usize) -> Vec<(i64, i64, u32)> {
    let fixture = Fixture::shared();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(fixture.client().await);
    }
    let admitted = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let limiter = RateLimiter::builder(&clients[task % CLIENTS], "a", rate)
            .algorithm(algorithm)
            .build()
            .unwrap();
        let mut clock = RespClient::connect(fixture.server.port()).unwrap();
        let admitted = Arc::clone(&admitted);
        tasks.push(go(async move {
            let mut got = 0;
            while got < each {
                let weight = 1 + u32::try_from((task + got) % 3).unwrap();
                let before = server_time(&mut clock);
                let decision = if wait {
                    match limiter.acquire_many(weight).await {
                        Ok(decision) => decision,
                        Err(error) => {
                            assert_eq!(error.kind(), latchwork_limiter::ErrorKind::TooLate, "{error}");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            continue;
                        }
                    }
                } else {
                    limiter.try_acquire_many(weight).await.unwrap()
                };
                if decision.allowed {
                    let after = server_time(&mut clock);
                    admitted.lock().unwrap().push((before, after, weight));
                    got += 1;
                } else {
                    tokio::time::sleep(decision.retry_after).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    fixture.check_leftovers();
    let admitted = admitted.lock().unwrap().clone();
    assert_eq!(admitted.len(), TASKS * each, "as many as were asked for");
    admitted
}

/// The most that was surely admitted in some time that is no longer than `period`.
fn most_in_any(admitted: &[(i64, i64, u32)], period: i64) -> u32 {
    let within = |from: i64| {
        let inside = admitted
            .iter()
            .filter(move |a| a.0 >= from && a.1 <= from + period);
        inside.map(|a| a.2).sum()
    };
    admitted.iter().map(|a| within(a.0)).max().unwrap()
}

fn number(of: u32) -> NonZeroU32 {
    NonZeroU32::new(of).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h72_no_window_has_more_than_its_permits() {
    let rate = Rate::per(number(20), Duration::from_millis(100));
    for wait in [false, true] {
        let admitted = admissions(rate, Algorithm::SlidingWindow, wait, 15).await;
        let most = most_in_any(&admitted, 100_000);
        assert!(most <= 20, "{most} in one window");
        assert!(
            wait || most >= 10,
            "{most}: does the test still see what is admitted?"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h72_no_time_has_more_than_a_burst_and_the_rate() {
    let rate = Rate::per(number(20), Duration::from_millis(100)).burst(number(10));
    for wait in [false, true] {
        let admitted = admissions(rate, Algorithm::Gcra, wait, 15).await;
        for parts in 0..40_u32 {
            let most = most_in_any(&admitted, 5_000 * i64::from(parts) + 4_999);
            assert!(most <= 10 + parts + 1, "{most} in {parts} of 5 ms");
        }
    }
}
