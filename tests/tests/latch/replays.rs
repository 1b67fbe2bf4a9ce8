//! A request that is repeated or late never counts twice, nor in a later generation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchwork_latch::{Client, ClientBuilder, ErrorKind};
use latchwork_testkit::{Action, ConnKind, Direction, Proxy, TestServer, contains};
use latchwork_tests::{Fixture, LONG, eventually, go, lose_the_reply, soon};

use super::common::{expect, latch, on, opened, passed, settled, shared, waiting};

const BEAT: Duration = Duration::from_millis(50);
/// A busy machine answers within it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A client behind a proxy that gives up a request after [`TIMEOUT`], and its connection after that.
async fn shaky(fixture: &Fixture<'_>) -> (Proxy, Client) {
    let options = |builder: ClientBuilder| builder.lease(LONG).heartbeat(BEAT).operation_timeout(TIMEOUT);
    fixture.proxied_with(options).await
}

/// Holds the next request about the latch; says when it does.
fn hold_the_request(proxy: &Proxy, key: String) -> Arc<AtomicBool> {
    let held = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&held);
    proxy.on_chunk(move |direction, _, chunk| {
        let first = direction == Direction::ToServer
            && contains(chunk, "EVALSHA")
            && contains(chunk, &key)
            && !said.swap(true, Ordering::SeqCst);
        if first { Action::Hold } else { Action::Pass }
    });
    held
}

