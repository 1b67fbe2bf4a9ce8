//! Each call of a latch does what its documentation says.

use std::time::{Duration, Instant};

use latchwork_latch::{CountdownLatch, ErrorKind};
use latchwork_tests::{LEASE, go, soon};

use super::common::{expect, latch, life, opened, passed, settled, shared, waiting};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn count_down_and_pass() {
    let fixture = shared();
    let client = fixture.client().await;
    let latch = latch(&client, 3);
    assert_eq!(latch.name().as_bytes(), b"a");
    assert!(!latch.try_wait().await.expect("an answer"), "not yet");
    assert_eq!(latch.count().await.expect("an answer"), 3);
    let waiters: Vec<_> = (0..3).map(|_| waiting(&latch)).collect();
    fixture.queued(3).await;
    assert_eq!(latch.count_down().await.expect("counted"), 2);
    assert_eq!(latch.count_down().await.expect("counted"), 1);
    assert!(!latch.try_wait().await.expect("an answer"), "not yet");
    assert_eq!(latch.count_down().await.expect("counted"), 0);
    for waiter in waiters {
        passed(waiter).await;
    }
    // It stays: late comers pass.
    soon("a pass", latch.wait()).await.expect("it passes");
    assert!(latch.try_wait().await.expect("an answer"), "for ever");
    assert_eq!(latch.count().await.expect("an answer"), 0);
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn h64_below_zero_it_stays_at_zero() {
    let fixture = shared();
    let client = fixture.client().await;
    let latch = latch(&client, 3);
    assert_eq!(latch.count_down_by(2).await.expect("counted"), 1);
    assert_eq!(latch.count_down_by(7).await.expect("counted"), 0);
    assert_eq!(latch.count_down().await.expect("an answer"), 0);
    assert_eq!(
        latch.count_down_once("x").await.expect("an answer"),
        0,
        "and stays there"
    );
    assert_eq!(latch.inspect().await.expect("an answer").initial_count, 3);
    let error = expect(latch.count_down_by(0).await, ErrorKind::Invalid);
    assert!(error.to_string().contains("at least 1"), "{error}");
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn a_latch_of_zero_lets_everybody_pass() {
    let fixture = shared();
    let client = fixture.client().await;
    let empty = latch(&client, 0);
    soon("a pass", empty.wait()).await.expect("it passes");
    assert!(opened(&client).try_wait().await.expect("an answer"), "made");
    let whole = CountdownLatch::new(&client, "b", u32::MAX).expect("a latch");
    assert_eq!(whole.count_down().await.expect("counted"), u32::MAX - 1);
    assert_eq!(whole.inspect().await.expect("an answer").initial_count, u32::MAX);
    assert_eq!(whole.count_down_by(u32::MAX).await.expect("counted"), 0);
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn an_id_counts_once_whoever_calls() {
    let fixture = shared();
    let [client, other] = [fixture.client().await, fixture.client().await];
    let (one, two) = (latch(&client, 3), latch(&other, 3));
    assert_eq!(one.count_down_once("shard-1").await.expect("counted"), 2);
    assert_eq!(two.count_down_once("shard-1").await.expect("an answer"), 2);
    assert_eq!(one.count_down_once(b"shard-1").await.expect("an answer"), 2);
    // Any bytes, and as many as a name.
    let long = [0_u8; 512];
    assert_eq!(two.count_down_once(long).await.expect("counted"), 1);
    assert_eq!(one.count_down_once(long).await.expect("an answer"), 1);
    for bad in [&[][..], &[b'x'; 513]] {
        let error = expect(one.count_down_once(bad).await, ErrorKind::Invalid);
        assert!(error.to_string().contains("1 to 512"), "{error}");
    }
    // What looks like a member of the record is an id like any other.
    assert_eq!(two.count_down_once("t1").await.expect("counted"), 0);
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test]
async fn ids_are_remembered_until_zero_or_a_reset() {
    let fixture = shared();
    let client = fixture.client().await;
    let latch = latch(&client, 3);
    let ids = || {
        let all = fixture.scores();
        all.iter().filter(|(member, _)| member.starts_with('#')).count()
    };
    for id in ["x", "y", "x"] {
        latch.count_down_once(id).await.expect("an answer");
    }
    assert_eq!(ids(), 2, "those that counted");
    latch.reset(2).await.expect("reset");
    assert_eq!(ids(), 0, "forgotten");
    for (id, left) in [("x", 1), ("x", 1), ("y", 0), ("x", 0), ("z", 0)] {
        let counted = latch.count_down_once(id).await.expect("an answer");
        assert_eq!(counted, left, "it counts anew, once: {id}");
    }
    assert_eq!(ids(), 0, "at zero no id counts");
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn another_count_is_a_mismatch() {
    let fixture = shared();
    let client = fixture.client().await;
    assert_eq!(latch(&client, 3).count_down().await.expect("counted"), 2);
    let other = latch(&client, 4);
    let error = expect(other.count_down().await, ErrorKind::Mismatch);
    let text = error.to_string();
    assert!(text.contains('3') && text.contains('4'), "{text}");
    expect(other.count().await, ErrorKind::Mismatch);
    expect(other.wait().await, ErrorKind::Mismatch);
    expect(other.try_wait().await, ErrorKind::Mismatch);
    expect(other.count_down_and_wait().await, ErrorKind::Mismatch);
    assert_eq!(
        opened(&client).count().await.expect("an answer"),
        2,
        "nothing was counted"
    );
    assert_eq!(latch(&client, 3).count_down_by(2).await.expect("counted"), 0);
    expect(other.wait().await, ErrorKind::Mismatch);
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn a_latch_that_does_not_exist_cannot_be_used() {
    let fixture = shared();
    let client = fixture.client().await;
    let there = opened(&client);
    for result in [
        there.count().await,
        there.count_down().await,
        there.count_down_once("x").await,
    ] {
        expect(result, ErrorKind::NoSuchLatch);
    }
    expect(there.wait().await, ErrorKind::NoSuchLatch);
    expect(there.try_wait().await, ErrorKind::NoSuchLatch);
    expect(there.try_wait_for(LEASE).await, ErrorKind::NoSuchLatch);
    expect(there.count_down_and_wait().await, ErrorKind::NoSuchLatch);
    expect(there.reset(3).await, ErrorKind::NoSuchLatch);
    expect(there.inspect().await, ErrorKind::NoSuchLatch);
    expect(latch(&client, 3).inspect().await, ErrorKind::NoSuchLatch);
    assert_eq!(fixture.scores(), [], "and none of that made it");
    assert_eq!(latch(&client, 3).count().await.expect("made"), 3);
    assert_eq!(there.count_down().await.expect("counted"), 2);
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_can_wait_for_the_latch_to_be_made() {
    let fixture = shared();
    let [client, other] = [fixture.client().await, fixture.client().await];
    let opener = CountdownLatch::opener(&client, "a").wait_for_creation(true);
    let there = opener.build().expect("a latch");
    let waiters: Vec<_> = (0..2).map(|_| waiting(&there)).collect();
    fixture.queued(2).await;
    assert!(!there.try_wait().await.expect("an answer"), "not at zero");
    assert!(
        !there.try_wait_for(LEASE / 10).await.expect("an answer"),
        "not at zero"
    );
    expect(there.count().await, ErrorKind::NoSuchLatch);
    expect(there.count_down().await, ErrorKind::NoSuchLatch);
    expect(opened(&other).wait().await, ErrorKind::NoSuchLatch);
    assert!(life(&fixture) > DAY / 2, "who waits has a record with a TTL");
    let made = latch(&other, 2);
    assert_eq!(made.count_down().await.expect("counted"), 1);
    // They wait for zero now, and a new one with them.
    let third = waiting(&there);
    fixture.queued(3).await;
    assert_eq!(made.count_down().await.expect("counted"), 0);
    for waiter in waiters.into_iter().chain([third]) {
        passed(waiter).await;
    }
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test]
async fn a_bounded_wait_ends() {
    let fixture = shared();
    let client = fixture.client().await;
    let latch = latch(&client, 1);
    for vain in [
        latch.try_wait_for(LEASE / 10),
        latch.try_wait_for(Duration::ZERO),
        latch.try_wait_until(Instant::now() + LEASE / 10),
        latch.try_wait_until(Instant::now()),
    ] {
        assert!(!vain.await.expect("an answer"), "in vain");
    }
    settled(&fixture, &[&client]).await;
    let waiter = go(latch.try_wait_for(Duration::MAX));
    fixture.queued(1).await;
    latch.count_down().await.expect("counted");
    assert!(
        soon("a pass", waiter)
            .await
            .expect("no panic")
            .expect("an answer")
    );
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn count_down_and_wait_is_both() {
    let fixture = shared();
    let [client, other] = [fixture.client().await, fixture.client().await];
    let (one, two) = (latch(&client, 2), latch(&other, 2));
    let first = go(async move { one.count_down_and_wait().await });
    fixture.queued(1).await;
    assert_eq!(two.count().await.expect("an answer"), 1, "it counted, and waits");
    soon("a pass", two.count_down_and_wait()).await.expect("the last");
    passed(first).await;
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test]
async fn every_record_has_a_ttl() {
    let fixture = shared();
    let client = fixture.client().await;
    let keep = Duration::from_secs(60);
    let almost_a_day = Duration::from_secs(24 * 60 * 60 - 60);
    let builder = CountdownLatch::builder(&client, "a", 2).keep(keep);
    let latch = builder.build().expect("a latch");
    assert!(!latch.try_wait().await.expect("an answer"), "made");
    assert!(life(&fixture) > almost_a_day, "a day from its last use");
    let cut = |ms: &str| {
        fixture
            .server
            .admin(&["PEXPIRE", &fixture.key(), ms])
            .expect("set")
    };
    cut("50000");
    latch.count_down().await.expect("counted");
    assert!(life(&fixture) > almost_a_day, "a day again");
    cut("50000");
    let waiter = waiting(&latch);
    fixture.queued(1).await;
    assert!(life(&fixture) > almost_a_day, "a wait is a use");
    cut("50000");
    // So are the ticks of who waits, every third of the lease.
    latchwork_tests::eventually("a tick", || life(&fixture) > almost_a_day).await;
    latch.count_down().await.expect("counted");
    passed(waiter).await;
    let left = life(&fixture);
    assert!(left > keep / 2 && left <= keep, "{left:?}: as it was asked for");
    cut("20000");
    assert_eq!(latch.count_down().await.expect("an answer"), 0);
    soon("a pass", latch.wait()).await.expect("it passes");
    assert!(life(&fixture) <= keep / 3, "and not longer for late comers");
    latch.reset(1).await.expect("reset");
    assert!(life(&fixture) > almost_a_day, "a new one");
    for bad in [Duration::from_millis(999), Duration::from_secs(31 * 86_400)] {
        let builder = CountdownLatch::builder(&client, "a", 2).keep(bad);
        expect(builder.build(), ErrorKind::Invalid);
    }
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_shows_the_waiters() {
    let fixture = shared();
    let [client, other] = [fixture.client().await, fixture.client().await];
    let (one, two) = (latch(&client, 5), latch(&other, 5));
    one.count_down_by(2).await.expect("counted");
    let waiters: Vec<_> = [&one, &one, &one, &two].map(waiting).into();
    fixture.queued(4).await;
    let info = one.inspect().await.expect("an answer");
    assert_eq!((info.count, info.initial_count, info.generation), (3, 5, 1));
    assert_eq!(
        (info.waiting, info.clients.len()),
        (4, 2),
        "four tasks of two clients"
    );
    assert!(
        info.clients.iter().all(|client| client.label.is_some()),
        "labels can be read: {info:?}"
    );
    two.reset(7).await.expect("reset");
    for waiter in waiters {
        expect(soon("a reset", waiter).await.expect("no panic"), ErrorKind::Reset);
    }
    let info = one.inspect().await.expect("an answer");
    assert_eq!((info.count, info.initial_count, info.generation), (7, 7, 2));
    assert_eq!((info.waiting, info.clients.len()), (0, 0));
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test]
async fn a_closed_client_returns_closed() {
    let fixture = shared();
    let client = fixture.client().await;
    let latch = latch(&client, 1);
    let waiter = waiting(&latch);
    fixture.queued(1).await;
    soon("the end", client.close()).await;
    expect(
        soon("an answer", waiter).await.expect("no panic"),
        ErrorKind::Closed,
    );
    expect(latch.count_down().await, ErrorKind::Closed);
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn a_finished_latch_is_remembered_as_long_as_a_copy_of_a_count_down_may_come() {
    for (patience, most) in [(10, 11), (20, 21)] {
        let fixture = shared();
        let patience = Duration::from_secs(patience);
        let client = fixture.client_with(|b| b.unavailable_after(patience)).await;
        let builder = CountdownLatch::builder(&client, "a", 1).keep(Duration::from_secs(1));
        let latch = builder.build().expect("a latch");
        assert_eq!(latch.count_down().await.expect("counted"), 0);
        let left = life(&fixture);
        assert!(
            left > patience && left <= Duration::from_secs(most + 1),
            "{left:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_shows_a_hundred_clients_at_most_and_each_once() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 1);
    let waiter = waiting(&made);
    fixture.queued(1).await;
    let scores = fixture.scores();
    let own = scores.iter().find(|(_, score)| *score < 0.0);
    let (own, score) = own.expect("its place");
    // Beside it, places of clients that are nowhere: two of each.
    let (id, rest) = own.split_at(22);
    let key = fixture.key();
    let (score, mut count) = (score.to_string(), 1);
    for clients in [1_u32, 99, 100, 150] {
        while count < clients {
            let other = format!("{count:0>width$}", width = id.len());
            for beside in ["", "1"] {
                let member = rest.replacen(':', &format!(":{beside}"), 1);
                let place = ["ZADD", &key, &score, &format!("{other}{member}")];
                fixture.server.admin(&place).expect("an answer");
            }
            count += 1;
        }
        let info = made.inspect().await.expect("an answer");
        assert_eq!(info.waiting, u64::from(clients) * 2 - 1, "all of them");
        let shown = usize::try_from(clients.min(100)).expect("small");
        assert_eq!(info.clients.len(), shown, "of {clients}");
    }
    made.count_down().await.expect("counted");
    passed(waiter).await;
    settled(&fixture, &[&client]).await;
}
