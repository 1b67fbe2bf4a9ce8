//! A writer becomes a reader, or an upgradable reader a plain one, without a gap.

use latchwork_rwlock::{ErrorKind, Loss, Renew, RwLock};
use latchwork_testkit::{ConnKind, Direction, TestServer};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, LEASE, LONG, MEDIUM, eventually, go, lose_forced, messages, soon};

use super::common::lock;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downgrade_lets_the_readers_at_the_front_in_and_keeps_writers_out() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let holder = fixture.patient().await;
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let writing = lock(&holder).write().await.unwrap();
    let mut front = Vec::new();
    for client in [&one, &two, &one] {
        front.push(fixture.enqueue(lock(client).read()).await);
    }
    let writer = fixture.enqueue(lock(&one).write()).await;
    let behind = fixture.enqueue(lock(&two).read()).await;
    server.reset_stats().unwrap();
    let reading = writing.downgrade().await.unwrap();
    assert_eq!(
        (fixture.holders().len(), fixture.waiters()),
        (4, 2),
        "in the same step"
    );
    let mut guards = vec![reading];
    for reader in front {
        guards.push(soon("a reader", reader).await.unwrap());
    }
    assert_eq!(messages(&server), 2, "one for each client");
    for guard in guards {
        assert!(!writer.is_finished(), "some read");
        guard.unlock().await.unwrap();
    }
    soon("the writer", writer).await.unwrap().unlock().await.unwrap();
    soon("the last", behind).await.unwrap().unlock().await.unwrap();
    fixture.over().await;
}

#[tokio::test]
async fn a_downgraded_hold_is_a_reader_like_others() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = lock(&client);
    let writing = lock.write().await.unwrap();
    let view = writing.hold();
    let reading = writing.downgrade().await.unwrap();
    assert_eq!(reading.hold().fencing_token(), None, "it has no token");
    assert!(!view.is_lost(), "the writer's hold was given up, not lost");
    let info = lock.inspect().await.unwrap();
    assert_eq!(info.holders.len(), 1, "{info:?}");
    assert_eq!(
        (info.holders[0].shared, info.holders[0].weight),
        (true, 1),
        "{info:?}"
    );
    let other = lock.try_read().await.unwrap().expect("shared");
    let upgradable = lock.try_upgradable_read().await.unwrap().expect("shared");
    other.unlock().await.unwrap();
    upgradable.unlock().await.unwrap();
    tokio::time::sleep(LEASE * 2).await;
    assert!(!reading.is_lost(), "it is renewed");
    reading.unlock().await.unwrap();
    assert_eq!(client.live(), 0, "no slot is left");
    fixture.settled().await;
}

#[tokio::test]
async fn a_renewal_that_is_answered_during_a_downgrade_is_no_loss() {
    let fixture = Fixture::of(READ);
    let (proxy, client) = fixture.proxied_with(|b| b.lease(MEDIUM)).await;
    let writing = lock(&client).write().await.unwrap();
    let view = writing.hold();
    let before = proxy.requests_of(ConnKind::Commands);
    proxy.block(Direction::ToClient);
    let downgrade = go(writing.downgrade());
    // The downgrade, the renewal of what the server has replaced by then, and the downgrade again.
    eventually("three requests are sent", || {
        proxy.requests_of(ConnKind::Commands) >= before + 3
    })
    .await;
    proxy.unblock(Direction::ToClient);
    let reading = soon("the downgrade", downgrade).await.unwrap().unwrap();
    assert!(!view.is_lost(), "the writer's hold was given up, not lost");
    reading.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn a_downgraded_upgradable_reader_makes_room_for_the_next() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (lock, other) = (lock(&one), lock(&two));
    // As the writer it was, too.
    let writing = lock.write().await.unwrap();
    let upgradable = writing.downgrade_to_upgradable().await.unwrap();
    other
        .try_read()
        .await
        .unwrap()
        .expect("shared")
        .unlock()
        .await
        .unwrap();
    assert!(
        other.try_upgradable_read().await.unwrap().is_none(),
        "one at a time"
    );
    let next = fixture.enqueue(other.upgradable_read()).await;
    let reading = upgradable.downgrade().await.unwrap();
    let next = soon("the next", next).await.unwrap();
    let busy = next.try_upgrade().await.unwrap_err();
    assert!(busy.is_busy(), "one reads");
    reading.unlock().await.unwrap();
    let writing = busy.into_guard().unwrap().try_upgrade().await.unwrap();
    writing.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn a_hold_that_has_ended_cannot_be_downgraded() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = RwLock::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .unwrap();
    let writing = lock.write().await.unwrap();
    soon("loss", writing.lost()).await;
    let error = writing.downgrade().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.loss()),
        (ErrorKind::Lost, Some(Loss::Expired)),
        "{error}"
    );
    let writing = lock.write().await.unwrap();
    lock.force_unlock().await.unwrap();
    soon("loss", writing.lost()).await;
    let error = writing.downgrade_to_upgradable().await.unwrap_err();
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    eventually("all is given up", || client.live() == 0).await;
    fixture.settled().await;
}

#[tokio::test]
async fn a_dropped_downgrade_gives_the_hold_up() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    for polls in 0..8 {
        let writing = lock.write().await.unwrap();
        let outcome = latchwork_testkit::drop_after_polls(writing.downgrade(), polls).await;
        drop(outcome);
        let writer = soon("the next", lock.write()).await.unwrap();
        writer.unlock().await.unwrap();
        eventually("nothing is left", || client.live() == 0).await;
    }
    fixture.settled().await;
}

#[tokio::test]
async fn a_hold_that_was_forced_a_moment_before_is_not_converted_and_says_why() {
    let fixture = Fixture::of(READ);
    let (proxy, client) = fixture.proxied_with(|builder| builder.lease(LONG)).await;
    lose_forced(&proxy);
    let lock = lock(&client);
    let writing = lock.write().await.unwrap();
    assert!(lock.force_unlock().await.unwrap(), "it was held");
    let error = writing.downgrade().await.unwrap_err();
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    let upgradable = lock.upgradable_read().await.unwrap();
    assert!(lock.force_unlock().await.unwrap(), "it was held");
    let error = upgradable.upgrade().await.unwrap_err();
    assert_eq!(error.error().unwrap().loss(), Some(Loss::Forced), "{error}");
    eventually("all is given up", || client.live() == 0).await;
    fixture.settled().await;
}
