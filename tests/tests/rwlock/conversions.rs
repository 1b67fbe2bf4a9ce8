//! Upgrades and downgrades keep their tokens, deadlines and order under faults and load.
//!
//! Most of these tests are bugs that were found once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use latchwork_rwlock::{ErrorKind, FencingToken, Loss, RwLock, RwPolicy};
use latchwork_testkit::{Action, Direction, contains};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, go, lose_grants};

#[tokio::test]
async fn a_writer_with_a_token_floor_can_be_downgraded() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = RwLock::builder(&client, "a")
        .token_floor(FencingToken::new(1))
        .build()
        .unwrap();
    let reading = lock.write().await.unwrap().downgrade().await.unwrap();
    assert!(reading.is_valid(), "a share has no token, and no floor");
    reading.unlock().await.unwrap();
    fixture.check_leftovers();
}

#[tokio::test]
async fn an_upgrade_has_a_token_above_the_floor() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let plain = RwLock::new(&client, "a").unwrap();
    let writer = plain.write().await.unwrap();
    let floor = FencingToken::new(writer.fencing_token().get() + 60_000_000);
    writer.unlock().await.unwrap();
    let lock = RwLock::builder(&client, "a").token_floor(floor).build().unwrap();
    let writer = lock.upgradable_read().await.unwrap().upgrade().await.unwrap();
    let first = writer.fencing_token();
    assert!(first > floor, "granted at once: {first}");
    writer.unlock().await.unwrap();

    let floor = FencingToken::new(first.get() + 60_000_000);
    let lock = RwLock::builder(&client, "a").token_floor(floor).build().unwrap();
    let reader = lock.read().await.unwrap();
    let upgrading = go(lock.upgradable_read().await.unwrap().upgrade());
    fixture.queued(1).await;
    reader.unlock().await.unwrap();
    let writer = upgrading.await.unwrap().unwrap();
    assert!(writer.fencing_token() > floor, "granted by a message");
    tokio::time::sleep(latchwork_tests::LEASE * 2).await;
    assert!(writer.is_valid(), "and renewed with that token");
    writer.unlock().await.unwrap();
    fixture.check_leftovers();
}

#[tokio::test]
async fn readers_that_are_preferred_do_not_keep_an_upgrade_waiting() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = RwLock::builder(&client, "a")
        .policy(RwPolicy::PreferReaders)
        .build()
        .unwrap();
    let reader = lock.read().await.unwrap();
    let upgrading = go(lock.upgradable_read().await.unwrap().upgrade());
    fixture.queued(1).await;
    assert!(
        lock.try_read().await.unwrap().is_none(),
        "it would be kept waiting for ever"
    );
    let next = go(lock.read());
    fixture.queued(2).await;
    reader.unlock().await.unwrap();
    upgrading.await.unwrap().unwrap().unlock().await.unwrap();
    next.await.unwrap().unwrap().unlock().await.unwrap();
    fixture.check_leftovers();
}

#[tokio::test]
async fn the_maximum_hold_counts_from_the_first_grant() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let most = latchwork_tests::LEASE * 2;
    let lock = RwLock::builder(&client, "a").max_hold(most).build().unwrap();
    let writer = lock.write().await.unwrap();
    let begun = std::time::Instant::now();
    tokio::time::sleep(most * 3 / 4).await;
    let reading = writer.downgrade_to_upgradable().await.unwrap();
    let writer = reading.upgrade().await.unwrap();
    let reading = writer.downgrade().await.unwrap();
    assert!(
        reading.valid_for() <= most.saturating_sub(begun.elapsed()),
        "it does not begin anew"
    );
    assert_eq!(reading.lost().await, Loss::MaxHold, "then it is over");
}

