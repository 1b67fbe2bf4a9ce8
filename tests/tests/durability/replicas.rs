//! A grant waits for replicas, and is released if they do not have it in time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use latchwork_core::{Durability, ErrorKind, Reached};
use latchwork_testkit::{
    Action, Direction, TestCluster, TestSentinel, TestServer, Version, contains, fetch_version, slot_of,
};
use latchwork_tests::subject::{self, Guard};
use latchwork_tests::{Fixture, MINUTE, eventually, locked, locking, mutex, soon, unlocked};

use super::{ENOUGH, Group, SHORT, durable, expect, replicas};

/// How many of these grants are where, by the guard.
fn reached(guard: &Guard) -> Reached {
    guard.hold().reached()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replicas_have_the_hold_when_its_guard_is_handed_out() {
    let group = Group::joined(2).await;
    for subject in subject::all() {
        let fixture = Fixture::on(&group.primary).with(subject).named(subject.name());
        let (client, other) = (
            durable(&fixture, replicas(2, ENOUGH)).await,
            fixture.patient().await,
        );
        let check = |how: &str, guard: &Guard| {
            let what = format!("{}: {how}", subject.name());
            assert_eq!(reached(guard), Reached::Replicas(2), "{what}");
            let held = fixture.holders();
            for replica in &group.replicas {
                let there = replica.dump_zset(&fixture.key()).expect("an answer");
                let has = |id: &String| there.iter().any(|(member, _)| member == id);
                assert!(held.iter().all(has), "{what}: {held:?} in {there:?}");
            }
        };
        let handle = fixture.handle(&client);
        let held = soon("an acquire", handle.acquire()).await.expect("a hold");
        check("acquired", &held);
        fixture.released(held).await;
        let held = soon("a try", handle.try_acquire()).await.expect("an answer");
        let held = held.expect("it is free");
        check("tried", &held);
        fixture.released(held).await;
        let first = fixture.all(&other).await;
        assert_eq!(reached(&first), Reached::Primary, "it did not ask for more");
        let waiter = fixture.queue(&client).await;
        fixture.released(first).await;
        let held = fixture.granted(waiter).await;
        check("handed over", &held);
        fixture.released(held).await;
        fixture.over().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_does_not_get_there_is_released() {
    let group = Group::joined(2).await;
    group.freeze();
    for subject in subject::all() {
        let fixture = Fixture::on(&group.primary).with(subject).named(subject.name());
        let (client, other) = (
            durable(&fixture, replicas(2, SHORT)).await,
            fixture.patient().await,
        );
        let handle = fixture.handle(&client);
        let texts = ["of 2 replicas within 50ms", "released"];
        let gone = || assert!(!fixture.is_held(), "{}: nothing is left", subject.name());
        expect(
            soon("an acquire", handle.acquire()).await,
            ErrorKind::NotDurable,
            &texts,
        );
        gone();
        expect(
            soon("a try", handle.try_acquire()).await,
            ErrorKind::NotDurable,
            &texts,
        );
        gone();
        let over = Instant::now() + MINUTE;
        let bounded = soon("a wait", handle.try_acquire_until(over)).await;
        expect(bounded, ErrorKind::NotDurable, &texts);
        gone();
        let first = fixture.all(&other).await;
        let (one, two) = (fixture.queue(&client).await, fixture.queue(&other).await);
        fixture.released(first).await;
        let one = soon("a refusal", one).await.expect("no panic");
        expect(one, ErrorKind::NotDurable, &texts);
        let two = fixture.granted(two).await;
        fixture.released(two).await;
        fixture.over().await;
    }
    // With more time, the other one has it, and the error says so.
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(2, Duration::from_secs(2))).await;
    let refused = soon("a refusal", mutex(&client, "a").lock()).await;
    expect(refused, ErrorKind::NotDurable, &["reached 1 of 2 replicas"]);
    group.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_is_handed_out_as_soon_as_enough_replicas_have_it() {
    let group = Group::joined(2).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(2, ENOUGH)).await;
    let one = durable(&fixture, replicas(1, SHORT * 100)).await;
    let first = locked(&one, "a").await;
    assert_eq!(
        first.reached(),
        Reached::Replicas(1),
        "the other one stands still"
    );
    let waiter = locking(&client, "a");
    fixture.queued(1).await;
    unlocked(first).await;
    // It is a full hold, and its task waits for the server, which waits for the replica.
    eventually("the grant is confirmed", || {
        let ends = fixture.scores();
        ends.iter().any(|(_, end)| *end > 0.0 && end.fract() == 0.0)
    })
    .await;
    eventually("the server waits", || blocked(&group) > 0).await;
    assert!(!waiter.is_finished(), "the replica does not have it");
    group.thaw();
    let guard = soon("a grant", waiter).await.expect("no panic").expect("a hold");
    assert_eq!(guard.reached(), Reached::Replicas(2));
    unlocked(guard).await;
}

/// How many connections the primary does not answer, as they wait.
fn blocked(group: &Group) -> u32 {
    let text = group
        .primary
        .info("clients", "blocked_clients")
        .expect("an answer");
    text.trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_handle_says_how_far_its_grants_have_to_get() {
    let group = Group::joined(1).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, SHORT)).await;
    let fast = latchwork_mutex::Mutex::builder(&client, "a").durability(Durability::Primary);
    let fast = fast.build().expect("a mutex").lock().await.expect("at once");
    assert_eq!(fast.reached(), Reached::Primary);
    unlocked(fast).await;
    let usual = mutex(&client, "a");
    expect(usual.lock().await, ErrorKind::NotDurable, &["0 of 1"]);
    group.thaw();
    let quick = fixture.patient().await;
    let safe = latchwork_mutex::Mutex::builder(&quick, "a").durability(replicas(1, ENOUGH));
    let safe = safe.build().expect("a mutex").lock().await.expect("replicated");
    assert_eq!(safe.reached(), Reached::Replicas(1));
    unlocked(safe).await;
    let bad = latchwork_mutex::Mutex::builder(&quick, "a").durability(replicas(0, ENOUGH));
    expect(bad.build(), ErrorKind::Invalid, &["1 to 1000 replicas"]);
    let bad = fixture.builder().durability(replicas(1, Duration::ZERO));
    expect(bad.connect().await, ErrorKind::Invalid, &["1ms"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_waited_for_again_when_their_connection_breaks() {
    let group = Group::joined(1).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let waiter = locking(&client, "a");
    for _ in 0..3 {
        eventually("the server waits", || blocked(&group) > 0).await;
        group.primary.kill_normal_clients().expect("killed");
        eventually("nobody waits there", || blocked(&group) == 0).await;
    }
    group.thaw();
    let guard = soon("a grant", waiter).await.expect("no panic").expect("a hold");
    assert_eq!(guard.reached(), Reached::Replicas(1));
    unlocked(guard).await;
    fixture.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_forgets_meanwhile_are_loaded_again() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let first = fixture.patient().await;
    let held = locked(&first, "a").await;
    let waiter = locking(&client, "a");
    fixture.queued(1).await;
    // A replica that stands still gives the time for that.
    group.freeze();
    unlocked(held).await;
    eventually("the server waits", || blocked(&group) > 0).await;
    group.primary.flush_scripts().expect("flushed");
    group.primary.kill_normal_clients().expect("killed"); // the tick is sent again
    group.thaw();
    let guard = soon("a grant", waiter).await.expect("no panic").expect("a hold");
    assert_eq!(guard.reached(), Reached::Replicas(1));
    unlocked(guard).await;
}

/// Another server answers at the same address, which has replicas and knows nothing of the grant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_says_does_not_count() {
    let (group, other) = (Group::joined(1).await, Group::joined(1).await);
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let (proxy, client) = fixture
        .proxied_with(|b| b.lease(MINUTE).durability(replicas(1, ENOUGH)))
        .await;
    let waiter = locking(&client, "a");
    eventually("the server waits", || blocked(&group) > 0).await;
    proxy.lead_to(other.primary.port());
    proxy.cut();
    let refused = soon("a refusal", waiter).await.expect("no panic");
    expect(
        refused,
        ErrorKind::NotDurable,
        &["lost before its grant was replicated"],
    );
    let mut fixture = fixture;
    fixture.server = &other.primary;
    fixture.settled().await;
    let guard = locked(&client, "a").await;
    assert_eq!(guard.reached(), Reached::Replicas(1), "a new grant counts there");
    unlocked(guard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_all_replicas_have_survives_the_death_of_the_primary() {
    let all = TestSentinel::start(1, 1, 3).expect("sentinels");
    let fixture = Fixture::behind(&all);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let old = all.master().expect("a primary");
    let guard = locked(&client, "a").await;
    old.kill().expect("killed"); // in this moment
    assert_eq!(guard.reached(), Reached::Replicas(1));
    let new = all.wait_switched(old).expect("another primary");
    let expected = format!("127.0.0.1:{}", new.port());
    eventually("it follows", || {
        client.server().is_some_and(|server| server.address == expected)
    })
    .await;
    guard.extend(MINUTE).await.expect("the new primary has it");
    unlocked(guard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_each_master_waits_for_its_replicas() {
    let cluster = TestCluster::start(2, 1).expect("a cluster");
    let fixture = Fixture::in_cluster(&cluster);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    for name in ["a", "b", "c", "d"] {
        let guard = locked(&client, name).await;
        assert_eq!(guard.reached(), Reached::Replicas(1), "{name}");
        unlocked(guard).await;
    }
    // On its way to the other master: first the record is here, then there.
    let slot = slot_of("a");
    let to = cluster
        .nodes()
        .iter()
        .find(|node| cluster.master_of(slot_of("b")).expect("a master") == *node);
    let to = to.expect("the other master");
    assert!(to != cluster.master_of(slot).expect("a master"), "two masters");
    let migration = cluster.migrate(slot, to).expect("a migration");
    migration.open().expect("it moves");
    let guard = locked(&client, "a").await;
    assert_eq!(guard.reached(), Reached::Replicas(1), "asked for at the target");
    migration.move_keys().expect("moved");
    migration.assign_target().expect("assigned");
    migration.assign_source().expect("assigned");
    migration.assign_others().expect("assigned");
    unlocked(guard).await;
    let guard = locked(&client, "a").await;
    assert_eq!(guard.reached(), Reached::Replicas(1), "moved");
    unlocked(guard).await;
}

/// Newer servers answer `WAIT` at once on a connection that has written nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_servers_are_not_believed_without_a_write() {
    for version in [Version::Redis8_2, Version::Valkey9_1] {
        let binary = fetch_version(version).expect("it can be fetched: cargo xtask fetch --version");
        let group = Group::built(TestServer::builder().binary(binary), 1).await;
        let fixture = Fixture::on(&group.primary);
        let client = durable(&fixture, replicas(1, ENOUGH)).await;
        let guard = locked(&client, "a").await;
        assert_eq!(guard.reached(), Reached::Replicas(1), "{version}");
        unlocked(guard).await;
        group.freeze();
        let hasty = durable(&fixture, replicas(1, SHORT)).await;
        for _ in 0..20 {
            expect(
                mutex(&hasty, "a").lock().await,
                ErrorKind::NotDurable,
                &["0 of 1"],
            );
        }
        group.thaw();
    }
}

/// A renewal that changes nothing, as the clock was set back since the grant, would be no write, and
/// the server would answer at once that all replicas have what this connection has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_does_not_make_the_renewal_less_of_a_write() {
    let binary = fetch_version(Version::Redis8_2).expect("it can be fetched: cargo xtask fetch --version");
    let builder = TestServer::builder().binary(binary).clock_offset(0);
    let group = Group::built(builder, 1).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let within = Duration::from_secs(3);
    let (proxy, client) = fixture
        .proxied_with(|b| b.lease(MINUTE).durability(replicas(1, within)))
        .await;
    let held = Arc::new(AtomicBool::new(false));
    let is_held = Arc::clone(&held);
    proxy.on_chunk(move |direction, _, chunk| {
        if direction == Direction::ToServer && contains(chunk, "WAIT") {
            is_held.store(true, Ordering::SeqCst);
            return Action::Hold;
        }
        Action::Pass
    });
    let waiter = locking(&client, "a");
    eventually("the pair is held up", || held.load(Ordering::SeqCst)).await;
    group.primary.set_clock_offset(-5000).expect("set back");
    proxy.no_hook();
    proxy.release();
    let refused = soon("a refusal", waiter).await.expect("no panic");
    expect(refused, ErrorKind::NotDurable, &["0 of 1"]);
    group.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_to_wait_is_told_so() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary);
    let builder = fixture.builder_at(fixture.restricted(&["-wait"]));
    let client = builder.durability(replicas(1, ENOUGH)).connect().await;
    let refused = soon("a refusal", mutex(&client.expect("a client"), "a").lock()).await;
    expect(refused, ErrorKind::Denied, &["+wait"]);
    assert!(!fixture.is_held(), "it was released");
}

/// What the old server answers late does not count, even if it is what was waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_of_the_server_before_does_not_count() {
    let (group, other) = (Group::joined(1).await, Group::joined(1).await);
    let fixture = Fixture::on(&group.primary);
    let (proxy, client) = fixture
        .proxied_with(|b| b.lease(MINUTE).durability(replicas(1, ENOUGH)))
        .await;
    // The answer to WAIT is held up. Then the other connections are cut, and that one stays. What
    // is asked of the other server about the hold is held up as well.
    let flag = || Arc::new(AtomicBool::new(false));
    let (held, cuts, moved) = (flag(), flag(), flag());
    let (is_held, is_cut, is_moved) = (Arc::clone(&held), Arc::clone(&cuts), Arc::clone(&moved));
    let (mut waits, mut others, key) = (None, HashSet::new(), fixture.key());
    proxy.on_chunk(move |direction, id, chunk| {
        let to_server = direction == Direction::ToServer;
        if !is_cut.load(Ordering::SeqCst) {
            if to_server && contains(chunk, "WAIT") {
                waits = Some(id);
            } else if waits == Some(id) && !to_server {
                is_held.store(true, Ordering::SeqCst);
                return Action::Hold;
            }
            others.insert(id);
        } else if waits != Some(id) && others.contains(&id) {
            return Action::Cut;
        } else if to_server && contains(chunk, &key) {
            is_moved.store(true, Ordering::SeqCst);
            return Action::Hold;
        }
        Action::Pass
    });
    let waiter = locking(&client, "a");
    eventually("the answer is held up", || held.load(Ordering::SeqCst)).await;
    proxy.lead_to(other.primary.port());
    cuts.store(true, Ordering::SeqCst);
    eventually("the other is asked for the hold", || {
        drop(client.ping().now_or_never());
        moved.load(Ordering::SeqCst)
    })
    .await;
    proxy.no_hook();
    proxy.release();
    let refused = soon("a refusal", waiter).await.expect("no panic");
    expect(refused, ErrorKind::NotDurable, &["lost before"]);
}
