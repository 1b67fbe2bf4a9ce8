//! Code that blocks its thread right after a contended lock does not stop renewals (H23).

use std::future::{Future, poll_fn};
use std::thread;
use std::time::{Duration, Instant};

use latchwork_mutex::{Client, Loss, Mutex, MutexGuard};
use latchwork_tests::{Fixture, LEASE, mutex};
use tokio::runtime::Runtime;

use crate::support::{Driven, block_on, block_until, current, multi};

const BLOCK: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(10);

/// Takes a contended lock in a task of `runtime` and blocks its thread for two seconds, with the defaults: a lease of
/// 10 s and a claim window of 1 s. Nobody else may get it meanwhile, and the guard must still be good.
fn block_after_a_contended_lock(runtime: &Runtime, round: usize) {
    let fixture = Fixture::shared();
    let theirs = Driven::multi();
    let other = theirs
        .run(fixture.builder().lease(LONG).connect())
        .expect("a client");
    let others = mutex(&other, "a");
    let held = block_on(others.lock()).expect("the lock");

    let ours = runtime
        .block_on(fixture.builder().lease(LONG).connect())
        .expect("a client");
    let mutex = mutex(&ours, "a");
    let task = runtime.spawn(async move {
        let guard = mutex.lock().await.expect("the lock");
        thread::sleep(BLOCK);
        // Looked at right after the block, before the keeper can make anything good.
        let (valid, lost) = (guard.valid_for(), guard.is_lost());
        (guard, valid, lost, Instant::now())
    });
    let ((guard, valid, lost, at), (next, theirs)) = {
        let (fixture, others) = (&fixture, &others);
        // The current_thread runtime moves only while it is in `block_on`.
        thread::scope(|scope| {
            let watch = scope.spawn(move || {
                block_until("it queues", || fixture.waiters() == 1);
                let next = theirs.handle.spawn(others.lock());
                block_until("the next one queues", || fixture.waiters() == 2);
                block_on(held.unlock()).expect("released");
                (next, theirs)
            });
            let done = runtime.block_on(task).expect("no panic");
            (done, watch.join().expect("no panic"))
        })
    };
    assert!(!lost && !valid.is_zero(), "round {round}: lost during the block");
    assert!(valid > LONG / 2, "round {round}: confirmed late, {valid:?} left");
    assert!(!next.is_finished(), "round {round}: somebody else was granted");
    assert!(!guard.is_lost(), "round {round}: and it stays so");
    let token = guard.fencing_token();
    runtime.block_on(guard.unlock()).expect("still ours");
    let next = theirs.run(next).expect("no panic").expect("the lock");
    assert!(next.fencing_token() > token, "round {round}: in their order");
    assert!(
        at.elapsed() < LONG,
        "round {round}: by hand-off, not by the end of the lease"
    );
}

#[test]
fn h23_two_workers_block_after_a_contended_lock() {
    thread::scope(|scope| {
        for round in 0..10 {
            thread::sleep(Duration::from_millis(70));
            scope.spawn(move || block_after_a_contended_lock(&multi(2), round));
        }
    });
}

#[test]
fn h23_one_worker_blocks_after_a_contended_lock() {
    thread::scope(|scope| {
        for round in 0..3 {
            scope.spawn(move || block_after_a_contended_lock(&multi(1), round));
        }
    });
}

#[test]
fn h23_a_current_thread_blocks_after_a_contended_lock() {
    thread::scope(|scope| {
        for round in 0..3 {
            scope.spawn(move || block_after_a_contended_lock(&current(), round));
        }
    });
}

/// Shorter than the block: only a keeper that runs on can save the hold.
const SHORT: Duration = Duration::from_secs(1);

/// Holds a worker for two leases. Then whether the hold was lost.
fn block(guard: MutexGuard) -> (bool, MutexGuard) {
    thread::sleep(2 * SHORT);
    (guard.is_lost(), guard)
}

/// Some runtimes at once, each with two workers and a client; `scene` has one of the workers blocked.
fn with_two_workers(scene: impl Fn(&Runtime, &Client) -> (bool, MutexGuard) + Sync) {
    let scene = &scene;
    thread::scope(|scope| {
        for round in 0..5 {
            scope.spawn(move || {
                let fixture = Fixture::shared();
                let runtime = multi(2);
                let client = runtime
                    .block_on(fixture.builder().lease(SHORT).connect())
                    .expect("a client");
                let (lost, guard) = scene(&runtime, &client);
                assert!(!lost, "round {round}: nobody renewed it");
                runtime.block_on(guard.unlock()).expect("still ours");
            });
        }
    });
}