#[tokio::test]
async fn closing_ends_an_upgrade_that_waits() {
    let fixture = Fixture::of(READ);
    let (client, other) = (fixture.client().await, fixture.client().await);
    let reader = RwLock::new(&other, "a").unwrap().read().await.unwrap();
    let lock = RwLock::new(&client, "a").unwrap();
    let upgrading = go(lock.upgradable_read().await.unwrap().upgrade());
    fixture.queued(1).await;
    let closed = client.close().await;
    assert_eq!(closed.unsent, 0, "{closed:?}");
    let error = upgrading.await.unwrap().unwrap_err();
    assert_eq!(
        error.error().map(latchwork_rwlock::Error::kind),
        Some(ErrorKind::Lost)
    );
    assert!(error.into_guard().is_none(), "there is none any more");
    assert_eq!(fixture.waiters(), 0, "nor a place");
    reader.unlock().await.unwrap();
    let lock = RwLock::new(&other, "a").unwrap();
    lock.write().await.unwrap().unlock().await.unwrap();
    fixture.check_leftovers();
}

#[tokio::test]
async fn an_upgrade_that_is_given_up_as_it_is_granted_leaves_the_share() {
    let fixture = Fixture::of(READ);
    let (client, other) = (fixture.client().await, fixture.client().await);
    let lock = RwLock::new(&client, "a").unwrap();
    let theirs = RwLock::new(&other, "a").unwrap();
    for round in 0..40 {
        let reader = theirs.read().await.unwrap();
        let upgradable = lock.upgradable_read().await.unwrap();
        let wait = Duration::from_millis(3);
        let (upgraded, ()) = tokio::join!(upgradable.try_upgrade_for(wait), async {
            tokio::time::sleep(Duration::from_micros(2000 + 50 * round)).await;
            reader.unlock().await.unwrap();
        });
        match upgraded {
            Ok(writer) => {
                assert!(theirs.try_read().await.unwrap().is_none(), "alone");
                writer.unlock().await.unwrap();
            }
            Err(busy) => {
                let reading = busy.into_guard().unwrap();
                theirs.read().await.unwrap().unlock().await.unwrap(); // they share again
                let writer = reading.upgrade().await.unwrap();
                assert!(theirs.try_read().await.unwrap().is_none(), "alone");
                writer.unlock().await.unwrap();
            }
        }
    }
    fixture.check_leftovers();
}

#[tokio::test]
async fn an_upgrade_whose_message_is_lost_is_found_by_ticks() {
    let fixture = Fixture::of(READ);
    let (proxy, client) = fixture.proxied().await;
    let other = RwLock::new(&fixture.client().await, "a").unwrap();
    let reader = other.read().await.unwrap();
    let lock = RwLock::new(&client, "a").unwrap();
    let upgrading = go(lock.upgradable_read().await.unwrap().upgrade());
    fixture.queued(1).await;
    lose_grants(&proxy);
    reader.unlock().await.unwrap();
    let upgraded = tokio::time::timeout(latchwork_tests::LEASE * 10, upgrading).await;
    let writer = upgraded.expect("served").unwrap().unwrap();
    assert!(other.try_read().await.unwrap().is_none(), "alone");
    tokio::time::sleep(latchwork_tests::LEASE * 2).await;
    assert!(writer.is_valid(), "renewed");
    writer.unlock().await.unwrap();
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_downgrade_whose_answer_is_lost_is_asked_for_again() {
    let fixture = Fixture::of(READ);
    let (proxy, client) = fixture
        .proxied_with(|b| b.lease(latchwork_tests::LEASE * 4))
        .await;
    let lock = RwLock::new(&client, "a").unwrap();
    let writer = lock.write().await.unwrap();
    // The answer to the first request that names the share is lost with its connection.
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    proxy.on_chunk(move |direction, _, chunk| {
        if direction == Direction::ToServer && contains(chunk, b":1:1200:") {
            count.fetch_add(1, Ordering::Relaxed);
        } else if direction == Direction::ToClient
            && count
                .compare_exchange(1, 2, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            return Action::Cut;
        }
        Action::Pass
    });
    let reading = writer.downgrade().await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > 2, "asked again");
    assert!(reading.is_valid(), "by the first copy");
    let other = RwLock::new(&fixture.client().await, "a").unwrap();
    other.read().await.unwrap().unlock().await.unwrap();
    assert!(other.try_write().await.unwrap().is_none(), "it is held");
    reading.unlock().await.unwrap();
    other.write().await.unwrap().unlock().await.unwrap();
    fixture.check_leftovers();
}

