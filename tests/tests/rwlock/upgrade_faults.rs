//! An upgrade that fails hands back a guard that is still valid, or reports the loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchwork_rwlock::{Client, ErrorKind, Loss, Renew, RwLock};
use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, LEASE, MINUTE, eventually, go, soon};

use super::common::lock;

#[tokio::test]
async fn an_upgrade_of_a_lost_guard_fails_and_hands_nothing_back() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = RwLock::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    soon("loss", upgradable.lost()).await;
    let error = upgradable.upgrade().await.unwrap_err();
    assert!(!error.is_busy(), "{error}");
    assert_eq!(error.error().unwrap().loss(), Some(Loss::Expired), "{error}");
    assert!(error.into_guard().is_none(), "there is nothing to hand back");
    let upgradable = lock.upgradable_read().await.unwrap();
    lock.force_unlock().await.unwrap();
    soon("loss", upgradable.lost()).await;
    let error = upgradable.try_upgrade().await.unwrap_err();
    assert_eq!(error.error().unwrap().loss(), Some(Loss::Forced), "{error}");
    assert!(error.into_guard().is_none(), "there is nothing to hand back");
    soon("a writer", lock.write())
        .await
        .unwrap()
        .unlock()
        .await
        .unwrap();
    eventually("nothing is left", || client.live() == 0).await;
    fixture.settled().await;
}

#[tokio::test]
async fn a_hold_that_is_not_renewed_ends_while_its_upgrade_waits() {
    let fixture = Fixture::of(READ);
    let (client, other) = (fixture.client().await, fixture.patient().await);
    let manual = RwLock::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .unwrap();
    let reader = lock(&other).read().await.unwrap();
    let upgradable = manual.upgradable_read().await.unwrap();
    let error = soon("the upgrade", upgradable.upgrade()).await.unwrap_err();
    assert_eq!(error.error().unwrap().loss(), Some(Loss::Expired), "{error}");
    assert!(error.into_guard().is_none(), "lost");
    fixture.queued(0).await;
    // With renewal it waits for as long as it takes.
    let upgradable = lock(&client).upgradable_read().await.unwrap();
    let upgrading = go(upgradable.upgrade());
    fixture.queued(1).await;
    tokio::time::sleep(LEASE * 2).await;
    assert!(!upgrading.is_finished(), "it waits");
    reader.unlock().await.unwrap();
    let writer = soon("the upgrade", upgrading).await.unwrap().unwrap();
    writer.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn forced_during_an_upgrade() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (lock, other) = (lock(&one), lock(&two));
    let reader = other.read().await.unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let next = fixture.enqueue(other.write()).await;
    let upgrading = go(upgradable.upgrade());
    fixture.queued(2).await;
    assert!(other.force_unlock().await.unwrap(), "two held it");
    let error = soon("the upgrade", upgrading).await.unwrap().unwrap_err();
    assert_eq!(error.error().unwrap().loss(), Some(Loss::Forced), "{error}");
    assert!(error.into_guard().is_none(), "lost");
    let next = soon("the next", next).await.unwrap();
    assert!(!next.is_lost(), "nobody took it away");
    assert!(reader.unlock().await.unwrap_err().is_lost(), "that one too");
    next.unlock().await.expect("it held it to the end");
    fixture.settled().await;
}