/// Everything that changes a latch is done once, whatever becomes of its answer.
async fn once_in_spite_of_a_lost_answer(action: Action) {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxy, client) = shaky(&fixture).await;
    let made = latch(&client, 10);
    let next = || lose_the_reply(&proxy, fixture.key(), action);
    let gone = |lost: &AtomicBool| {
        assert!(lost.load(Ordering::SeqCst), "an answer was lost");
        proxy.no_hook();
        proxy.release();
    };
    let lost = next();
    assert_eq!(
        soon("a count", made.count_down()).await.expect("counted"),
        9,
        "once"
    );
    gone(&lost);
    let lost = next();
    assert_eq!(
        soon("a count", made.count_down_by(3)).await.expect("counted"),
        6,
        "once"
    );
    gone(&lost);
    let lost = next();
    let once = soon("a count", made.count_down_once("x")).await;
    assert_eq!(once.expect("counted"), 5, "once");
    gone(&lost);
    let lost = next();
    let both = go({
        let made = made.clone();
        async move { made.count_down_and_wait().await }
    });
    eventually("it is lost", || lost.load(Ordering::SeqCst)).await;
    gone(&lost);
    fixture.queued(1).await;
    assert_eq!(made.count().await.expect("an answer"), 4, "counted once");
    let lost = next();
    soon("a reset", made.reset(7)).await.expect("reset");
    gone(&lost);
    assert_eq!(made.inspect().await.expect("an answer").generation, 2, "one more");
    expect(soon("a reset", both).await.expect("no panic"), ErrorKind::Reset);
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_the_answer_of_a_count_down_is_lost_with_its_connection() {
    once_in_spite_of_a_lost_answer(Action::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h28_the_answer_of_a_count_down_never_comes() {
    once_in_spite_of_a_lost_answer(Action::Hold).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_a_count_down_that_is_cut_off_for_long_counts_once() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxy, client) = shaky(&fixture).await;
    let made = latch(&client, 10);
    let steady = latch(&fixture.client().await, 10);
    let lost = lose_the_reply(&proxy, fixture.key(), Action::Cut);
    proxy.refuse(true);
    let counting = go({
        let made = made.clone();
        async move { made.count_down().await }
    });
    eventually("the answer is lost", || lost.load(Ordering::SeqCst)).await;
    let counts = async {
        while steady.count().await.expect("an answer") != 9 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("a count", counts).await;
    // For much longer than one copy of a request is good for.
    tokio::time::sleep(TIMEOUT + Duration::from_millis(1500)).await;
    assert_eq!(
        steady.count_down().await.expect("counted"),
        8,
        "it drops old marks"
    );
    proxy.refuse(false);
    assert_eq!(
        soon("a count", counting)
            .await
            .expect("no panic")
            .expect("counted"),
        8
    );
    assert_eq!(steady.count().await.expect("an answer"), 8, "once");
    settled(&fixture, &[&client]).await;
}

/// What is stuck in the proxy goes on, and runs at the server.
async fn let_it_come(server: &TestServer, proxy: &Proxy) {
    let calls = || server.command_calls().expect("stats")["evalsha"];
    let before = calls();
    proxy.release();
    eventually("the late request runs", || calls() > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h63_a_late_copy_of_a_count_down_does_not_count_in_the_next_generation() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxy, client) = shaky(&fixture).await;
    let steady = fixture.client().await;
    latch(&steady, 1).count().await.expect("made");
    let held = hold_the_request(&proxy, fixture.key());
    let made = latch(&client, 1);
    // The first copy is stuck; another one, on a new connection, finishes the latch.
    assert_eq!(soon("a count", made.count_down()).await.expect("counted"), 0);
    assert!(held.load(Ordering::SeqCst), "the first is stuck");
    let steady = opened(&steady);
    steady.reset(1).await.expect("reset");
    let_it_come(&server, &proxy).await;
    assert_eq!(steady.count().await.expect("an answer"), 1, "not counted");
    assert_eq!(steady.count_down().await.expect("counted"), 0, "and it goes on");
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h14_a_count_down_that_was_dropped_does_not_count_later() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxy, client) = shaky(&fixture).await;
    let steady = fixture.client().await;
    let seen = latch(&steady, 3);
    seen.count().await.expect("made");
    let held = hold_the_request(&proxy, fixture.key());
    let made = latch(&client, 3);
    let dropped = go(async move { made.count_down().await });
    eventually("the request is stuck", || held.load(Ordering::SeqCst)).await;
    dropped.abort();
    // On a new connection.
    eventually("its end is answered", || client.live() == 0).await;
    seen.reset(3).await.expect("reset");
    let_it_come(&server, &proxy).await;
    assert_eq!(seen.count().await.expect("an answer"), 3, "not counted");
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h14_a_wait_that_was_dropped_leaves_no_place_later() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxy, client) = shaky(&fixture).await;
    let held = hold_the_request(&proxy, fixture.key());
    let dropped = waiting(&latch(&client, 3));
    eventually("the request is stuck", || held.load(Ordering::SeqCst)).await;
    dropped.abort();
    eventually("its end is answered", || client.live() == 0).await;
    let_it_come(&server, &proxy).await;
    settled(&fixture, &[&client]).await;
    let made = fixture
        .scores()
        .iter()
        .any(|(member, _)| member.starts_with("n1:"));
    assert!(!made, "nor a latch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_may_come_before_the_answer() {
    let fixture = shared();
    let (proxy, client) = fixture.counted().await;
    let steady = fixture.client().await;
    let seen = latch(&steady, 1);
    for reset in [false, true] {
        let held = lose_the_reply(&proxy, fixture.key(), Action::Hold);
        let waiter = waiting(&latch(&client, 1));
        fixture.queued(1).await;
        eventually("the answer is stuck", || held.load(Ordering::SeqCst)).await;
        if reset {
            seen.reset(1).await.expect("reset");
        } else {
            seen.count_down().await.expect("counted");
        }
        // A message that came is not counted anywhere; one more that comes after it is.
        let probe = ["PUBLISH", &format!("{}:inbox:none", fixture.prefix), "x"];
        fixture.server.admin(&probe).expect("an answer");
        tokio::time::sleep(BEAT).await;
        assert!(!waiter.is_finished(), "it does not know what it waits for");
        proxy.no_hook();
        proxy.release();
        let result = soon("an end", waiter).await.expect("no panic");
        if reset {
            expect(result, ErrorKind::Reset);
        } else {
            result.expect("it passes");
        }
        assert_eq!(proxy.requests_of(ConnKind::Commands), 1, "without asking again");
        settled(&fixture, &[&client]).await;
        seen.reset(1).await.expect("reset");
        proxy.reset_counts();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h63_a_message_about_an_earlier_generation_releases_nobody() {
    let fixture = shared();
    let (proxy, client) = fixture.proxied().await;
    let steady = fixture.client().await;
    let seen = latch(&steady, 1);
    let held = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&held);
    proxy.on_chunk(move |direction, _, chunk| {
        let first =
            direction == Direction::ToClient && contains(chunk, "d .") && !said.swap(true, Ordering::SeqCst);
        if first { Action::Hold } else { Action::Pass }
    });
    let waiter = waiting(&latch(&client, 1));
    fixture.queued(1).await;
    seen.count_down().await.expect("counted");
    passed(waiter).await; // by a tick
    assert!(held.load(Ordering::SeqCst), "the message is stuck");
    seen.reset(1).await.expect("reset");
    let next = waiting(&latch(&client, 1));
    fixture.queued(1).await;
    proxy.no_hook();
    proxy.release();
    tokio::time::sleep(BEAT * 4).await;
    assert!(!next.is_finished(), "the old message is not about it");
    assert_eq!(fixture.waiters(), 1, "it waits");
    seen.count_down().await.expect("counted");
    passed(next).await;
    settled(&fixture, &[&client]).await;
}
