//! Guards and futures that are dropped, leaked or unwound where nobody can await (H15 to H18, T18).

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use latchwork_mutex::{Mutex, MutexGuard};
use latchwork_tests::{LEASE, Place, eventually};
use tokio::runtime::Runtime;

use crate::support::{Driven, block_on, current, is_held, soon, waiters};

/// Long enough that nothing here can be its end.
const LONG: Duration = Duration::from_secs(10);

fn lock_on(runtime: &Runtime, place: &Place<'_>, lease: Duration) -> MutexGuard {
    runtime.block_on(async {
        let client = place.builder().lease(lease).connect().await.expect("a client");
        Mutex::new(&client, "a")
            .expect("a mutex")
            .lock()
            .await
            .expect("the lock")
    })
}

#[test]
fn h15_a_current_thread_sends_the_release_when_it_is_driven_again() {
    let place = Place::shared();
    let runtime = current();
    let guard = lock_on(&runtime, &place, LONG);
    drop(guard);
    thread::sleep(Duration::from_millis(20));
    assert!(
        is_held(&place, "a"),
        "nobody drives the runtime: nothing can be sent"
    );
    runtime.block_on(place.settled("a", Duration::from_secs(1)));
}

#[test]
fn h16_a_lock_future_dropped_after_its_runtime_does_nothing() {
    let place = Place::shared();
    let runtime = current();
    let guard = lock_on(&runtime, &place, LEASE);
    let other = runtime.block_on(place.client());
    let mut waiting = Box::pin(Mutex::new(&other, "a").expect("a mutex").lock());
    runtime.block_on(async {
        tokio::select! {
            _ = &mut waiting => panic!("it is held"),
            () = eventually("it queues", || waiters(&place, "a") == 1) => {}
        }
    });
    drop(runtime);
    drop(waiting);
    drop(guard);
    let next = current();
    let start = Instant::now();
    drop(lock_on(&next, &place, LEASE));
    // The orphan's place is passed over: nobody is subscribed to its inbox.
    assert!(
        start.elapsed() < LEASE + Duration::from_secs(1),
        "after the lease, and at once"
    );
}

/// The same with a grant that nobody will ever read: its lease ends it.
#[tokio::test]
async fn h18_a_forgotten_lock_future_with_a_grant_ends_with_its_lease() {
    let place = Place::shared();
    let (one, two) = (place.client().await, place.client().await);
    let mutex = Mutex::new(&one, "a").expect("a mutex");
    let mut leaked = Box::pin(mutex.lock());
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(&mut leaked).poll(&mut context).is_pending(), "sent");
    eventually("it is granted", || is_held(&place, "a")).await;
    std::mem::forget(leaked);
    let start = Instant::now();
    drop(
        Mutex::new(&two, "a")
            .expect("a mutex")
            .lock()
            .await
            .expect("the lock"),
    );
    assert!(
        start.elapsed() < LEASE + Duration::from_secs(1),
        "renewed by nobody"
    );
    place.settled("a", Duration::from_secs(1)).await;
}

#[test]
fn t18_futures_that_were_never_polled_send_nothing() {
    let place = Place::shared();
    let driver = Driven::multi();
    let client = driver.client(&place);
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    drop(mutex.lock());
    drop(mutex.try_lock());
    assert_eq!(client.live(), 0, "no slot was taken");
    let guard = block_on(mutex.lock()).expect("the lock");
    drop(guard.unlock());
    soon("an unlock that was not polled releases all the same", || {
        !is_held(&place, "a") && client.live() == 0
    });
}

/// What polls may be anything: a waker that does nothing is the worst of it.
#[test]
fn h15_a_future_polled_without_any_runtime_can_be_dropped() {
    let place = Place::shared();
    let driver = Driven::current();
    let client = driver.client(&place);
    let mutex = Mutex::new(&client, "a").expect("a mutex");
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
    soon("all of them are undone", || {
        !is_held(&place, "a") && client.live() == 0
    });
}
