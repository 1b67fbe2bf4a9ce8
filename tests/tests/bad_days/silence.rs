//! The server says nothing: how long an attempt waits, what it answers, and that it undoes itself.

use std::time::{Duration, Instant};

use latchwork_mutex::{Client, ErrorKind};
use latchwork_testkit::TestServer;
use latchwork_tests::{LEASE, Place, eventually, go};

use super::common::{LONG, held, mutex, queued, soon, waiting};

/// Nothing of this client's attempts is left, and the lock is free for others.
async fn undone(place: &Place<'_>, client: &Client, name: &str) {
    eventually("its end is answered", || client.live() == 0).await;
    place.settled(name, Duration::from_secs(1)).await;
    let other = place.client().await;
    let free = soon("a try", mutex(&other, name).try_lock()).await;
    let free = free.expect("an answer").expect("free");
    soon("an unlock", free.unlock()).await.expect("released");
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_deadline_silence_ends_an_attempt() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let builder = place.builder().unavailable_after(LEASE * 2);
    let client = builder.connect().await.expect("a client");
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
    undone(&place, &client, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_wait_in_the_queue_too() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let (one, two) = (
        place.client().await,
        place.builder().unavailable_after(LEASE * 2).connect().await,
    );
    let two = two.expect("a client");
    let guard = held(&one, "a").await;
    let waiter = waiting(&two, "a");
    queued(&place, "a", 1).await;
    server.freeze().expect("frozen");
    let error = soon("an error", waiter)
        .await
        .expect("no panic")
        .expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.thaw().expect("thawed");
    drop(guard);
    undone(&place, &two, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_queue_is_no_silence() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    // With this lease nobody has to ask the server anything for seconds.
    let builder = place.builder().lease(LONG).unavailable_after(LEASE * 2);
    let client = builder.connect().await.expect("a client");
    let guard = held(&client, "a").await;
    let mut waiter = waiting(&client, "a");
    queued(&place, "a", 1).await;
    let early = tokio::time::timeout(LEASE * 6, &mut waiter).await;
    assert!(early.is_err(), "it waits as long as the server lives: {early:?}");
    soon("an unlock", guard.unlock()).await.expect("released");
    let second = soon("a grant", waiter).await.expect("no panic");
    soon("an unlock", second.expect("the lock").unlock())
        .await
        .expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_deadline_busy_is_the_answer_if_it_was_the_last_word() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    // Only the waiter has anything to say: its place is refreshed when it has heard that it has one.
    let one = place.builder().lease(LONG).connect().await.expect("a client");
    let two = place.client().await;
    let guard = held(&one, "a").await;
    let waiter = go(mutex(&two, "a").try_lock_for(LEASE * 3));
    queued(&place, "a", 1).await;
    let calls = || server.command_calls().expect("stats")["evalsha"];
    let before = calls();
    eventually("it knows", || calls() > before).await;
    server.freeze().expect("frozen");
    let answer = soon("an answer", waiter).await.expect("no panic");
    assert!(answer.expect("busy is known").is_none(), "busy until then");
    server.thaw().expect("thawed");
    drop(guard);
    undone(&place, &two, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_deadline_and_no_word_at_all_it_is_unavailable() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let client = place.client().await;
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
    undone(&place, &client, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_server_at_all_is_the_same() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let builder = place.builder().unavailable_after(LEASE);
    let client = builder.connect().await.expect("a client");
    server.kill().expect("killed");
    let error = soon("an error", mutex(&client, "a").lock())
        .await
        .expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let source = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(source.contains("connect"), "says why: {source}");
    server.restart().expect("again");
    undone(&place, &client, "a").await;
}
