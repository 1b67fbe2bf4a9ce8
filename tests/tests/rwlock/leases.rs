//! Each reader has a lease of its own: none shortens or prolongs another's.

use std::time::Duration;

use latchwork_rwlock::{ErrorKind, Loss, Renew, RwLock};
use latchwork_testkit::TestServer;
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, LEASE, MINUTE, Other, soon};

use super::common::lock;

#[tokio::test]
async fn h4_a_forgotten_reader_ends_with_its_own_lease() {
    let fixture = Fixture::of(READ);
    let (client, others) = (fixture.client().await, fixture.patient().await);
    let (short, long) = (lock(&client), lock(&others));
    let living = long.read().await.unwrap();
    short.read().await.unwrap().forget();
    let also_living = short.read().await.unwrap();
    let writer = fixture.enqueue(long.write()).await;
    assert_eq!(fixture.holders().len(), 3, "nobody has left yet");
    living.unlock().await.unwrap();
    // It is renewed, so the dead one goes first; then this one is released.
    tokio::time::sleep(LEASE * 2).await;
    assert!(!also_living.is_lost(), "its own lease is renewed");
    assert!(!writer.is_finished(), "it still reads");
    also_living.unlock().await.unwrap();
    // Nobody renews the dead one: the writer knows when its time is over, and looks by itself.
    let writer = soon("the writer", writer).await.unwrap();
    writer.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn h4_a_writer_waits_for_the_last_lease_to_end() {
    let fixture = Fixture::of(READ);
    let (client, long) = (fixture.client().await, fixture.patient().await);
    let manual = |lease: Duration| {
        let builder = RwLock::builder(&client, "a").renew(Renew::Manual).lease(lease);
        builder.build().unwrap()
    };
    let (short, longer) = (manual(LEASE / 3), manual(LEASE * 2));
    // The long one first, then short ones, which must not shorten it.
    let last = longer.read().await.unwrap();
    let first = [short.read().await.unwrap(), short.read().await.unwrap()];
    let (write, hold) = (lock(&long).write(), last.hold());
    let alone = async move {
        let writer = write.await?;
        assert!(hold.is_lost(), "the last one still reads");
        Ok(writer)
    };
    let writer = fixture.enqueue(alone).await;
    for reader in &first {
        assert_eq!(soon("loss", reader.lost()).await, Loss::Expired, "nobody renews");
    }
    assert!(
        !last.is_lost() && last.valid_for() > LEASE,
        "its lease is its own"
    );
    assert!(!writer.is_finished(), "one reads");
    assert_eq!(soon("loss", last.lost()).await, Loss::Expired, "nobody renews");
    let writer = soon("the writer", writer).await.unwrap();
    writer.unlock().await.unwrap();
    drop((first, last));
    fixture.settled().await;
}

#[tokio::test]
async fn an_extended_reader_keeps_writers_out_for_as_long() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = RwLock::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .unwrap();
    let reader = lock.read().await.unwrap();
    reader.extend(MINUTE).await.unwrap();
    let other = lock.read().await.unwrap();
    assert_eq!(
        soon("loss", other.lost()).await,
        Loss::Expired,
        "only the other one"
    );
    tokio::time::sleep(LEASE / 3).await;
    assert!(lock.try_write().await.unwrap().is_none(), "it still reads");
    assert!(reader.valid_for() > MINUTE / 2, "extended");
    reader.unlock().await.unwrap();
    lock.try_write()
        .await
        .unwrap()
        .expect("free")
        .unlock()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h4_readers_of_a_killed_process_end_with_their_leases_and_others_stay() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let ours = lock.read().await.unwrap();
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    let mut other = Other::spawn(program, &fixture, "read", 3, LEASE, LEASE);
    for _ in 0..3 {
        assert_eq!(other.says("held").await, 0, "readers have no token");
    }
    let writer = fixture.enqueue(lock.write()).await;
    ours.unlock().await.unwrap();
    // Alive they are renewed.
    tokio::time::sleep(LEASE * 2).await;
    assert!(!writer.is_finished(), "three read");
    other.kill();
    soon("the writer", writer).await.unwrap().unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h4_a_killed_writer_lets_the_readers_in_after_its_lease() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    let mut other = Other::spawn(program, &fixture, "write", 1, LEASE, LEASE);
    let token = other.says("held").await;
    let readers = [
        fixture.enqueue(lock.read()).await,
        fixture.enqueue(lock.read()).await,
    ];
    other.kill();
    for reader in readers {
        soon("a reader", reader).await.unwrap().unlock().await.unwrap();
    }
    let writer = lock.write().await.unwrap();
    assert!(writer.fencing_token().get() > token, "tokens rise");
}

#[tokio::test]
async fn every_kind_of_hold_moves_by_a_ticket_of_its_kind() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let [here, there] = [&one, &two].map(|client| RwLock::new(client, "a").expect("a lock"));
    let read = here.read().await.unwrap().into_ticket().await.unwrap();
    let upgradable = here.upgradable_read().await.unwrap().into_ticket().await.unwrap();
    let wrong = [
        there.resume_write(&read).await.map(drop),
        there.resume_upgradable_read(&read).await.map(drop),
        there.resume_read(&upgradable).await.map(drop),
        there.resume_write(&upgradable).await.map(drop),
    ];
    for error in wrong.map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let reader = there.resume_read(&read).await.unwrap();
    let upgradable = there.resume_upgradable_read(&upgradable).await.unwrap();
    reader.unlock().await.unwrap();
    let writer = upgradable.upgrade().await.unwrap();
    let token = writer.fencing_token();
    // It was upgraded, so its id has another weight than a writer's.
    let ticket = writer.into_ticket().await.unwrap();
    let wrong = here.resume_upgradable_read(&ticket).await.map(drop).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid, "{wrong}");
    let writer = here.resume_write(&ticket).await.unwrap();
    assert_eq!(writer.fencing_token(), token, "it stays the same");
    assert!(there.try_read().await.unwrap().is_none(), "it is alone");
    let reader = writer.downgrade().await.unwrap();
    let other = there.try_read().await.unwrap().expect("a share");
    other.unlock().await.unwrap();
    reader.unlock().await.unwrap();
    fixture.settled().await;
}
