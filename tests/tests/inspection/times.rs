//! Each hold and each waiter has its time, whatever kind it is and however it came about.

use std::time::Duration;

use latchwork_core::{LockInfo, Owner, Result};
use latchwork_mutex::{FairMutex, Mutex, ReentrantMutex};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::Direction;
use latchwork_tests::{go, soon};

use super::{LEASE, STEP, World, client, unhurried};

/// Inspects until what was found is as it should be.
async fn until<F>(mut inspect: impl FnMut() -> F, is_right: impl Fn(&LockInfo) -> bool) -> LockInfo
where
    F: Future<Output = Result<LockInfo>>,
{
    let looking = async {
        loop {
            let info = inspect().await.expect("an answer");
            if is_right(&info) {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("it is so", looking).await
}

/// Waits until the holder with this label is confirmed, and holds since a moment ago.
async fn until_confirmed<F>(inspect: impl FnMut() -> F, label: &str) -> LockInfo
where
    F: Future<Output = Result<LockInfo>>,
{
    until(inspect, |info| {
        let mut holders = info.holders.iter();
        holders.any(|it| {
            let is_new = it.held_for.is_some_and(|time| time < STEP / 2);
            it.label.as_deref() == Some(label) && it.confirmed && is_new
        })
    })
    .await
}

#[tokio::test]
async fn a_hold_of_every_kind_that_was_free_has_its_time() {
    let world = World::new();
    let fixture = world.fixture();
    let a = client(&fixture, "a").await;
    let mutex = Mutex::new(&a, "mutex").expect("a mutex");
    let fair = FairMutex::new(&a, "fair").expect("a mutex");
    let reentrant = ReentrantMutex::new(&a, "reentrant").expect("a mutex");
    let (read, written) = (RwLock::new(&a, "read"), RwLock::new(&a, "written"));
    let (read, written) = (read.expect("a lock"), written.expect("a lock"));
    let permits = Semaphore::new(&a, "permits", 5).expect("a semaphore");
    let owner = Owner::new();
    let locked = mutex.lock().await.expect("the lock");
    let fair_turn = fair.lock().await.expect("the lock");
    let outer = reentrant.lock(&owner).await.expect("the lock");
    let reader = read.read().await.expect("the lock");
    let writer = written.write().await.expect("the lock");
    let permit = permits.acquire_many(2).await.expect("permits");
    for steps in 1..3 {
        world.step(steps, &[&a]).await;
        for info in [
            mutex.inspect().await,
            fair.inspect().await,
            reentrant.inspect().await,
            read.inspect().await,
            written.inspect().await,
            permits.inspect().await,
        ] {
            world.is_held(&info.expect("an answer"), "a", steps);
        }
        // What renews a hold, as its keeper does, leaves its time as it is.
        for renewed in [
            locked.extend(LEASE).await,
            fair_turn.extend(LEASE).await,
            outer.extend(LEASE).await,
            reader.extend(LEASE).await,
            writer.extend(LEASE).await,
            permit.extend(LEASE).await,
        ] {
            renewed.expect("renewed");
        }
    }
}

#[tokio::test]
async fn each_of_those_who_share_has_its_own_time() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, client(&fixture, "b").await);
    let locks = [&a, &b].map(|it| RwLock::new(it, "lock").expect("a lock"));
    let permits = [&a, &b].map(|it| Semaphore::new(it, "permits", 5).expect("a semaphore"));
    let mutexes = [&a, &b].map(|it| ReentrantMutex::new(it, "reentrant").expect("a mutex"));
    let owner = Owner::new();
    let first = (
        locks[0].read().await,
        permits[0].acquire().await,
        mutexes[0].lock(&owner).await,
    );
    world.step(1, &[&a, &b]).await;
    let second = (
        locks[1].read().await,
        permits[1].acquire_many(3).await,
        mutexes[1].lock(&owner).await,
    );
    world.step(2, &[&a, &b]).await;
    for info in [
        locks[0].inspect().await,
        permits[0].inspect().await,
        mutexes[0].inspect().await,
    ] {
        let info = info.expect("an answer");
        world.is_held(&info, "a", 2);
        world.is_held(&info, "b", 1);
    }
    let info = mutexes[0].inspect().await.expect("an answer");
    assert!(info.holders.iter().all(|it| it.owner == Some(owner)), "{info:?}");
    drop((first, second));
}

/// A waits for nothing; B waits for a step, gets it, and holds it for another.
#[tokio::test]
async fn a_hold_that_was_handed_over_counts_from_then() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, unhurried(&fixture, "b").await);
    let locks = [&a, &b].map(|it| RwLock::new(it, "lock").expect("a lock"));
    let permits = [&a, &b].map(|it| Semaphore::new(it, "permits", 5).expect("a semaphore"));
    let mutexes = [&a, &b].map(|it| Mutex::new(it, "mutex").expect("a mutex"));
    let written = locks[0].write().await.expect("the lock");
    let all = permits[0].acquire_many(5).await.expect("permits");
    let locked = mutexes[0].lock().await.expect("the lock");
    let reader = go(locks[1].read());
    let permit = go(permits[1].acquire_many(2));
    let waiter = go(mutexes[1].lock());
    until(|| locks[0].inspect(), |info| info.queue_len == 1).await;
    until(|| permits[0].inspect(), |info| info.queue_len == 1).await;
    until(|| mutexes[0].inspect(), |info| info.queue_len == 1).await;
    world.step(1, &[&a, &b]).await;
    for info in [
        locks[0].inspect().await,
        permits[0].inspect().await,
        mutexes[0].inspect().await,
    ] {
        let info = info.expect("an answer");
        world.is_held(&info, "a", 1);
        world.waits(&info, "b", 1);
    }
    let info = permits[0].inspect().await.expect("an answer");
    assert_eq!(
        (info.waiters[0].weight, info.waiters[0].position),
        (2, 0),
        "{info:?}"
    );
    written.unlock().await.expect("released");
    all.release().await.expect("released");
    locked.unlock().await.expect("released");
    let guards = (reader.await, permit.await, waiter.await);
    for info in [
        until_confirmed(|| locks[0].inspect(), "b").await,
        until_confirmed(|| permits[0].inspect(), "b").await,
        until_confirmed(|| mutexes[0].inspect(), "b").await,
    ] {
        world.is_held(&info, "b", 0);
    }
    world.step(2, &[&a, &b]).await;
    for info in [
        locks[0].inspect().await,
        permits[0].inspect().await,
        mutexes[0].inspect().await,
    ] {
        world.is_held(&info.expect("an answer"), "b", 1);
    }
    drop(guards);
}

