//! Foreign keys, full memory.

use std::time::Duration;

use latchwork_mutex::{ErrorKind, Loss};
use latchwork_testkit::TestServer;
use latchwork_tests::{LEASE, Place, eventually, go};

use super::{expect, mutex, soon};

#[tokio::test]
async fn h41_foreign_data_under_our_key_is_left_alone() {
    let place = Place::shared();
    let client = place.client().await;
    let admin = |args: &[&str]| place.server.admin(args).expect("an answer");
    let kinds: [(&str, &[&str]); 4] = [
        ("text", &["SET", "value"]),
        ("list", &["RPUSH", "value"]),
        ("set", &["SADD", "value"]),
        // A sorted set, but not ours: no `t1`.
        ("zset", &["ZADD", "5", "value"]),
    ];
    for (name, command) in kinds {
        let key = place.key(name);
        let mut words = vec![command[0], &key];
        words.extend(&command[1..]);
        admin(&words);
        admin(&["PEXPIRE", &key, "600000"]);
        let before = admin(&["DUMP", &key]);
        let mutex = mutex(&client, name);
        let named = format!("`{name}`");
        let kind = ErrorKind::WrongType;
        expect(soon("a refusal", mutex.lock()).await, kind, &[&named, "foreign"]);
        expect(
            soon("a refusal", mutex.try_lock()).await,
            kind,
            &[&named, "foreign"],
        );
        expect(
            soon("a refusal", mutex.try_lock_for(LEASE)).await,
            kind,
            &[&named],
        );
        expect(
            soon("a refusal", mutex.is_locked()).await,
            kind,
            &[&named, "foreign"],
        );
        expect(
            soon("a refusal", mutex.inspect()).await,
            kind,
            &[&named, "foreign"],
        );
        expect(
            soon("a refusal", mutex.force_unlock()).await,
            kind,
            &[&named, "foreign"],
        );
        assert_eq!(client.live(), 0, "{name}: no slot is left");
        assert_eq!(admin(&["DUMP", &key]), before, "{name}: unchanged");
    }
}

#[tokio::test]
async fn h41_a_lock_that_is_overwritten_is_lost_and_what_is_there_stays() {
    let place = Place::shared();
    // The server is not silent, so this is not what ends the wait.
    let builder = place.builder().unavailable_after(LEASE * 1000);
    let client = builder.connect().await.expect("a client");
    let kept = mutex(&client, "kept").lock().await.expect("the lock");
    let guard = mutex(&client, "a").lock().await.expect("the lock");
    let waiter = go(mutex(&client, "a").lock());
    eventually("it queues", || place.members("a").len() == 3).await;
    let admin = |args: &[&str]| place.server.admin(args).expect("an answer");
    let key = place.key("a");
    admin(&["SET", &key, "foreign", "PX", "600000"]);
    let loss = soon("a loss", guard.lost()).await;
    assert!(matches!(loss, Loss::Expired | Loss::Vanished), "{loss}");
    expect(guard.unlock().await, ErrorKind::Lost, &["`a`"]);
    let refused = soon("a refusal", waiter).await.expect("no panic");
    expect(refused, ErrorKind::WrongType, &["`a`", "foreign"]);
    assert_eq!(
        admin(&["GET", &key]).text().as_deref(),
        Some("foreign"),
        "unchanged"
    );
    eventually("one slot is left", || client.live() == 1).await;
    assert!(!kept.is_lost(), "renewed all the same, in the same requests");
    kept.unlock().await.expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h40_memory_is_full() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let client = place.client().await;
    let held = mutex(&client, "held").lock().await.expect("the lock");
    let first = mutex(&client, "awaited").lock().await.expect("the lock");
    let waiter = go(mutex(&client, "awaited").lock());
    eventually("it queues", || place.members("awaited").len() == 3).await;
    server.admin(&["CONFIG", "SET", "maxmemory", "1"]).expect("full");
    let refused = server.admin(&["SET", "x", "y"]).expect_err("full");
    assert!(refused.to_string().contains("OOM"), "{refused}");

    let before = place.members("held");
    for name in ["new", "held"] {
        let mutex = mutex(&client, name);
        let named = format!("`{name}`");
        let words = [named.as_str(), "memory", "maxmemory"];
        let error = expect(
            soon("a refusal", mutex.lock()).await,
            ErrorKind::OutOfMemory,
            &words,
        );
        assert!(error.is_transient(), "it may pass");
        expect(
            soon("a refusal", mutex.try_lock()).await,
            ErrorKind::OutOfMemory,
            &words,
        );
    }
    assert_eq!(place.members("new"), Vec::<String>::new(), "nothing half done");
    assert_eq!(place.members("held"), before, "nothing half done");
    let again = soon("a connection", place.builder().connect())
        .await
        .expect("connects");

    // What is held goes on: renewals, extensions, hand-off, release.
    tokio::time::sleep(LEASE * 2).await;
    held.extend(LEASE * 3).await.expect("extended");
    assert!(!held.is_lost() && !first.is_lost(), "renewed");
    assert!(
        mutex(&again, "held").is_locked().await.expect("an answer"),
        "seen"
    );
    first.unlock().await.expect("released");
    let second = soon("a grant", waiter)
        .await
        .expect("no panic")
        .expect("the lock");
    tokio::time::sleep(LEASE).await;
    assert!(!second.is_lost(), "confirmed");
    second.unlock().await.expect("released");
    held.unlock().await.expect("released");
    for name in ["new", "held", "awaited"] {
        place.settled(name, Duration::ZERO).await;
    }
    assert_eq!(client.live(), 0, "no slot is left");

    server.admin(&["CONFIG", "SET", "maxmemory", "0"]).expect("room");
    let guard = soon("a lock", mutex(&client, "new").lock())
        .await
        .expect("the lock");
    guard.unlock().await.expect("released");
    place.check_leftovers();
}
