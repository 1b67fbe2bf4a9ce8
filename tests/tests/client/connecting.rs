//! A client connects from a URL, a client or connection info, and databases are separate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use latchwork_mutex::{Client, redis};
use latchwork_testkit::{Action, Direction, TestServer, contains};
use latchwork_tests::{Fixture, go, locked, mutex};
use redis::IntoConnectionInfo;

#[tokio::test]
async fn connects_as_the_users_client_or_connection_info_does() {
    let fixture = Fixture::shared();
    let theirs = redis::Client::open(fixture.server.url()).expect("a client");
    let info = fixture.server.url().into_connection_info().expect("an URL");
    let first = Client::builder()
        .redis(&theirs)
        .prefix(&fixture.prefix)
        .connect()
        .await
        .expect("a client");
    let second = Client::builder()
        .connection_info(info)
        .prefix(&fixture.prefix)
        .connect()
        .await
        .expect("a client");
    let guard = locked(&first, "a").await;
    let other = mutex(&second, "a");
    assert!(
        other.try_lock().await.expect("an answer").is_none(),
        "the same lock"
    );
    guard.unlock().await.expect("released");
    assert!(second.ping().await.is_ok(), "it answers");
    let server = second.server().expect("greeted");
    assert_eq!(
        server.version,
        fixture
            .server
            .version()
            .to_string()
            .rsplit(' ')
            .next()
            .expect("a word"),
        "its version"
    );
}

#[tokio::test]
async fn h60_databases_have_locks_of_their_own_and_messages_do_not_mix() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let zero = fixture.client().await;
    let three = fixture
        .builder_at(format!("{}/3", server.url()))
        .connect()
        .await
        .expect("a client");
    let (in_zero, in_three) = (mutex(&zero, "a"), mutex(&three, "a"));
    let first = in_zero.lock().await.expect("the lock");
    let second = in_three
        .try_lock()
        .await
        .expect("an answer")
        .expect("another database, another lock");
    let waiter = go(in_three.lock());
    // Channels are global: the hand-off in one database must reach its own waiter, and no other.
    let waits = || async { in_three.inspect().await.expect("an answer").queue_len == 1 };
    while !waits().await {
        tokio::task::yield_now().await;
    }
    let in_vain = go(in_zero.lock());
    fixture.queued(1).await;
    second.unlock().await.expect("released");
    let third = waiter.await.expect("no panic").expect("handed over");
    assert!(!in_vain.is_finished(), "the other database's waiter was not told");
    assert!(!first.is_lost(), "nor its holder disturbed");
    third.unlock().await.expect("released");
    first.unlock().await.expect("released");
    in_vain
        .await
        .expect("no panic")
        .expect("handed over")
        .unlock()
        .await
        .expect("released");
}

/// With RESP3, messages could be taken for answers, and Lua's `false` and doubles look otherwise.
#[tokio::test]
async fn h61_resp2_is_asked_for_whatever_the_url_says() {
    let fixture = Fixture::shared();
    let proxy = fixture.proxy();
    let asked = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&asked);
    proxy.on_chunk(move |direction, _, chunk| {
        if direction == Direction::ToServer && contains(chunk, "HELLO\r\n$1\r\n3") {
            said.store(true, Ordering::SeqCst);
        }
        Action::Pass
    });
    let url = format!("{}/?protocol=resp3", proxy.url());
    let theirs = url.as_str().into_connection_info().expect("an URL");
    let protocol = theirs.redis_settings().protocol();
    assert_eq!(protocol, redis::ProtocolVersion::RESP3, "the URL says so");
    let client = fixture.builder_at(url).connect().await.expect("a client");
    locked(&client, "a").await.unlock().await.expect("released");
    assert!(client.is_listening(), "the inbox is connected, too");
    assert!(!asked.load(Ordering::SeqCst), "nobody asked for RESP3");
}