/// Until it is confirmed, the end of a claim says when it was made.
#[tokio::test]
async fn a_claim_has_its_time_before_the_client_says_anything() {
    let world = World::new();
    let fixture = world.fixture();
    let a = client(&fixture, "a").await;
    let (proxy, b) = fixture
        .proxied_with(|builder| builder.lease(LEASE).label("b").claim_window(3 * STEP))
        .await;
    let [writer, reader] = [&a, &b].map(|it| RwLock::new(it, "lock").expect("a lock"));
    let written = writer.write().await.expect("the lock");
    let waiting = go(reader.read());
    until(|| writer.inspect(), |info| info.queue_len == 1).await;
    world.step(1, &[&a, &b]).await;
    proxy.block(Direction::ToServer);
    written.unlock().await.expect("released");
    for steps in 0..2 {
        world.step(1 + steps, &[&a]).await;
        let info = writer.inspect().await.expect("an answer");
        world.is_held(&info, "b", steps);
        assert!(!info.holders[0].confirmed, "{info:?}");
    }
    waiting.abort();
}

#[tokio::test]
async fn a_hold_that_was_resumed_counts_from_then() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, client(&fixture, "b").await);
    let locks = [&a, &b].map(|it| RwLock::new(it, "lock").expect("a lock"));
    let permits = [&a, &b].map(|it| Semaphore::new(it, "permits", 5).expect("a semaphore"));
    let mutexes = [&a, &b].map(|it| Mutex::new(it, "mutex").expect("a mutex"));
    let reader = locks[0].read().await.expect("the lock");
    let permit = permits[0].acquire_many(2).await.expect("permits");
    let locked = mutexes[0].lock().await.expect("the lock");
    let token = locked.fencing_token();
    world.step(1, &[&a, &b]).await;
    let tickets = (
        reader.into_ticket().await.expect("a ticket"),
        permit.into_ticket().await.expect("a ticket"),
        locked.into_ticket().await.expect("a ticket"),
    );
    for info in [
        locks[1].inspect().await,
        permits[1].inspect().await,
        mutexes[1].inspect().await,
    ] {
        world.is_held(&info.expect("an answer"), "a", 1); // until somebody resumes it
    }
    let guards = (
        locks[1].resume_read(&tickets.0).await.expect("resumed"),
        permits[1].resume(&tickets.1).await.expect("resumed"),
        mutexes[1].resume(&tickets.2).await.expect("resumed"),
    );
    world.step(2, &[&a, &b]).await;
    for info in [
        locks[1].inspect().await,
        permits[1].inspect().await,
        mutexes[1].inspect().await,
    ] {
        world.is_held(&info.expect("an answer"), "b", 1);
    }
    let info = mutexes[1].inspect().await.expect("an answer");
    assert_eq!(info.holders[0].token, Some(token), "the grant's");
    drop(guards);
}

