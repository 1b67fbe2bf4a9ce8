//! The semaphore, method by method, against a real server.
#![allow(clippy::significant_drop_tightening, reason = "permits are the subject")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use latchwork_semaphore::{Client, ErrorKind, Loss, Renew, Semaphore, SemaphorePermit};
use latchwork_testkit::{ConnKind, TestServer};
use latchwork_tests::{LEASE, Place, eventually, go};

fn semaphore(client: &Client, permits: u32) -> Semaphore {
    Semaphore::new(client, "a", permits).expect("a semaphore")
}

/// What is in the record, without what is always there: the token that makes it ours, and the capacity.
fn members(place: &Place<'_>) -> Vec<(String, String)> {
    let dump = place.server.dump_zset(&key(place)).expect("a dump");
    dump.into_iter()
        .filter(|(member, _)| member != "t1" && member != "c")
        .collect()
}

fn key(place: &Place<'_>) -> String {
    format!("{}:semaphore:{{a}}", place.prefix)
}

fn waiters(place: &Place<'_>) -> usize {
    members(place)
        .iter()
        .filter(|(_, score)| score.starts_with('-'))
        .count()
}

/// Nothing of anybody is left, not even a count (tombstones may be: a grant can overtake the reply that says "queued"); every
/// key has a TTL.
async fn settled(place: &Place<'_>) {
    eventually("nothing is left", || {
        members(place)
            .iter()
            .all(|(_, score)| score.parse::<f64>().is_ok_and(|score| score >= 1e14))
    })
    .await;
    place.check_leftovers();
}

async fn free(semaphore: &Semaphore) -> u32 {
    semaphore.available_permits().await.expect("an answer")
}

#[tokio::test]
async fn acquire_and_release() {
    let place = Place::shared();
    let client = place.client().await;
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
    assert!(members(&place).is_empty(), "{:?}", members(&place));
    settled(&place).await;
}

#[tokio::test]
async fn all_permits_at_once_are_counted_like_others() {
    let place = Place::shared();
    let client = place.client().await;
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
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
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
    eventually("no place is left", || two.live() == 0 && waiters(&place) == 0).await;
    held.release().await.expect("released");
    settled(&place).await;
}

#[tokio::test]
async fn what_can_never_be_is_refused() {
    let place = Place::shared();
    let client = place.client().await;
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
        place.server.dump_zset(&key(&place)).expect("a dump"),
        [],
        "nothing was written"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h32_never_more_are_inside_than_there_are_permits() {
    const PERMITS: u32 = 5;
    let place = Place::shared();
    let inside = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let client = place.client().await;
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
    settled(&place).await;
}

/// Starts an acquire, and comes back when it waits.
async fn queue(place: &Place<'_>, semaphore: &Semaphore, n: u32) -> tokio::task::JoinHandle<SemaphorePermit> {
    let before = waiters(place);
    let waiting = semaphore.acquire_many(n);
    let task = go(async move { waiting.await.expect("permits") });
    eventually("it waits", || waiters(place) == before + 1).await;
    task
}

#[tokio::test]
async fn a_large_request_is_not_overtaken() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let semaphore = semaphore(&one, 3);
    let first = semaphore.acquire().await.expect("a permit");
    let large = queue(&place, &semaphore, 3).await;
    let small = queue(&place, &self::semaphore(&two, 3), 1).await;
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
    settled(&place).await;
}

#[tokio::test]
async fn a_large_request_that_leaves_lets_the_small_ones_behind_go_on() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let semaphore = semaphore(&one, 3);
    let first = semaphore.acquire().await.expect("a permit");
    let large = queue(&place, &semaphore, 3).await;
    let other = self::semaphore(&two, 3);
    let small = [queue(&place, &other, 1).await, queue(&place, &other, 1).await];
    let last = queue(&place, &other, 1).await;
    large.abort();
    let mut permits = Vec::new();
    for task in small {
        permits.push(task.await.expect("no panic"));
    }
    assert!(!last.is_finished(), "there are but three");
    drop(first);
    drop(last.await.expect("no panic"));
    drop(permits);
    settled(&place).await;
}

#[tokio::test]
async fn h33_permits_of_a_dead_holder_go_back_one_by_one() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = semaphore(&client, 3);
    semaphore.acquire_many(2).await.expect("permits").forget();
    assert_eq!(client.live(), 0, "nobody renews them");
    let kept = semaphore.acquire().await.expect("the third");
    assert_eq!(free(&semaphore).await, 0, "they are still out");
    let all_but_one = semaphore.acquire_many(2).await.expect("when their lease is over");
    assert!(!kept.is_lost(), "the other one is renewed");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!kept.is_lost() && !all_but_one.is_lost(), "all are");
    assert_eq!(free(&semaphore).await, 0, "none too many");
    let manual = Semaphore::builder(&client, "b", 3)
        .renew(Renew::Manual)
        .build()
        .expect("a semaphore");
    let ends = manual.acquire_many(3).await.expect("permits");
    assert_eq!(ends.lost().await, Loss::Expired, "nobody renews");
    tokio::time::sleep(LEASE).await;
    assert_eq!(free(&manual).await, 3, "seen before anybody settles");
    let error = ends.release().await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    drop((kept, all_but_one));
    settled(&place).await;
}

