//! Where tokio's clock is paused, a client's own time limits are in real time and leave it alone.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use latchwork_mutex::{Client, ErrorKind};
use latchwork_tests::{Fixture, LEASE, go, mutex};

/// Waits for this long in real time, without a timer of tokio and without a blocking task.
async fn really(time: Duration) {
    let (done, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        done.send(())
    });
    wait.await.expect("the thread ends");
}

async fn locks_hold_and_are_handed_over(client: &Client) {
    let start = tokio::time::Instant::now();
    let mutex = mutex(client, "a");
    // No helper with a timeout of its own: that would be over at once.
    let guard = mutex.lock().await.expect("the lock");
    really(LEASE * 3).await;
    assert!(!guard.is_lost(), "renewed");
    let (wait, before) = (LEASE / 2, Instant::now());
    let busy = mutex.try_lock_for(wait).await.expect("an answer");
    assert!(busy.is_none() && before.elapsed() >= wait, "in real time");
    let waiter = go(mutex.lock());
    while mutex.inspect().await.expect("an answer").queue_len == 0 {
        tokio::task::yield_now().await;
    }
    guard.unlock().await.expect("released");
    let guard = waiter.await.expect("no panic").expect("handed over");
    guard.unlock().await.expect("released");
    client.close().await;
    // A timer of tokio would have moved its clock as soon as there was nothing else to do, and a
    // client that waits with such timers takes a whole core.
    assert_eq!(start.elapsed(), Duration::ZERO, "tokio's clock is left alone");
}

#[tokio::test(start_paused = true)]
async fn locks_work_and_leave_the_clock_alone() {
    let fixture = Fixture::shared();
    locks_hold_and_are_handed_over(&fixture.client().await).await;
    fixture.check_leftovers();
}

#[tokio::test(start_paused = true)]
async fn the_same_with_a_keeper_thread() {
    let fixture = Fixture::shared();
    let client = fixture.client_with(|builder| builder.keeper_thread(true)).await;
    locks_hold_and_are_handed_over(&client).await;
    fixture.check_leftovers();
}

#[tokio::test(start_paused = true)]
async fn connecting_takes_the_time_that_it_may_take() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("redis://{}", silent.local_addr().expect("an address"));
    for keeper_thread in [false, true] {
        let start = Instant::now();
        let builder = Client::builder().url(&url).operation_timeout(LEASE);
        let connecting = builder.keeper_thread(keeper_thread).connect();
        let error = connecting.await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(start.elapsed() >= LEASE, "not at once");
    }
}
