//! Dropping a guard or a future allocates nothing, counted by the allocator.
//!
//! A test program of its own with one test: everything in the process is counted.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::alloc::System;
use std::any::Any;
use std::num::NonZeroU32;
use std::time::Duration;

use latchwork_core::Client;
use latchwork_latch::CountdownLatch;
use latchwork_limiter::{Rate, RateLimiter};
use latchwork_mutex::{FairMutex, Mutex};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_tests::{Fixture, MINUTE, eventually};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// More than a queue has room for at first.
const EACH: usize = 100;

/// A future that waits; its drop is the subject.
async fn waits<F: Future + 'static>(future: F) -> Box<dyn Any> {
    let mut future = Box::pin(future);
    let waits = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
    assert!(waits.is_err(), "it waits");
    Box::new(future)
}

/// Everything that may be dropped, many times.
async fn everything(client: &Client) -> Vec<Box<dyn Any>> {
    let mut all: Vec<Box<dyn Any>> = Vec::new();
    let config = RwLock::new(client, "config").expect("a lock");
    let calls = Semaphore::new(client, "calls", u32::MAX).expect("a semaphore");
    let held = Mutex::new(client, "held").expect("a mutex");
    all.push(Box::new(held.lock().await.expect("the lock")));
    let latch = CountdownLatch::new(client, "latch", 1).expect("a latch");
    let rate = Rate::per(NonZeroU32::MIN, Duration::from_secs(86_400));
    let limiter = RateLimiter::builder(client, "rate", rate)
        .max_wait(Duration::from_secs(20 * 86_400))
        .build()
        .expect("a limiter");
    limiter.acquire().await.expect("the first is free");
    for number in 0..EACH {
        let name = format!("m{number}");
        let mutex = Mutex::new(client, &name).expect("a mutex");
        all.push(Box::new(mutex.lock().await.expect("the lock")));
        let fair = FairMutex::new(client, format!("f{number}")).expect("a mutex");
        all.push(Box::new(fair.lock().await.expect("the lock")));
        all.push(Box::new(config.read().await.expect("the lock")));
        all.push(Box::new(calls.acquire().await.expect("a permit")));
        all.push(waits(held.lock()).await);
        all.push(waits(latch.wait()).await);
        if number < 10 {
            all.push(waits(limiter.acquire()).await);
        }
    }
    all
}

#[tokio::test]
async fn dropping_guards_and_futures_allocates_nothing() {
    let mut fewest = usize::MAX;
    for _ in 0..5 {
        let fixture = Fixture::shared();
        // A client of its own each time, so that a queue that has to grow does so each time.
        let client = fixture.client_with(|builder| builder.lease(MINUTE)).await;
        let all = everything(&client).await;
        let count = all.len();
        let region = Region::new(COUNTING);
        drop(all);
        let allocated = region.change();
        // The client's own threads may add something at the same time; nothing takes away.
        fewest = fewest.min(allocated.allocations + allocated.reallocations);
        eventually("all is released", || client.live() == 0).await;
        assert!(count > EACH * 6, "{count} were dropped");
        if fewest == 0 {
            return;
        }
    }
    panic!("at least {fewest} allocations in every round");
}