#[tokio::test]
async fn h32_a_release_of_a_lost_permit_gives_nothing_back() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = semaphore(&client, 2);
    let lost = semaphore.acquire_many(2).await.expect("permits");
    assert!(
        semaphore.force_release().await.expect("an answer"),
        "somebody had some"
    );
    assert_eq!(lost.lost().await, Loss::Forced, "told");
    let next = semaphore.acquire_many(2).await.expect("free");
    let error = lost.release().await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    eventually("its end is answered", || client.live() == 1).await;
    assert_eq!(free(&semaphore).await, 0, "the present holder has them all");
    assert!(!next.is_lost(), "and keeps them");
    drop(next);
    settled(&place).await;
    assert!(
        !semaphore.force_release().await.expect("an answer"),
        "nobody has any"
    );
}

#[tokio::test]
async fn another_number_of_permits_is_a_mismatch_until_resize() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let (three, five) = (semaphore(&one, 3), semaphore(&two, 5));
    let permit = three.acquire().await.expect("a permit");
    for found in [five.acquire().await.map(Some), five.try_acquire().await] {
        let error = found.expect_err("another number");
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        let text = error.to_string();
        assert!(
            text.contains('3') && text.contains('5') && text.contains("resize"),
            "{text}"
        );
    }
    permit.release().await.expect("released");
    let error = five.acquire().await.expect_err("and so when nobody holds");
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    assert_eq!(five.capacity().await.expect("an answer"), 3, "that of the first");
    assert_eq!(two.live(), 0, "nothing is left of those");
    five.resize(4).await.expect("resized");
    assert_eq!(three.capacity().await.expect("an answer"), 4, "for everybody");
    let most = three.acquire_many(4).await.expect("more than the handle says");
    assert!(five.try_acquire().await.expect("no mismatch").is_none(), "busy");
    most.release().await.expect("released");
    let error = five.acquire_many(5).await.expect_err("less than the handle says");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    settled(&place).await;
}

#[tokio::test]
async fn a_resize_before_the_first_use_counts() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = semaphore(&client, 3);
    semaphore.resize(7).await.expect("resized");
    semaphore.resize(7).await.expect("once more");
    assert_eq!(semaphore.capacity().await.expect("an answer"), 7);
    drop(semaphore.acquire_many(7).await.expect("all"));
    settled(&place).await;
}

#[tokio::test]
async fn a_smaller_semaphore_lets_its_holders_finish() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = semaphore(&client, 4);
    let first = semaphore.acquire_many(2).await.expect("permits");
    let second = semaphore.acquire_many(2).await.expect("permits");
    semaphore.resize(1).await.expect("resized");
    assert_eq!(free(&semaphore).await, 0, "not less than none");
    let waiter = queue(&place, &semaphore, 1).await;
    first.release().await.expect("still its own");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!second.is_lost(), "nobody loses a permit");
    assert!(!waiter.is_finished(), "two are still out");
    second.release().await.expect("still its own");
    drop(waiter.await.expect("no panic"));
    settled(&place).await;
}

#[tokio::test]
async fn who_waits_for_more_than_there_is_now_is_told_and_blocks_nobody() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let semaphore = semaphore(&one, 4);
    let first = semaphore.acquire().await.expect("a permit");
    let large = go(semaphore.acquire_many(4));
    eventually("it waits", || waiters(&place) == 1).await;
    let small = queue(&place, &self::semaphore(&two, 4), 1).await;
    semaphore.resize(2).await.expect("resized");
    let small = small.await.expect("no panic");
    let told = tokio::time::timeout(Duration::from_secs(1), large).await;
    let error = told.expect("at once").expect("no panic").expect_err("never");
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    drop((first, small));
    settled(&place).await;
}

#[tokio::test]
async fn drain_takes_what_is_free_in_one_step() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let semaphore = semaphore(&one, 5);
    let held = semaphore.acquire_many(2).await.expect("permits");
    let other = self::semaphore(&two, 5);
    let rest = other.drain().await.expect("an answer").expect("three");
    assert_eq!(rest.permits(), 3, "what was left");
    assert!(
        other.drain().await.expect("an answer").is_none(),
        "nothing is left"
    );
    assert_eq!(two.live(), 1, "no slot of the one in vain");
    let weights: u32 = semaphore
        .inspect()
        .await
        .expect("an answer")
        .holders
        .iter()
        .map(|holder| holder.weight)
        .sum();
    assert_eq!(weights, 5, "inspect knows how many");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!rest.is_lost(), "renewed like others");
    rest.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 3, "all three are back");
    let waiter = queue(&place, &semaphore, 4).await;
    assert!(
        other.drain().await.expect("an answer").is_none(),
        "somebody waits for them"
    );
    held.release().await.expect("released");
    drop(waiter.await.expect("no panic"));
    settled(&place).await;
}

