//! Guards and futures may be dropped, leaked or unwound where nothing can be awaited.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use latchwork_mutex::MutexGuard;
use latchwork_tests::{Fixture, LEASE, eventually, locked, mutex};
use tokio::runtime::Runtime;

use crate::support::{Driven, block_on, block_until, current};

/// Long enough that nothing here can be its end.
const LONG: Duration = Duration::from_secs(10);

fn lock_on(runtime: &Runtime, fixture: &Fixture<'_>, lease: Duration) -> MutexGuard {
    runtime.block_on(async {
        let client = fixture.client_with(|b| b.lease(lease)).await;
        locked(&client, "a").await
    })
}

#[test]
fn h15_a_current_thread_sends_the_release_when_it_is_driven_again() {
    let fixture = Fixture::shared();
    let runtime = current();
    let guard = lock_on(&runtime, &fixture, LONG);
    drop(guard);
    thread::sleep(Duration::from_millis(20));
    assert!(
        fixture.is_held(),
        "nobody drives the runtime: nothing can be sent"
    );
    runtime.block_on(fixture.settled_within(Duration::from_secs(1)));
}

#[test]
fn h16_a_lock_future_dropped_after_its_runtime_does_nothing() {
    let fixture = Fixture::shared();
    let runtime = current();
    let guard = lock_on(&runtime, &fixture, LEASE);
    let other = runtime.block_on(fixture.client());
    let mut waiting = Box::pin(mutex(&other, "a").lock());
    runtime.block_on(async {
        tokio::select! {
            _ = &mut waiting => panic!("it is held"),
            () = eventually("it queues", || fixture.waiters() == 1) => {}
        }
    });
    drop(runtime);
    drop(waiting);
    drop(guard);
    let next = current();
    let start = Instant::now();
    drop(lock_on(&next, &fixture, LEASE));
    // The orphan's place is passed over: nobody is subscribed to its inbox.
    assert!(
        start.elapsed() < LEASE + Duration::from_secs(1),
        "after the lease, and at once"
    );
}

/// The same with a grant that nobody will ever read: its lease ends it.
#[tokio::test]
async fn h18_a_forgotten_lock_future_with_a_grant_ends_with_its_lease() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.client().await, fixture.client().await);
    let mutex = mutex(&one, "a");
    let mut leaked = Box::pin(mutex.lock());
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(&mut leaked).poll(&mut context).is_pending(), "sent");
    eventually("it is granted", || fixture.is_held()).await;
    std::mem::forget(leaked);
    let start = Instant::now();
    drop(locked(&two, "a").await);
    assert!(
        start.elapsed() < LEASE + Duration::from_secs(1),
        "renewed by nobody"
    );
    fixture.settled_within(Duration::from_secs(1)).await;
}

#[test]
fn futures_that_were_never_polled_send_nothing() {
    let fixture = Fixture::shared();
    let driver = Driven::multi();
    let client = driver.client(&fixture);
    let mutex = mutex(&client, "a");
    drop(mutex.lock());
    drop(mutex.try_lock());
    assert_eq!(client.live(), 0, "no slot was taken");
    let guard = block_on(mutex.lock()).expect("the lock");
    drop(guard.unlock());
    block_until("an unlock that was not polled releases all the same", || {
        !fixture.is_held() && client.live() == 0
    });
}

/// What polls may be anything: a waker that does nothing is the worst of it.
#[test]
fn h15_a_future_polled_without_any_runtime_can_be_dropped() {
    let fixture = Fixture::shared();
    let driver = Driven::current();
    let client = driver.client(&fixture);
    let mutex = mutex(&client, "a");
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..20 {
        let mut waiting = Box::pin(mutex.lock());
        for _ in 0..3 {
            if let Poll::Ready(guard) = waiting.as_mut().poll(&mut context) {
                drop(guard.expect("the lock"));
                break;
            }
        }
    }
    block_until("all of them are undone", || {
        !fixture.is_held() && client.live() == 0
    });
}
