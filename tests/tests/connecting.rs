//! The ways to connect, and databases.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use latchwork_mutex::{Client, Mutex, redis};
use latchwork_testkit::TestServer;
use latchwork_tests::{Place, eventually, go};
use redis::IntoConnectionInfo;

#[tokio::test]
async fn connects_as_the_users_client_or_connection_info_does() {
    let place = Place::shared();
    let theirs = redis::Client::open(place.server.url()).expect("a client");
    let info = place.server.url().into_connection_info().expect("an URL");
    let first = Client::builder()
        .redis(&theirs)
        .prefix(&place.prefix)
        .connect()
        .await
        .expect("a client");
    let second = Client::builder()
        .connection_info(info)
        .prefix(&place.prefix)
        .connect()
        .await
        .expect("a client");
    let guard = Mutex::new(&first, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let other = Mutex::new(&second, "a").expect("a mutex");
    assert!(
        other.try_lock().await.expect("an answer").is_none(),
        "the same lock"
    );
    guard.unlock().await.expect("released");
    assert!(second.ping().await.is_ok(), "it answers");
    let server = second.server().expect("greeted");
    assert_eq!(
        server.version,
        place
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
    let place = Place::on(&server);
    let zero = place.builder().connect().await.expect("a client");
    let three = place
        .builder_at(format!("{}/3", server.url()))
        .connect()
        .await
        .expect("a client");
    let (in_zero, in_three) = (
        Mutex::new(&zero, "a").expect("a mutex"),
        Mutex::new(&three, "a").expect("a mutex"),
    );
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
    eventually("it waits", || place.members("a").len() == 3).await;
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