#[tokio::test]
async fn an_upgrade_and_a_downgrade_begin_anew() {
    let world = World::new();
    let fixture = world.fixture();
    let a = client(&fixture, "a").await;
    let lock = RwLock::new(&a, "lock").expect("a lock");
    let time = async |now: u32, steps: u32, shared: bool| {
        world.step(now, &[&a]).await;
        let info = lock.inspect().await.expect("an answer");
        world.is_held(&info, "a", steps);
        assert_eq!(
            (info.holders.len(), info.holders[0].shared),
            (1, shared),
            "{info:?}"
        );
    };
    let reading = lock.upgradable_read().await.expect("the lock");
    time(1, 1, true).await;
    let writing = reading.upgrade().await.expect("upgraded");
    time(2, 1, false).await;
    time(3, 2, false).await;
    let reading = writing.downgrade().await.expect("downgraded");
    time(4, 1, true).await;
    reading.unlock().await.expect("released");
}

#[tokio::test]
async fn who_waits_to_upgrade_has_a_time() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, client(&fixture, "b").await);
    let [ours, theirs] = [&a, &b].map(|it| RwLock::new(it, "lock").expect("a lock"));
    let upgradable = ours.upgradable_read().await.expect("the lock");
    let reader = theirs.read().await.expect("the lock");
    let upgrade = go(upgradable.upgrade());
    let told = |info: &LockInfo| info.waiters.iter().any(|it| it.waiting_for.is_some());
    until(|| theirs.inspect(), told).await;
    world.step(1, &[&a, &b]).await;
    let info = theirs.inspect().await.expect("an answer");
    world.waits(&info, "a", 1);
    world.is_held(&info, "a", 1);
    reader.unlock().await.expect("released");
    drop(upgrade.await);
}

#[tokio::test]
async fn a_part_counts_from_the_split_and_the_whole_goes_on() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, unhurried(&fixture, "b").await);
    let [ours, theirs] = [&a, &b].map(|it| Semaphore::new(it, "permits", 5).expect("a semaphore"));
    let all = ours.acquire_many(5).await.expect("permits");
    let waiting = go(theirs.acquire_many(4));
    until(|| ours.inspect(), |info| info.queue_len == 1).await;
    world.step(1, &[&a, &b]).await;
    all.release().await.expect("released");
    let mut whole = waiting.await.expect("no panic").expect("handed over");
    // The split confirms the claim, which the keeper has not done yet.
    let part = whole.split(1).await.expect("an answer").expect("a part");
    let is_known = |info: &LockInfo| {
        let mut times = info.holders.iter().map(|it| it.held_for);
        times.all(|time| time.is_some_and(|time| time < STEP / 2))
    };
    until(|| ours.inspect(), is_known).await;
    world.step(2, &[&a, &b]).await;
    let other = whole.split(1).await.expect("an answer").expect("a part");
    world.step(3, &[&a, &b]).await;
    let times = async || {
        let info = ours.inspect().await.expect("an answer");
        let mut found: Vec<_> = info.holders.iter().map(|it| (it.held_for, it.weight)).collect();
        found.sort_unstable();
        found
    };
    let found = times().await;
    for ((time, weight), (steps, expected)) in found.iter().zip([(1, 1), (2, 1), (2, 2)]) {
        world.is_long("a part", *time, steps);
        assert_eq!((found.len(), *weight), (3, expected), "{found:?}");
    }
    whole.merge(part).await.expect("merged");
    whole.merge(other).await.expect("merged");
    let found = times().await;
    world.is_long("the whole", found[0].0, 2);
    assert_eq!((found.len(), found[0].1), (1, 4), "{found:?}");
}