fn two_mutexes(client: &Client) -> [Mutex; 2] {
    ["a", "b"].map(|name| Mutex::new(client, name).expect("a mutex"))
}

#[test]
fn h23_with_two_workers_the_keeper_goes_on_while_one_is_blocked() {
    with_two_workers(|runtime, client| {
        // The keeper has something to do for this one sooner: the other guard does not even tell it.
        let short = Mutex::builder(client, "b")
            .lease(SHORT / 2)
            .build()
            .expect("a mutex");
        let short = runtime.block_on(short.lock()).expect("the lock");
        let locking = mutex(client, "a").lock();
        let task = runtime.spawn(async move { block(locking.await.expect("the lock")) });
        let outcome = runtime.block_on(task).expect("no panic");
        assert!(!short.is_lost(), "nor the other one");
        outcome
    });
}

/// What is given up right before is woken from the worker that blocks, and stuck there: a renewal must not be.
#[test]
fn h23_a_guard_is_dropped_right_before_a_worker_blocks() {
    with_two_workers(|runtime, client| {
        let [first, second] = two_mutexes(client);
        let task = runtime.spawn(async move {
            let guard = first.lock().await.expect("the lock");
            drop(second.lock().await.expect("the lock"));
            block(guard)
        });
        runtime.block_on(task).expect("no panic")
    });
}

/// One that polls two futures sends for the second and gets the guard of the first in the same poll: what sends is stuck
/// on the worker that is blocked then.
#[test]
fn h23_a_request_for_another_is_sent_right_before_a_worker_blocks() {
    with_two_workers(|runtime, client| {
        let [first, second] = two_mutexes(client);
        let task = runtime.spawn(async move {
            let (mut one, mut other) = (Box::pin(first.lock()), Box::pin(second.lock()));
            let mut polls = 0;
            let guard = poll_fn(|cx| {
                polls += 1;
                if polls > 1 {
                    assert!(other.as_mut().poll(cx).is_pending(), "it has just asked");
                }
                one.as_mut().poll(cx)
            });
            let guard = guard.await.expect("the lock");
            (block(guard), polls)
        });
        let (outcome, polls) = runtime.block_on(task).expect("no panic");
        assert_eq!(polls, 2, "granted when it is asked for the second time");
        outcome
    });
}

#[test]
fn h23_a_keeper_thread_goes_on_while_everything_is_blocked() {
    let fixture = Fixture::shared();
    let runtime = current();
    let client = runtime
        .block_on(fixture.builder().keeper_thread(true).connect())
        .expect("a client");
    let mutex = mutex(&client, "a");
    runtime.block_on(async {
        let guard = mutex.lock().await.expect("the lock");
        thread::sleep(5 * LEASE);
        assert!(!guard.is_lost(), "renewed");
        guard.unlock().await.expect("still ours");
    });
}

#[test]
fn h20_lost_is_right_while_the_keeper_is_dead() {
    for driver in [Driven::current(), Driven::with_one_worker()] {
        let fixture = Fixture::shared();
        let client = driver.client(&fixture);
        let mutex = mutex(&client, "a");
        let guard = driver.run(async move { mutex.lock().await }).expect("the lock");
        let (hold, start) = (guard.hold(), Instant::now());
        drop(driver.handle.spawn(async { thread::sleep(6 * LEASE) }));
        let ours = current();
        let loss = ours.block_on(hold.lost());
        assert_eq!(loss, Loss::Expired, "by its own timer");
        // One renewal may have come through just before the block.
        assert!(
            start.elapsed() < 3 * LEASE,
            "at its deadline, not when the keeper is back"
        );
        assert!(guard.is_lost(), "for everybody");
        assert_eq!(guard.valid_for(), Duration::ZERO, "no time left");
        drop(guard);
    }
}

/// The same outside of any runtime: the clock is enough for `is_lost`.
#[test]
fn h20_is_lost_needs_no_runtime() {
    let fixture = Fixture::shared();
    let runtime = current();
    let client = runtime.block_on(fixture.client());
    let mutex = mutex(&client, "a");
    let guard = runtime.block_on(mutex.lock()).expect("the lock");
    assert!(!guard.is_lost(), "just taken");
    thread::sleep(LEASE); // nobody drives the runtime
    assert!(guard.is_lost(), "its lease is over");
    let error = runtime.block_on(guard.unlock()).expect_err("lost");
    assert!(error.is_lost(), "{error}");
}
