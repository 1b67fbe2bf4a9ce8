//! Programs that disagree about the number of permits or the rate agree as their handles say.
//!
//! `LATCHWORK_DEPLOYMENT_SECS` is how long the test under load runs.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use latchwork_semaphore::{Client, ErrorKind, OnMismatch, Rate, Semaphore, SemaphoreBuilder};
use latchwork_testkit::TestServer;
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, eventually, go, soon};

fn builder(client: &Client, permits: u32, on_mismatch: OnMismatch) -> SemaphoreBuilder {
    Semaphore::builder(client, "a", permits).on_mismatch(on_mismatch)
}

fn handle(client: &Client, permits: u32, on_mismatch: OnMismatch) -> Semaphore {
    builder(client, permits, on_mismatch).build().unwrap()
}

const fn set(version: u16) -> OnMismatch {
    OnMismatch::Set { version }
}

async fn uses(semaphore: &Semaphore) {
    semaphore.acquire().await.unwrap().release().await.unwrap();
}

fn life(fixture: &Fixture<'_>) -> Duration {
    let life = fixture.server.admin(&["PTTL", &fixture.key()]).unwrap();
    Duration::from_millis(life.int().unwrap().try_into().expect("it has a TTL"))
}

#[tokio::test]
async fn a_handle_that_adopts_uses_the_number_of_the_first() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let first = handle(&one, 3, OnMismatch::Error);
    let adopts = handle(&two, 5, OnMismatch::Adopt);
    uses(&first).await;
    let all = adopts.acquire_many(3).await.unwrap();
    assert!(adopts.try_acquire().await.unwrap().is_none(), "three and no more");
    let error = adopts.acquire_many(4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    all.release().await.unwrap();
    uses(&first).await;
    // It makes a record as any handle does.
    fixture.server.admin(&["DEL", &fixture.key()]).unwrap();
    adopts.acquire_many(5).await.unwrap().release().await.unwrap();
    let error = first.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    fixture.over().await;
}

#[tokio::test]
async fn the_highest_version_counts_whatever_comes_after_it() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let plain = handle(&one, 3, OnMismatch::Error);
    let [first, second] = [handle(&one, 5, set(0)), handle(&two, 10, set(65_534))];
    let everyone = [&plain, &first, &second];
    let count = async || plain.capacity().await.unwrap();
    uses(&plain).await;
    uses(&first).await;
    assert_eq!(count().await, 5, "it had no version");
    uses(&second).await;
    assert_eq!(count().await, 10, "the higher version");
    for semaphore in everyone {
        uses(semaphore).await;
        assert_eq!(count().await, 10, "nobody undoes it");
    }
    let same = handle(&one, 11, set(65_534));
    let error = same.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");

    // By hand until the next version, whatever is changed.
    plain.resize(20).await.unwrap();
    plain.resize(21).await.unwrap();
    plain.set_rate(None).await.unwrap();
    for semaphore in everyone.into_iter().chain([&same]) {
        uses(semaphore).await;
        assert_eq!(count().await, 21, "by hand");
    }
    uses(&handle(&two, 30, set(65_535))).await;
    for semaphore in everyone.into_iter().chain([&same]) {
        uses(semaphore).await;
        assert_eq!(count().await, 30, "the highest version");
    }
    // A version of the first handle is stored with the number that it makes.
    fixture.server.admin(&["DEL", &fixture.key()]).unwrap();
    uses(&second).await;
    uses(&first).await;
    assert_eq!(count().await, 10);
    fixture.over().await;
}

#[tokio::test]
async fn a_version_that_raises_the_number_lets_waiters_in() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let old = handle(&one, 1, set(1));
    let held = old.acquire().await.unwrap();
    let waiter = fixture.enqueue(old.acquire_many(1)).await;
    let mine = soon("a permit", handle(&two, 3, set(2)).acquire()).await.unwrap();
    let granted = soon("the waiter goes on", waiter).await.unwrap();
    assert_eq!(old.available_permits().await.unwrap(), 0, "three are out");
    // Fewer again: nobody loses a permit.
    let busy = handle(&two, 1, set(3)).try_acquire().await.unwrap();
    assert!(busy.is_none());
    assert_eq!(old.capacity().await.unwrap(), 1);
    for permit in [held, mine, granted] {
        permit.release().await.expect("still its own");
    }
    uses(&old).await;
    fixture.over().await;
}

#[tokio::test]
async fn a_number_and_a_rate_are_set_together() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let every = |ms| Rate::per(NonZeroU32::MIN, Duration::from_millis(ms));
    let with = |client, permits, ms, mode| builder(client, permits, mode).rate(every(ms)).build().unwrap();
    let old = with(&one, 5, 1, set(1));
    uses(&old).await;
    let rate_of = || {
        let scores = fixture.scores();
        let interval = scores.iter().find(|(member, _)| member == "i");
        interval.map(|(_, score)| *score)
    };
    assert_eq!(rate_of(), Some(1000.0));
    let error = with(&two, 5, 2, set(1)).acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "another rate: {error}");
    uses(&with(&two, 5, 2, set(2))).await;
    assert_eq!(rate_of(), Some(2000.0));
    uses(&with(&two, 7, 3, set(3))).await;
    assert_eq!(rate_of(), Some(3000.0));
    uses(&handle(&two, 8, OnMismatch::Adopt)).await;
    uses(&old).await;
    assert_eq!(rate_of(), Some(3000.0), "the others adopt");
    uses(&handle(&two, 7, set(4))).await;
    assert_eq!(rate_of(), None, "no rate is one, too");
    uses(&old).await;
    assert_eq!((rate_of(), old.capacity().await.unwrap()), (None, 7));
    fixture.over().await;
}