#[tokio::test]
async fn waiters_of_several_priorities_have_theirs_and_their_times() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, client(&fixture, "b").await);
    let mutex = |it| {
        let builder = FairMutex::builder(it, "fair").priority_boost(STEP);
        builder.build().expect("a mutex")
    };
    let [ours, theirs] = [&a, &b].map(mutex);
    let held = ours.lock().await.expect("the lock");
    let mut waiting = Vec::new();
    for (now, (handle, priority)) in (1..).zip([(&ours, 0), (&theirs, 3), (&theirs, -2)]) {
        waiting.push(go(handle.with_priority(priority).lock()));
        until(|| ours.inspect(), |info| info.queue_len == u64::from(now)).await;
        world.step(now, &[&a, &b]).await;
    }
    let told = |info: &LockInfo| info.waiters.iter().filter(|it| it.head_start_ms != 0).count() == 2;
    let info = until(|| ours.inspect(), told).await;
    let step = i64::try_from(STEP.as_millis()).expect("a number");
    // They asked a step after each other; the second one is three steps ahead, the last one two behind.
    let expected = [("b", 3 * step, 2), ("a", 0, 3), ("b", -2 * step, 1)];
    for (at, (waiter, (label, ahead, steps))) in (0..).zip(info.waiters.iter().zip(expected)) {
        let found = (waiter.label.as_deref(), waiter.head_start_ms, waiter.position);
        assert_eq!(found, (Some(label), ahead, at), "{info:?}");
        world.is_long(label, waiter.waiting_for, steps);
    }
    // The second page begins with the second one.
    let info = ours.inspect_from(1).await.expect("an answer");
    assert_eq!((info.waiters.len(), info.waiters[0].position), (2, 1), "{info:?}");
    held.unlock().await.expect("released");
    drop(waiting);
}

/// Nothing is wrong by more than the clock was set back, and nothing is longer than it is.
#[tokio::test]
async fn a_clock_that_was_set_back_makes_times_shorter() {
    let world = World::new();
    let fixture = world.fixture();
    let (a, b) = (client(&fixture, "a").await, client(&fixture, "b").await);
    world.step(2, &[&a, &b]).await;
    let [ours, theirs] = [&a, &b].map(|it| RwLock::new(it, "lock").expect("a lock"));
    let reader = ours.read().await.expect("the lock");
    let writer = go(theirs.write());
    until(|| ours.inspect(), |info| info.queue_len == 1).await;
    world.step(3, &[&a, &b]).await;
    world.step(1, &[&a, &b]).await;
    let info = ours.inspect().await.expect("an answer");
    world.is_held(&info, "a", 0);
    world.waits(&info, "b", 0);
    assert_eq!(info.waiters[0].silent_for, Duration::ZERO, "it was just seen");
    drop((reader, writer));
}

#[tokio::test]
async fn a_waiter_that_is_silent_says_for_how_long() {
    let world = World::new();
    let fixture = world.fixture();
    let a = client(&fixture, "a").await;
    let (proxy, b) = fixture
        .proxied_with(|builder| builder.lease(LEASE).label("b"))
        .await;
    let [ours, theirs] = [&a, &b].map(|it| Mutex::new(it, "mutex").expect("a mutex"));
    let held = ours.lock().await.expect("the lock");
    let waiting = go(theirs.lock());
    let info = until(|| ours.inspect(), |info| info.queue_len == 1).await;
    assert!(info.waiters[0].silent_for < STEP / 2, "{info:?}");
    proxy.block(Direction::ToServer);
    world.step(1, &[&a]).await;
    let info = ours.inspect().await.expect("an answer");
    let half = Duration::from_millis(512); // the unit of the record
    let silent = info.waiters[0].silent_for;
    let most = STEP + world.start.elapsed() + half;
    assert!(silent + half >= STEP && silent <= most, "{silent:?}");
    held.unlock().await.expect("released");
    waiting.abort();
}