#[tokio::test]
async fn h34_permits_split_and_merge() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = semaphore(&client, 6);
    let mut five = semaphore.acquire_many(5).await.expect("permits");
    let watched = five.hold();
    let mut two = five.split(2).await.expect("an answer").expect("enough");
    assert_eq!((five.permits(), two.permits()), (3, 2), "five in all");
    assert_eq!(free(&semaphore).await, 1, "nothing came back");
    assert!(
        five.split(3).await.expect("an answer").is_none(),
        "none would be left"
    );
    let error = five.split(0).await.expect_err("nothing");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    tokio::time::sleep(LEASE * 2).await;
    assert!(
        !five.is_lost() && !two.is_lost() && !watched.is_lost(),
        "both are renewed"
    );
    let info = semaphore.inspect().await.expect("an answer");
    let mut weights: Vec<u32> = info.holders.iter().map(|holder| holder.weight).collect();
    weights.sort_unstable();
    assert_eq!(weights, [2, 3], "{info:?}");
    let one = two.split(1).await.expect("an answer").expect("enough");
    two.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 2, "its one");
    five.merge(one).await.expect("merged");
    assert_eq!(five.permits(), 4, "three and one");
    assert_eq!(client.live(), 1, "one hold");
    let more = semaphore.drain().await.expect("an answer").expect("two");
    five.merge(more).await.expect("merged");
    assert_eq!((five.permits(), free(&semaphore).await), (6, 0), "all");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!five.is_lost(), "renewed");
    five.release().await.expect("released");
    assert_eq!(free(&semaphore).await, 6, "all are back");
    settled(&place).await;
}

#[tokio::test]
async fn a_part_outlives_the_whole_and_a_dead_part_returns_alone() {
    let place = Place::shared();
    let client = place.client().await;
    let semaphore = semaphore(&client, 4);
    let mut whole = semaphore.acquire_many(4).await.expect("permits");
    let part = whole.split(3).await.expect("an answer").expect("enough");
    let dead = {
        let mut part = part;
        let dead = part.split(1).await.expect("an answer").expect("enough");
        whole.release().await.expect("released");
        assert_eq!(free(&semaphore).await, 1, "the rest of the whole");
        dead.forget();
        part
    };
    tokio::time::sleep(LEASE * 2).await;
    assert!(!dead.is_lost(), "the other part is renewed");
    assert_eq!(free(&semaphore).await, 2, "and the forgotten one is back");
    drop(dead);
    settled(&place).await;
}

#[tokio::test]
async fn what_cannot_be_merged_is_given_back() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let here = semaphore(&one, 4);
    let mut permit = here.acquire().await.expect("a permit");
    let foreign = semaphore(&two, 4).acquire().await.expect("a permit");
    let error = permit.merge(foreign).await.expect_err("another client's");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let elsewhere = Semaphore::new(&one, "b", 4).expect("a semaphore");
    let other = elsewhere.acquire().await.expect("a permit");
    let error = permit.merge(other).await.expect_err("another name's");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    eventually("both went back", || one.live() == 1 && two.live() == 0).await;
    let lost = here.acquire().await.expect("a permit");
    here.force_release().await.expect("forced");
    assert_eq!(lost.lost().await, Loss::Forced, "told");
    let mut fresh = here.acquire().await.expect("a permit");
    let error = fresh.merge(lost).await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    assert_eq!(fresh.permits(), 1, "what it was");
    assert!(!fresh.is_lost(), "and its own");
    let error = permit.split(1).await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    drop((permit, fresh));
    settled(&place).await;
}

#[tokio::test]
async fn an_uncontended_acquire_and_release_are_two_requests() {
    let place = Place::shared();
    let (proxy, client) = place.counted().await;
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
async fn a_resize_wakes_exactly_those_who_can_go_on() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let (_holds, holder) = place.counted().await;
    let first = semaphore(&holder, 1).acquire().await.expect("a permit");
    let mut waiting = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(place.counted().await);
    }
    for (_, client) in &clients {
        waiting.push(queue(&place, &semaphore(client, 1), 1).await);
    }
    server.reset_stats().expect("an answer");
    semaphore(&holder, 1).resize(4).await.expect("resized");
    eventually("three go on", || {
        waiting.iter().filter(|task| task.is_finished()).count() == 3
    })
    .await;
    let messages = server.command_calls().expect("an answer")["publish"];
    assert_eq!(messages, 3, "a message each, and none to the others");
    assert_eq!(waiters(&place), 2, "they wait on");
    let mut done: Vec<SemaphorePermit> = Vec::new();
    for task in waiting.drain(..3) {
        done.push(task.await.expect("in their order"));
    }
    drop((first, done));
    for task in waiting {
        drop(task.await.expect("no panic"));
    }
    settled(&place).await;
}