#[tokio::test]
async fn a_free_cycle_costs_the_same_in_every_mode() {
    let mut counts = Vec::new();
    for on_mismatch in [OnMismatch::Error, OnMismatch::Adopt, set(7)] {
        let server = TestServer::start().unwrap();
        let fixture = Fixture::on(&server).with(SEMAPHORE);
        let client = fixture.client().await;
        let semaphore = handle(&client, 3, on_mismatch);
        uses(&semaphore).await;
        server.reset_stats().unwrap();
        for _ in 0..5 {
            uses(&semaphore).await;
        }
        let mut calls = server.command_calls().unwrap();
        calls.retain(|name, _| !matches!(name.as_str(), "time" | "config|resetstat" | "info"));
        assert_eq!(calls["evalsha"], 10, "{on_mismatch:?}");
        counts.push(calls);
    }
    assert_eq!(counts[0], counts[1]);
    assert_eq!(counts[0], counts[2]);
}

#[tokio::test]
async fn only_numbers_that_were_set_are_remembered() {
    let fixture = Fixture::of(SEMAPHORE);
    let hour = Duration::from_secs(3600);
    let client = fixture
        .client_with(|b| b.retention(Duration::from_secs(2)).lease(Duration::from_secs(2)))
        .await;
    let plain = handle(&client, 3, OnMismatch::Error);
    uses(&plain).await;
    let found = life(&fixture);
    assert!(
        found <= Duration::from_millis(4500),
        "lease and retention: {found:?}"
    );
    let keeps = builder(&client, 3, OnMismatch::Error).keep(hour).build().unwrap();
    uses(&keeps).await;
    assert!(life(&fixture) <= Duration::from_millis(4500), "nobody set it");
    keeps.resize(3).await.unwrap();
    let found = life(&fixture);
    assert!(found >= hour * 59 / 60 && found < hour * 2, "{found:?}");
    uses(&plain).await;
    let found = life(&fixture);
    assert!(found > hour * 23, "a day, as the handle says: {found:?}");
    fixture.server.admin(&["DEL", &fixture.key()]).unwrap();
    let version = builder(&client, 3, set(1)).keep(hour).build().unwrap();
    uses(&version).await;
    let found = life(&fixture);
    assert!(found >= hour * 59 / 60 && found < hour * 2, "{found:?}");
    fixture.over().await;
}

fn seconds() -> Duration {
    let text = std::env::var("LATCHWORK_DEPLOYMENT_SECS").unwrap_or_default();
    Duration::from_secs(text.parse().unwrap_or(1))
}

/// Acquires and releases until told to stop; returns how many calls were refused for a mismatch.
async fn load(semaphore: Semaphore, stop: Arc<AtomicBool>, calls: Arc<AtomicU32>) -> u32 {
    let mut mismatched = 0;
    while !stop.load(Ordering::Relaxed) {
        calls.fetch_add(1, Ordering::Relaxed);
        match semaphore.acquire().await {
            Ok(permit) => permit.release().await.unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
                mismatched += 1;
            }
        }
    }
    mismatched
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_under_load_agree() {
    for (old, new, count) in [
        (OnMismatch::Error, OnMismatch::Error, None),
        (OnMismatch::Adopt, OnMismatch::Adopt, Some(2)),
        (OnMismatch::Error, OnMismatch::Adopt, Some(2)),
        (OnMismatch::Error, set(0), Some(4)),
        (set(1), set(2), Some(4)),
        (OnMismatch::Adopt, set(2), Some(4)),
    ] {
        let fixture = Fixture::of(SEMAPHORE);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(fixture.steady().await);
        }
        uses(&handle(&clients[0], 2, old)).await;
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut tasks = Vec::new();
        for client in &clients {
            for (permits, mode) in [(2, old), (4, new)] {
                let semaphore = handle(client, permits, mode);
                tasks.push(go(load(semaphore, Arc::clone(&stop), Arc::clone(&calls))));
            }
        }
        tokio::time::sleep(seconds() / 4).await;
        while calls.load(Ordering::Relaxed) < 200 {
            tokio::task::yield_now().await;
        }
        stop.store(true, Ordering::Relaxed);
        let mut mismatches = 0;
        for task in tasks {
            mismatches += task.await.unwrap();
        }
        assert_eq!(mismatches > 0, count.is_none(), "{old:?} {new:?}: {mismatches}");
        let found = handle(&clients[0], 9, OnMismatch::Adopt)
            .capacity()
            .await
            .unwrap();
        assert_eq!(found, count.unwrap_or(2), "{old:?} {new:?}");
        eventually("nothing is left", || {
            clients.iter().all(|client| client.live() == 0)
        })
        .await;
    }
}