/// Who is inside, as the guards say: readers count one, a writer counts `WRITER`.
const WRITER: u32 = 1 << 16;

struct Inside<'a>(&'a AtomicU32, u32);

impl<'a> Inside<'a> {
    fn reads(inside: &'a AtomicU32) -> Self {
        let before = inside.fetch_add(1, Ordering::SeqCst);
        assert!(before < WRITER, "somebody writes");
        Self(inside, 1)
    }

    fn writes(inside: &'a AtomicU32) -> Self {
        let before = inside.fetch_add(WRITER, Ordering::SeqCst);
        assert_eq!(before, 0, "somebody is in");
        Self(inside, WRITER)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}

/// What one task does, by the bits of `dice`; futures are dropped half-way now and then.
async fn go_up_and_down(lock: &RwLock, inside: &AtomicU32, dice: u32) {
    let some = Duration::from_micros(u64::from(dice >> 8 & 0xfff));
    match dice % 8 {
        0..3 => {
            let reading = lock.read().await.unwrap();
            let here = Inside::reads(inside);
            tokio::time::sleep(some / 4).await;
            drop(here);
            reading.unlock().await.unwrap();
        }
        3 => {
            let writing = lock.write().await.unwrap();
            let here = Inside::writes(inside);
            tokio::time::sleep(some / 8).await;
            drop(here);
            let reading = writing.downgrade().await.unwrap();
            let here = Inside::reads(inside);
            tokio::task::yield_now().await;
            drop(here);
            drop(reading);
        }
        4 => drop(tokio::time::timeout(some, lock.write()).await),
        5 => {
            let upgradable = lock.upgradable_read().await.unwrap();
            drop(tokio::time::timeout(some, upgradable.upgrade()).await);
        }
        _ => {
            let upgradable = lock.upgradable_read().await.unwrap();
            let here = Inside::reads(inside);
            tokio::task::yield_now().await;
            drop(here);
            let upgrading = upgradable.try_upgrade_for(some + Duration::from_millis(1));
            match upgrading.await {
                Ok(writing) => {
                    let here = Inside::writes(inside);
                    tokio::time::sleep(some / 8).await;
                    drop(here);
                    let upgradable = writing.downgrade_to_upgradable().await.unwrap();
                    let writing = upgradable.upgrade().await.unwrap();
                    let here = Inside::writes(inside);
                    tokio::task::yield_now().await;
                    drop(here);
                    writing.unlock().await.unwrap();
                }
                Err(busy) => {
                    let upgradable = busy.into_guard().unwrap();
                    let here = Inside::reads(inside);
                    tokio::task::yield_now().await;
                    drop(here);
                    let reading = upgradable.downgrade().await.unwrap();
                    let here = Inside::reads(inside);
                    tokio::task::yield_now().await;
                    drop(here);
                    reading.unlock().await.unwrap();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_and_downgrades_never_overlap_with_a_writer() {
    let fixture = Fixture::of(READ);
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for seed in 1..=6_u32 {
        let client = fixture.client_with(|b| b.lease(Duration::from_secs(5))).await;
        let (lock, inside) = (RwLock::new(&client, "a").unwrap(), Arc::clone(&inside));
        tasks.push(go(async move {
            let mut dice = seed.wrapping_mul(0x9e37_79b9);
            for _ in 0..100 {
                dice ^= dice << 13;
                dice ^= dice >> 17;
                dice ^= dice << 5;
                go_up_and_down(&lock, &inside, dice).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(inside.load(Ordering::SeqCst), 0, "all are out");
    let lock = RwLock::new(&fixture.client().await, "a").unwrap();
    lock.write().await.unwrap().unlock().await.unwrap();
    fixture.check_leftovers();
}
