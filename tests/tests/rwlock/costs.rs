//! Reads, writes, upgrades and downgrades take the requests and messages that they should.

use latchwork_rwlock::RwLockReadGuard;
use latchwork_testkit::{ConnKind, TestServer};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, MINUTE, eventually, messages, soon};
use tokio::task::JoinHandle;

use super::common::lock;

#[tokio::test]
async fn alone_a_read_or_write_is_two_requests_and_an_upgrade_or_downgrade_one() {
    let fixture = Fixture::of(READ);
    let (proxy, client) = fixture.counted().await;
    let lock = lock(&client);
    for _ in 0..10 {
        lock.read().await.unwrap().unlock().await.unwrap();
        lock.write().await.unwrap().unlock().await.unwrap();
    }
    assert_eq!(proxy.requests_of(ConnKind::Commands), 40, "take and release");
    proxy.reset_counts();
    let reading = lock.upgradable_read().await.unwrap();
    let writing = reading.upgrade().await.unwrap();
    let reading = writing.downgrade_to_upgradable().await.unwrap();
    let reading = reading.downgrade().await.unwrap();
    reading.unlock().await.unwrap();
    eventually("nothing is under way", || client.live() == 0).await;
    assert_eq!(proxy.requests_of(ConnKind::Commands), 5, "one each");
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_behind_a_writer_are_granted_together_with_one_message_per_client() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let holder = fixture.patient().await;
    let (one, two) = (fixture.counted().await, fixture.counted().await);
    let writer = lock(&holder).write().await.unwrap();
    let mut readers: Vec<JoinHandle<RwLockReadGuard>> = Vec::new();
    for (_, client) in [&one, &two].into_iter().cycle().take(20) {
        readers.push(fixture.enqueue(lock(client).read()).await);
    }
    server.reset_stats().unwrap();
    writer.unlock().await.unwrap();
    assert_eq!(fixture.holders().len(), 20, "all in the step of the release");
    let mut guards = Vec::new();
    for reader in readers {
        guards.push(soon("a reader", reader).await.unwrap());
    }
    assert_eq!(messages(&server), 2, "one for each client");
    for (proxy, _) in [&one, &two] {
        assert_eq!(proxy.requests_of(ConnKind::Commands), 10, "each asked once");
    }
    drop(guards);
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adjacent_readers_are_admitted_together_and_those_behind_a_writer_wait_for_it() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let holder = fixture.patient().await;
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let held = lock(&holder).write().await.unwrap();
    // r r w r r, of two clients.
    let mut first = Vec::new();
    for client in [&one, &two] {
        first.push(fixture.enqueue(lock(client).read()).await);
    }
    let writer = fixture.enqueue(lock(&one).write()).await;
    let mut last = Vec::new();
    for client in [&one, &two] {
        last.push(fixture.enqueue(lock(client).read()).await);
    }
    server.reset_stats().unwrap();
    held.unlock().await.unwrap();
    let mut guards = Vec::new();
    for reader in first {
        guards.push(soon("the first two", reader).await.unwrap());
    }
    assert_eq!(
        (fixture.holders().len(), fixture.waiters()),
        (2, 3),
        "these two, no others"
    );
    assert_eq!(messages(&server), 2, "one for each client");
    for guard in guards {
        assert!(!writer.is_finished(), "one reads");
        guard.unlock().await.unwrap();
    }
    let writer = soon("the writer", writer).await.unwrap();
    assert_eq!((fixture.holders().len(), fixture.waiters()), (1, 2), "alone");
    server.reset_stats().unwrap();
    writer.unlock().await.unwrap();
    for reader in last {
        soon("the last two", reader)
            .await
            .unwrap()
            .unlock()
            .await
            .unwrap();
    }
    assert_eq!(messages(&server), 2, "one for each client");
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_hold_and_the_writer_waits_for_the_last_one() {
    const READERS: usize = 1000;
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let holder = fixture.patient().await;
    let client = fixture.client_with(|b| b.lease(MINUTE).heartbeat(MINUTE)).await;
    let lock = lock(&client);
    let held = super::common::lock(&holder).write().await.unwrap();
    let readers: Vec<_> = (0..READERS).map(|_| latchwork_tests::go(lock.read())).collect();
    fixture.queued(READERS).await;
    server.reset_stats().unwrap();
    held.unlock().await.unwrap();
    let mut guards = Vec::new();
    for reader in readers {
        guards.push(soon("a reader", reader).await.unwrap().unwrap());
    }
    assert_eq!(fixture.holders().len(), READERS, "all at once");
    assert_eq!(messages(&server), 10, "one message for each hundred of them");
    let writer = fixture.enqueue(super::common::lock(&holder).write()).await;
    let last = guards.pop().unwrap();
    for guard in guards {
        guard.unlock().await.unwrap();
    }
    assert!(!writer.is_finished(), "one reads");
    last.unlock().await.unwrap();
    soon("the writer", writer).await.unwrap().unlock().await.unwrap();
    fixture.settled().await;
}
