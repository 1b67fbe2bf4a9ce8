//! Permits are acquired, tried for, waited for in order, and released.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use latchwork_semaphore::{ErrorKind, Semaphore};
use latchwork_testkit::ConnKind;
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, LEASE, eventually, go};

use super::{free, semaphore};

#[tokio::test]
async fn acquire_and_release() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 3);
    assert_eq!(semaphore.name().as_bytes(), b"a");
    assert_eq!(
        (
            free(&semaphore).await,
            semaphore.capacity().await.expect("an answer")
        ),
        (3, 3),
        "what the handle says, before anybody has used it"
    );
    let one = semaphore.acquire().await.expect("a permit");
    let two = semaphore.acquire_many(2).await.expect("two permits");
    assert_eq!((one.permits(), two.permits()), (1, 2), "as asked for");
    assert!(!one.is_lost() && one.valid_for() > LEASE / 2, "nearly the lease");
    assert_eq!(free(&semaphore).await, 0, "all are out");
    let info = semaphore.inspect().await.expect("an answer");
    let mut weights: Vec<u32> = info.holders.iter().map(|holder| holder.weight).collect();
    weights.sort_unstable();
    assert_eq!(weights, [1, 2], "{info:?}");
    assert!(info.holders.iter().all(|holder| holder.shared), "{info:?}");
    two.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 2, "two are back");
    one.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 3, "all are back");
    assert_eq!(client.live(), 0, "no slot is left");
    assert!(fixture.members().is_empty(), "{:?}", fixture.members());
    fixture.over().await;
}

#[tokio::test]
async fn all_permits_at_once_are_counted_like_others() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 3);
    let all = semaphore.acquire_many(3).await.expect("all");
    assert_eq!(free(&semaphore).await, 0, "none is left");
    assert!(
        semaphore.try_acquire().await.expect("an answer").is_none(),
        "busy"
    );
    all.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 3, "all are back");
    let single = Semaphore::new(&client, "b", 1).expect("a semaphore");
    let permit = single.acquire().await.expect("the one");
    assert!(single.try_acquire().await.expect("an answer").is_none(), "busy");
    permit.release().await.expect("released");
    assert!(single.try_acquire().await.expect("an answer").is_some(), "free");
}

#[tokio::test]
async fn trying_never_waits_and_bounded_waits_end() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let held = semaphore(&one, 2).acquire().await.expect("a permit");
    let other = semaphore(&two, 2);
    let soon = || Instant::now() + Duration::from_millis(30);
    let wait = Duration::from_millis(30);
    for (what, trying) in [
        ("try", other.try_acquire()),
        ("zero", other.try_acquire_for(Duration::ZERO)),
        ("past", other.try_acquire_until(Instant::now())),
        ("for", other.try_acquire_for(wait)),
        ("until", other.try_acquire_until(soon())),
    ] {
        let one = trying.await.expect(what).expect(what);
        assert_eq!(one.permits(), 1, "{what}: one is free");
        one.release().await.expect("released");
    }
    for (what, found) in [
        ("try", other.try_acquire_many(2).await),
        ("for", other.try_acquire_many_for(2, wait).await),
        ("until", other.try_acquire_many_until(2, soon()).await),
    ] {
        assert!(found.expect(what).is_none(), "{what}: two are not");
    }
    eventually("no place is left", || two.live() == 0 && fixture.waiters() == 0).await;
    held.release().await.expect("released");
    fixture.over().await;
}

