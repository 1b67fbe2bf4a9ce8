//! A lock is taken, held and released, and a deadline is noticed at any moment.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, mutex};

#[tokio::test]
async fn lock_and_unlock() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let mutex = mutex(&client, "a");
    assert!(!mutex.is_locked().await.expect("an answer"), "free");
    let guard = mutex.lock().await.expect("the lock");
    assert!(mutex.is_locked().await.expect("an answer"), "held");
    assert!(!guard.is_lost(), "just taken");
    assert!(guard.valid_for() > LEASE / 2, "nearly the lease");
    guard.unlock().await.expect("released");
    assert!(!mutex.is_locked().await.expect("an answer"), "free again");
    assert_eq!(client.live(), 0, "no slot is left");
    fixture.settled_within(Duration::ZERO).await;
    fixture.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_expires_during_a_poll_is_noticed() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client().await;
    let mutex = mutex(&client, "a");
    let held = mutex.lock().await.expect("the lock");
    let (done, polled) = tokio::sync::oneshot::channel();
    // Without a pause, so that some poll has its end between two looks at the clock.
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        for turn in 0..100 {
            let mut waiting = pin!(mutex.try_lock_for(Duration::from_millis(3)));
            let outcome = loop {
                if let Poll::Ready(outcome) = waiting.as_mut().poll(&mut cx) {
                    break outcome;
                }
            };
            assert!(!matches!(outcome, Ok(Some(_))), "{turn}: {outcome:?}");
        }
        done.send(()).expect("somebody listens");
    });
    let outcome = tokio::time::timeout(Duration::from_secs(20), polled).await;
    assert!(
        matches!(outcome, Ok(Ok(()))),
        "{outcome:?}: it is still being polled"
    );
    held.unlock().await.expect("released");
}
