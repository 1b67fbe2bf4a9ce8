//! An attempt waits for a silent server as long as it may, and leaves nothing when it gives up.

use std::time::{Duration, Instant};

use latchwork_mutex::{Client, ClientBuilder, ErrorKind};
use latchwork_testkit::TestServer;
use latchwork_tests::{
    Fixture, LEASE, LONG, eventually, go, granted, locked, locking, mutex, soon, unlocked,
};

/// Nothing of this client's attempts is left, and the lock is free for others.
async fn undone(fixture: &Fixture<'_>, client: &Client, name: &str) {
    eventually("its end is answered", || client.live() == 0).await;
    fixture.named(name).settled_within(Duration::from_secs(1)).await;
    let other = fixture.client().await;
    let free = soon("a try", mutex(&other, name).try_lock()).await;
    let free = free.expect("an answer").expect("free");
    unlocked(free).await;
    fixture.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_deadline_silence_ends_an_attempt() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client_with(|b| b.unavailable_after(LEASE * 2)).await;
    server.freeze().expect("frozen");
    let start = Instant::now();
    let error = soon("an error", mutex(&client, "a").lock())
        .await
        .expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(start.elapsed() >= LEASE * 2, "not before its time");
    assert!(error.to_string().contains("`a`"), "names the lock: {error}");
    assert_eq!(client.live(), 1, "it is being undone");
    // Now the server reads what was sent: acquires, which are late, and ends.
    server.thaw().expect("thawed");
    undone(&fixture, &client, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_wait_in_the_queue_too() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (one, two) = (
        fixture.client().await,
        fixture.builder().unavailable_after(LEASE * 2).connect().await,
    );
    let two = two.expect("a client");
    let guard = locked(&one, "a").await;
    let waiter = locking(&two, "a");
    fixture.queued(1).await;
    server.freeze().expect("frozen");
    let error = soon("an error", waiter)
        .await
        .expect("no panic")
        .expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.thaw().expect("thawed");
    drop(guard);
    undone(&fixture, &two, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_queue_does_not_count_as_silence() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    // With this lease nobody has to ask the server anything for seconds.
    let client = fixture
        .client_with(|b| b.lease(LONG).unavailable_after(LEASE * 2))
        .await;
    let guard = locked(&client, "a").await;
    let mut waiter = locking(&client, "a");
    fixture.queued(1).await;
    let early = tokio::time::timeout(LEASE * 6, &mut waiter).await;
    assert!(early.is_err(), "it waits as long as the server lives: {early:?}");
    unlocked(guard).await;
    let second = soon("a grant", waiter).await.expect("no panic");
    soon("an unlock", second.expect("the lock").unlock())
        .await
        .expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_wait_ends_as_busy_if_the_server_last_answered_queued() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    // Only the waiter has anything to say: its place is refreshed when it has heard that it has one.
    let one = fixture.steady().await;
    let two = fixture.client().await;
    let guard = locked(&one, "a").await;
    let waiter = go(mutex(&two, "a").try_lock_for(LEASE * 3));
    fixture.queued(1).await;
    let calls = || server.command_calls().expect("stats")["evalsha"];
    let before = calls();
    eventually("it knows", || calls() > before).await;
    server.freeze().expect("frozen");
    let answer = soon("an answer", waiter).await.expect("no panic");
    assert!(answer.expect("busy is known").is_none(), "busy until then");
    server.thaw().expect("thawed");
    drop(guard);
    undone(&fixture, &two, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_wait_without_any_reply_is_unavailable() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client().await;
    server.freeze().expect("frozen");
    let start = Instant::now();
    let error = soon("an error", mutex(&client, "a").try_lock_for(LEASE)).await;
    let error = error.expect_err("nothing is known");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(start.elapsed() >= LEASE, "not before its time");
    let error = soon("an error", mutex(&client, "a").try_lock()).await;
    let error = error.expect_err("nothing is known");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "one try: {error:?}");
    server.thaw().expect("thawed");
    undone(&fixture, &client, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_ends_an_attempt() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client_with(|b| b.unavailable_after(LEASE)).await;
    server.kill().expect("killed");
    let error = soon("an error", mutex(&client, "a").lock())
        .await
        .expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("connect"), "says why: {error}");
    server.restart().expect("again");
    undone(&fixture, &client, "a").await;
}

/// The server was away when the future was polled, and is back before it is polled again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_that_nobody_polls_does_not_blame_the_server() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture
        .client_with(|b| b.lease(LONG).unavailable_after(LEASE))
        .await;
    let mutex = mutex(&client, "a");
    server.kill().expect("killed");
    eventually("the client notices", || !client.is_listening()).await;
    let mut waits = Box::pin(mutex.lock());
    let mut bounded = Box::pin(mutex.try_lock_for(LEASE));
    for _ in 0..3 {
        // Each of them sleeps before its next try.
        assert!(poll_once(waits.as_mut()).await.is_none(), "no connection");
        assert!(poll_once(bounded.as_mut()).await.is_none(), "no connection");
    }
    server.restart().expect("again");
    eventually("it is connected again", || client.is_listening()).await;
    std::thread::sleep(LEASE * 2);
    let guard = soon("the lock", waits).await.expect("the server answers");
    let none = soon("an answer", bounded).await.expect("the server answers");
    assert!(none.is_none(), "it is busy");
    guard.unlock().await.expect("released");
    undone(&fixture, &client, "a").await;
}

/// What a future comes to if it is polled now.
async fn poll_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(move |cx| {
        let polled = future.as_mut().map(|future| std::pin::Pin::new(future).poll(cx));
        std::task::Poll::Ready(match polled {
            Some(std::task::Poll::Ready(output)) => Some(output),
            _ => None,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlock_into_silence_is_answered_long_before_the_lease_is_over_and_goes_on() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let hour = Duration::from_secs(3600);
    let client = fixture
        .client_with(|b| {
            b.lease(hour)
                .unavailable_after(LEASE * 2)
                .operation_timeout(LEASE / 2)
        })
        .await;
    let guard = locked(&client, "a").await;
    server.freeze().expect("frozen");
    let start = Instant::now();
    let error = soon("an answer", guard.unlock()).await.expect_err("silence");
    assert!(start.elapsed() >= LEASE * 2, "not before its time");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("did not answer the release for 6"),
        "says how long: {text}"
    );
    assert!(text.contains("continues to try"), "says what happens: {text}");
    server.thaw().expect("thawed");
    undone(&fixture, &client, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_release_is_not_answered_is_ok_if_its_hold_was_valid() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let hour = Duration::from_secs(3600);
    let options = |b: ClientBuilder| {
        b.lease(hour)
            .unavailable_after(LEASE * 2)
            .operation_timeout(LEASE / 2)
    };
    let client = fixture.client_with(options).await;
    let lock = mutex(&client, "a");
    let ran = lock.run(async |_| server.freeze().expect("frozen"));
    soon("an answer", ran)
        .await
        .expect("the body was done under the lock");
    assert_eq!(client.live(), 1, "the release was not answered");
    server.thaw().expect("thawed");
    undone(&fixture, &client, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlock_into_silence_says_so_when_the_lease_is_over_first() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client_with(|b| b.operation_timeout(LEASE / 2)).await;
    let guard = locked(&client, "a").await;
    server.freeze().expect("frozen");
    let error = soon("an answer", guard.unlock()).await.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("its lease is over"), "{error}");
    server.thaw().expect("thawed");
    undone(&fixture, &client, "a").await;
}

#[tokio::test]
async fn an_unlock_that_waits_is_answered_when_the_client_closes() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture
        .client_with(|b| b.lease(LONG * 3).operation_timeout(LEASE))
        .await;
    let guard = locked(&client, "a").await;
    server.freeze().expect("frozen");
    let unlock = go(guard.unlock());
    // Its first request has failed by then: it waits for the keeper.
    tokio::time::sleep(LEASE * 2).await;
    let closed = client.close().await;
    assert_eq!(closed.unsent, 1, "{closed:?}");
    let error = unlock.await.expect("no panic").expect_err("nothing was heard");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    server.thaw().expect("thawed");
}

#[tokio::test]
async fn h20_a_short_unavailable_after_does_not_fail_a_healthy_wait() {
    let fixture = Fixture::shared();
    let client = fixture
        .client_with(|b| {
            b.lease(Duration::from_secs(30))
                .unavailable_after(Duration::from_millis(300))
        })
        .await;
    let mutex = mutex(&client, "a");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(mutex.lock());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiter.is_finished(), "the server answers, so it waits");
    guard.unlock().await.expect("released");
    granted(waiter).await.unlock().await.expect("released");
}
