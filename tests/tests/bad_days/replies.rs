//! Requests that come late, replies and messages that never come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};
use latchwork_tests::{LEASE, Place, eventually};

use super::common::{
    LONG, connections, granted, held, holders, last_token, mutex, queued, scores, soon, waiting,
};

const BEAT: Duration = Duration::from_millis(50);

/// Loses the first reply that grants `key`, and tells the token that was in it.
fn lose_the_grant(proxy: &Proxy, key: String, action: Action) -> mpsc::Receiver<u64> {
    let (sender, tokens) = mpsc::channel();
    let (mut asked, mut lost) = (None, false);
    proxy.on_chunk(move |direction, id, chunk| {
        if lost {
            return Action::Pass;
        }
        if direction == Direction::ToServer && contains(chunk, "EVALSHA") && contains(chunk, &key) {
            asked = Some(id);
        } else if direction == Direction::ToClient
            && asked == Some(id)
            && let Some(token) = token_in(chunk)
        {
            sender.send(token).expect("the test waits");
            lost = true;
            return action;
        }
        Action::Pass
    });
    tokens
}

/// The token in `{1, stamp, token, left, claim}`.
fn token_in(chunk: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(chunk);
    let (_, reply) = text.split_once("*5\r\n:1\r\n:")?;
    reply.split("\r\n:").nth(1)?.parse().ok()
}

/// One grant however often it was asked for.
async fn one_grant_in_spite_of_a_lost_reply(action: Action) {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let place = Place::on(&server);
    let builder = place.builder_at(proxy.url()).lease(LONG).heartbeat(BEAT);
    let client = builder
        .operation_timeout(BEAT * 4)
        .connect()
        .await
        .expect("a client");
    for try_it in [false, true] {
        let name = format!("a{try_it}");
        let tokens = lose_the_grant(&proxy, place.key(&name), action);
        let guard = if try_it {
            let tried = soon("a try", mutex(&client, &name).try_lock_for(LONG)).await;
            tried
                .expect("an answer")
                .expect("its own hold is not somebody else's")
        } else {
            held(&client, &name).await
        };
        let token = tokens.try_recv().expect("a reply was lost");
        assert_eq!(guard.fencing_token().get(), token, "the same grant");
        assert_eq!(last_token(&place, &name), token, "the token was issued once");
        assert_eq!(holders(&place, &name).len(), 1, "one hold");
        proxy.no_hook();
        proxy.release();
        soon("an unlock", guard.unlock()).await.expect("released");
        place.settled(&name, Duration::from_secs(1)).await;
    }
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_the_reply_of_a_grant_is_lost_with_its_connection() {
    one_grant_in_spite_of_a_lost_reply(Action::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h28_the_reply_of_a_grant_never_comes() {
    one_grant_in_spite_of_a_lost_reply(Action::Hold).await;
}

/// The first request for `key` on this proxy is held; says when it is.
fn hold_the_acquire(proxy: &Proxy, key: String) -> Arc<AtomicBool> {
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

/// An acquire that was given up arrives `later` than the end of its attempt.
async fn a_late_acquire(later: Duration) {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let place = Place::on(&server);
    let steady = place.client().await;
    let builder = place.builder_at(proxy.url()).heartbeat(BEAT);
    let shaky = builder
        .operation_timeout(BEAT * 2)
        .connect()
        .await
        .expect("a client");
    let held = hold_the_acquire(&proxy, place.key("a"));
    let abandoned = waiting(&shaky, "a");
    eventually("the request is stuck", || held.load(Ordering::SeqCst)).await;
    abandoned.abort();
    // On a new connection.
    eventually("its end is answered", || shaky.live() == 0).await;
    let tombstones = scores(&place, "a")
        .iter()
        .filter(|(_, s)| (1e14..1e15).contains(s))
        .count();
    assert_eq!(tombstones, 1, "the attempt is marked as ended");
    let token = last_token(&place, "a");
    let calls = || server.command_calls().expect("stats")["evalsha"];
    tokio::time::sleep(later).await;
    let before = calls();
    proxy.release();
    eventually("the late request runs", || calls() > before).await;
    assert_eq!(last_token(&place, "a"), token, "nothing was granted");
    assert_eq!(holders(&place, "a"), Vec::<String>::new(), "nobody holds");
    let free = soon("a try", mutex(&steady, "a").try_lock())
        .await
        .expect("an answer");
    soon("an unlock", free.expect("free").unlock())
        .await
        .expect("released");
    place.settled("a", Duration::ZERO).await;
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h14_an_acquire_that_arrives_after_its_end_meets_a_tombstone() {
    a_late_acquire(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h35_an_acquire_that_arrives_after_its_tombstone_is_too_late() {
    // The tombstone lasts until a second after the latest moment that the request may be served.
    a_late_acquire(Duration::from_millis(1600)).await;
}

/// Loses the first grant message.
fn lose_the_message(proxy: &Proxy) -> Arc<AtomicBool> {
    let lost = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&lost);
    let (_, inbox) = connections(proxy);
    proxy.on_chunk(move |direction, id, chunk| {
        let first = direction == Direction::ToClient
            && id == inbox
            && contains(chunk, "g .")
            && !said.swap(true, Ordering::SeqCst);
        if first { Action::Drop } else { Action::Pass }
    });
    lost
}

/// A hand-off whose message is lost; the waiter looks at every third of its `lease`.
async fn a_lost_grant(lease: Duration, window: Duration) {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let place = Place::on(&server);
    let steady = place.builder().lease(LONG).connect().await.expect("a client");
    let builder = place.builder_at(proxy.url()).lease(lease).claim_window(window);
    let shaky = builder.connect().await.expect("a client");
    let first = held(&steady, "a").await;
    let waiter = waiting(&shaky, "a");
    queued(&place, "a", 1).await;
    let lost = lose_the_message(&proxy);
    let token = first.fencing_token();
    soon("an unlock", first.unlock()).await.expect("released");
    let second = granted(waiter).await;
    assert!(lost.load(Ordering::SeqCst), "the message was lost");
    assert!(second.fencing_token() > token, "tokens rise");
    assert_eq!(
        last_token(&place, "a"),
        second.fencing_token().get(),
        "the newest"
    );
    // It has its whole lease, not what was left of the claim.
    eventually("it is confirmed", || {
        second.valid_for() > window || second.is_lost()
    })
    .await;
    assert!(!second.is_lost(), "held");
    soon("an unlock", second.unlock()).await.expect("released");
    place.settled("a", Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_lost_grant_is_found_at_the_next_tick() {
    a_lost_grant(Duration::from_secs(3), Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_lost_grant_that_lapsed_is_put_back_and_granted_again() {
    // The claim ends long before anybody looks.
    a_lost_grant(LONG / 2, Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_lost_grant_with_others_behind_it() {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let place = Place::on(&server);
    let steady = place.client().await;
    let shaky = place.builder_at(proxy.url()).connect().await.expect("a client");
    let first = held(&steady, "a").await;
    let next = waiting(&shaky, "a");
    queued(&place, "a", 1).await;
    let behind = waiting(&steady, "a");
    queued(&place, "a", 2).await;
    let lost = lose_the_message(&proxy);
    soon("an unlock", first.unlock()).await.expect("released");
    for waiter in [next, behind] {
        let guard = granted(waiter).await;
        assert!(!guard.is_lost(), "valid");
        soon("an unlock", guard.unlock()).await.expect("released");
    }
    assert!(lost.load(Ordering::SeqCst), "the message was lost");
    place.settled("a", LEASE).await;
}