#[tokio::test]
async fn requests_that_can_never_succeed_are_refused() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let error = Semaphore::new(&client, "a", 0).expect_err("no permits");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let semaphore = semaphore(&client, 3);
    for (n, kind) in [(0, ErrorKind::Invalid), (4, ErrorKind::TooLarge)] {
        for found in [
            semaphore.acquire_many(n).await.map(Some),
            semaphore.try_acquire_many(n).await,
        ] {
            let error = found.expect_err("never");
            assert_eq!(error.kind(), kind, "{n}: {error}");
            assert!(error.to_string().contains("`a`"), "it names it: {error}");
        }
    }
    let error = semaphore
        .resize(0)
        .await
        .expect_err("nothing could be done any more");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(client.live(), 0, "nothing is left of those");
    assert_eq!(
        fixture.server.dump_zset(&fixture.key()).expect("a dump"),
        [],
        "nothing was written"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h32_holders_never_exceed_the_permits() {
    const PERMITS: u32 = 5;
    let fixture = Fixture::of(SEMAPHORE);
    let inside = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let client = fixture.client().await;
        for task in 0..8 {
            let semaphore = semaphore(&client, PERMITS);
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            tasks.push(go(async move {
                for round in 0..25 {
                    let n = 1 + (task + round) % 3;
                    let permit = semaphore.acquire_many(n).await.expect("permits");
                    let now = inside.fetch_add(n, Ordering::SeqCst) + n;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(n, Ordering::SeqCst);
                    if round % 2 == 0 {
                        permit.release().await.expect("released");
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(
        most.load(Ordering::SeqCst),
        PERMITS,
        "all of them, and never more"
    );
    fixture.over().await;
}

#[tokio::test]
async fn a_large_request_is_not_overtaken() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let semaphore = semaphore(&one, 3);
    let first = semaphore.acquire().await.expect("a permit");
    let large = fixture.enqueue(semaphore.acquire_many(3)).await;
    let small = fixture.enqueue(super::semaphore(&two, 3).acquire_many(1)).await;
    assert_eq!(free(&semaphore).await, 2, "they are free");
    assert!(
        semaphore.try_acquire().await.expect("an answer").is_none(),
        "but meant for the large one"
    );
    first.release().await.expect("released");
    let large = large.await.expect("no panic");
    assert_eq!(large.permits(), 3, "all");
    assert!(!small.is_finished(), "it came later");
    large.release().await.expect("released");
    small.await.expect("no panic").release().await.expect("released");
    fixture.over().await;
}

#[tokio::test]
async fn a_large_request_that_leaves_lets_smaller_ones_proceed() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let semaphore = semaphore(&one, 3);
    let first = semaphore.acquire().await.expect("a permit");
    let large = fixture.enqueue(semaphore.acquire_many(3)).await;
    let other = super::semaphore(&two, 3);
    let small = [
        fixture.enqueue(other.acquire_many(1)).await,
        fixture.enqueue(other.acquire_many(1)).await,
    ];
    let last = fixture.enqueue(other.acquire_many(1)).await;
    large.abort();
    let mut permits = Vec::new();
    for task in small {
        permits.push(task.await.expect("no panic"));
    }
    assert!(!last.is_finished(), "there are but three");
    drop(first);
    drop(last.await.expect("no panic"));
    drop(permits);
    fixture.over().await;
}

#[tokio::test]
async fn an_uncontended_acquire_and_release_are_two_requests() {
    let fixture = Fixture::of(SEMAPHORE);
    let (proxy, client) = fixture.counted().await;
    let semaphore = semaphore(&client, 3);
    for n in 1..=3 {
        for _ in 0..10 {
            let permit = semaphore.acquire_many(n).await.expect("permits");
            permit.release().await.expect("released");
        }
    }
    assert_eq!(
        proxy.requests_of(ConnKind::Commands),
        60,
        "one to acquire, one to release"
    );
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
    proxy.reset_counts();
    let mut all = semaphore.drain().await.expect("an answer").expect("all");
    let one = all.split(1).await.expect("an answer").expect("enough");
    all.merge(one).await.expect("merged");
    assert_eq!(
        proxy.requests_of(ConnKind::Commands),
        3,
        "drain, split, merge: one each"
    );
}

#[tokio::test]
async fn inspection_lists_all_holders_page_by_page() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client_with(|b| b.lease(latchwork_tests::MINUTE)).await;
    let semaphore = Semaphore::new(&client, "a", 1000).unwrap();
    let mut permits = Vec::new();
    for weight in 1..=130 {
        permits.push(semaphore.acquire_many(weight % 5 + 1).await.unwrap());
    }
    let mut weights = Vec::new();
    for first in [0, 100, 200] {
        let page = semaphore.inspect_from(first).await.unwrap();
        assert_eq!(page.holds, 130, "listed or not");
        weights.push(page.holders.iter().map(|holder| holder.weight).sum::<u32>());
    }
    let all = permits
        .iter()
        .map(latchwork_semaphore::SemaphorePermit::permits)
        .sum::<u32>();
    assert_eq!(weights.iter().sum::<u32>(), all, "{weights:?}");
    assert!(weights[0] > 0 && weights[1] > 0 && weights[2] == 0, "{weights:?}");
}

#[tokio::test]
async fn the_largest_number_of_permits_can_be_had_at_once() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let most = Semaphore::new(&client, "a", u32::MAX).expect("a semaphore");
    let permits = most.acquire_many(u32::MAX - 1).await.expect("permits");
    assert_eq!(most.available_permits().await.expect("an answer"), 1, "exact");
    let last = most.try_acquire().await.expect("an answer").expect("one is left");
    assert!(
        most.try_acquire().await.expect("an answer").is_none(),
        "none is left"
    );
    permits.release().await.expect("released");
    last.release().await.expect("released");
    assert_eq!(
        most.available_permits().await.expect("an answer"),
        u32::MAX,
        "all are back"
    );
}