/// A client whose holds and places are looked at every second.
async fn client_at(fixture: &Fixture<'_>, url: String) -> Client {
    let builder = fixture.builder_at(url).lease(Duration::from_secs(9));
    let builder = builder.heartbeat(Duration::from_millis(100));
    builder.connect().await.expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h53_an_upgrade_survives_a_restart_that_remembers() {
    let server = TestServer::builder().persist(true).start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let client = client_at(&fixture, server.url()).await;
    let lock = lock(&client);
    let reader = lock.read().await.unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let upgrading = go(upgradable.upgrade());
    fixture.queued(1).await;
    let next = fixture.enqueue(lock.write()).await;
    server.restart().expect("it comes back");
    fixture.queued(2).await;
    soon("an unlock", reader.unlock()).await.unwrap();
    let writer = soon("the upgrade", upgrading).await.unwrap().unwrap();
    assert!(!next.is_finished(), "it went before the queue");
    let token = writer.fencing_token();
    soon("an unlock", writer.unlock()).await.unwrap();
    let next = soon("the next", next).await.unwrap();
    assert!(next.fencing_token() > token, "tokens rise");
    soon("an unlock", next.unlock()).await.unwrap();
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h52_an_upgrade_is_lost_by_a_restart_that_forgets() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let client = client_at(&fixture, server.url()).await;
    let lock = lock(&client);
    let reader = lock.read().await.unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let upgrading = go(upgradable.upgrade());
    fixture.queued(1).await;
    server.restart().expect("it comes back");
    let error = soon("the upgrade", upgrading).await.unwrap().unwrap_err();
    let kind = error.error().map(latchwork_rwlock::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Lost), "{error}");
    assert!(error.into_guard().is_none(), "lost");
    soon("loss", reader.lost()).await;
    let writer = soon("a writer", lock.write()).await.unwrap();
    writer.unlock().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_an_upgrade_whose_message_is_lost_is_found_by_asking() {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let fixture = Fixture::on(&server).with(READ);
    let client = client_at(&fixture, proxy.url()).await;
    let other = fixture.patient().await;
    let reader = lock(&other).read().await.unwrap();
    let upgradable = lock(&client).upgradable_read().await.unwrap();
    let upgrading = go(upgradable.upgrade());
    fixture.queued(1).await;
    let lost = Arc::new(AtomicBool::new(false));
    proxy.on_chunk({
        let lost = Arc::clone(&lost);
        move |direction, _, chunk| {
            let grant = direction == Direction::ToClient && contains(chunk, "$7\r\nmessage\r\n");
            if grant && !lost.swap(true, Ordering::SeqCst) {
                return Action::Drop;
            }
            Action::Pass
        }
    });
    reader.unlock().await.unwrap();
    let writer = soon("the upgrade", upgrading).await.unwrap().unwrap();
    assert!(lost.load(Ordering::SeqCst), "a message was lost");
    let info = lock(&other).inspect().await.unwrap();
    assert_eq!(
        info.holders[0].token,
        Some(writer.fencing_token()),
        "the same grant"
    );
    writer.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_an_upgrade_whose_reply_is_lost_is_granted_once() {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let fixture = Fixture::on(&server).with(READ);
    let client = client_at(&fixture, proxy.url()).await;
    let upgradable = lock(&client).upgradable_read().await.unwrap();
    let lost = Arc::new(AtomicBool::new(false));
    proxy.on_chunk({
        let lost = Arc::clone(&lost);
        move |direction, _, chunk| {
            // {1, stamp, token, left, claim}
            let grant = direction == Direction::ToClient && contains(chunk, "*5\r\n:1\r\n");
            if grant && !lost.swap(true, Ordering::SeqCst) {
                return Action::Cut;
            }
            Action::Pass
        }
    });
    let writer = soon("the upgrade", upgradable.upgrade()).await.unwrap();
    assert!(lost.load(Ordering::SeqCst), "a reply was lost");
    let token = server.admin(&["ZSCORE", &format!("{}:rwlock:{{a}}", fixture.prefix), "t1"]);
    let token = token.unwrap().text().unwrap();
    assert_eq!(
        token.parse(),
        Ok(writer.fencing_token().get()),
        "one token was issued"
    );
    soon("an unlock", writer.unlock()).await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn an_upgrade_without_a_reply_hands_back_a_guard_that_is_still_valid() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let (proxy, client) = fixture
        .proxied_with(|b| b.lease(MINUTE).operation_timeout(LEASE * 2))
        .await;
    let upgradable = lock(&client).upgradable_read().await.unwrap();
    proxy.block(Direction::ToServer);
    let error = soon("the upgrade", upgradable.try_upgrade()).await.unwrap_err();
    let kind = error.error().map(latchwork_rwlock::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Unavailable), "{error}");
    let upgradable = error.into_guard().expect("it is valid, and handed back");
    assert!(!upgradable.is_lost());
    proxy.unblock(Direction::ToServer);
    soon("an unlock", upgradable.unlock()).await.unwrap();
    fixture.settled().await;
}
