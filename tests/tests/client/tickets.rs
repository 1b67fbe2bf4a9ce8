//! A ticket is good for its primitive alone, and carries the maximum of its hold along.

use std::time::Duration;

use latchwork_mutex::{Client, Error, ErrorKind, Loss, Mutex, Ticket};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, LONG, MINUTE, locked, mutex};

use super::expect;

/// When this has been slept, a hold of a minute cannot be extended by so much.
const SECOND: Duration = Duration::from_secs(1);
const NEARLY: Duration = Duration::from_millis(59_500);

/// What each kind of primitive called `a` says to this ticket, but for its own.
async fn resumed(client: &Client, ticket: &Ticket) -> Vec<(&'static str, Result<(), Error>)> {
    let shared = RwLock::new(client, "a").expect("a lock");
    let semaphore = Semaphore::new(client, "a", 3).expect("a semaphore");
    let mut all = Vec::new();
    if ticket.kind() != "lock" {
        all.push(("lock", mutex(client, "a").resume(ticket).await.map(drop)));
    }
    if ticket.kind() != "rwlock" {
        all.push(("rwlock", shared.resume_write(ticket).await.map(drop)));
        all.push(("rwlock", shared.resume_read(ticket).await.map(drop)));
    }
    if ticket.kind() != "semaphore" {
        all.push(("semaphore", semaphore.resume(ticket).await.map(drop)));
    }
    all
}

#[tokio::test]
async fn a_ticket_of_another_kind_is_invalid_and_stays_good() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let shared = RwLock::new(&one, "a").expect("a lock");
    let semaphore = Semaphore::new(&one, "a", 3).expect("a semaphore");
    let permit = semaphore.acquire().await.expect("a permit");
    let tickets = [
        locked(&one, "a").await.into_ticket().await.expect("a ticket"),
        shared
            .write()
            .await
            .expect("the lock")
            .into_ticket()
            .await
            .expect("a ticket"),
        permit.into_ticket().await.expect("a ticket"),
    ];
    for ticket in &tickets {
        let kind = ticket.kind();
        for (other, result) in resumed(&two, ticket).await {
            expect(result, ErrorKind::Invalid, &["`a`", other, kind]);
        }
    }
    let [lock, write, permit] = &tickets;
    let unlocked = mutex(&two, "a")
        .resume(lock)
        .await
        .expect("it is as it was")
        .unlock();
    unlocked.await.expect("released");
    let unlocked = shared
        .resume_write(write)
        .await
        .expect("it is as it was")
        .unlock();
    unlocked.await.expect("released");
    let released = semaphore.resume(permit).await.expect("it is as it was").release();
    released.await.expect("released");
    assert_eq!((one.live(), two.live()), (0, 0), "no slot is left");
}

#[tokio::test]
async fn a_ticket_of_another_prefix_or_database_is_invalid_and_stays_good() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.steady().await;
    let ticket = locked(&client, "a").await.into_ticket().await.expect("a ticket");
    let elsewhere = Fixture::on(&server).steady().await;
    let url = format!("{}/1", fixture.url());
    let database = fixture.builder_at(url).connect().await.expect("a client");
    for (other, word) in [(&elsewhere, "prefix"), (&database, "database")] {
        expect(
            mutex(other, "a").resume(&ticket).await,
            ErrorKind::Invalid,
            &["`a`", word],
        );
    }
    let guard = mutex(&client, "a")
        .resume(&ticket)
        .await
        .expect("nothing has changed");
    guard.unlock().await.expect("released");
}

/// A mutex with this maximum hold.
fn limited(client: &Client, most: Duration) -> Mutex {
    let builder = Mutex::builder(client, "a").max_hold(most);
    builder.build().expect("a mutex")
}

#[tokio::test]
async fn the_maximum_hold_counts_from_the_grant_whoever_resumes() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let handles = [
        limited(&two, MINUTE),
        mutex(&two, "a"),
        limited(&two, MINUTE * 60),
    ];
    let first = limited(&one, MINUTE).lock().await.expect("the lock");
    tokio::time::sleep(SECOND).await;
    let mut ticket = first.into_ticket().await.expect("a ticket");
    for handle in handles {
        let text = ticket.to_string();
        let guard = handle.resume(&text.parse().expect("a ticket")).await;
        let guard = guard.expect("the hold");
        let past = guard.extend(NEARLY).await;
        expect(past, ErrorKind::Invalid, &["maximum hold"]);
        guard.extend(MINUTE / 2).await.expect("this fits");
        ticket = guard.into_ticket().await.expect("a ticket");
    }
    let guard = mutex(&one, "a").resume(&ticket).await.expect("the hold");
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn a_handle_with_a_maximum_counts_what_others_held_before() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.steady().await, fixture.client().await);
    let first = locked(&one, "a").await;
    tokio::time::sleep(LEASE).await;
    let ticket = first.into_ticket().await.expect("a ticket");
    let over = limited(&two, LEASE)
        .resume(&ticket)
        .await
        .expect_err("it is over");
    assert_eq!(over.loss(), Some(Loss::MaxHold), "{over}");
    fixture.settled_within(LONG / 2).await; // it is given up, long before the end of its lease
    assert_eq!(two.live(), 0, "no slot is left");
}

#[tokio::test]
async fn splitting_and_merging_do_not_prolong_the_maximum_hold() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let builder = Semaphore::builder(&client, "a", 9).max_hold(MINUTE);
    let semaphore = builder.build().expect("a semaphore");
    let mut old = semaphore.acquire_many(3).await.expect("permits");
    tokio::time::sleep(SECOND).await;
    let part = old.split(1).await.expect("an answer").expect("a part");
    expect(part.extend(NEARLY).await, ErrorKind::Invalid, &["maximum hold"]);
    let mut new = semaphore.acquire().await.expect("a permit");
    new.merge(old).await.expect("merged");
    expect(new.extend(NEARLY).await, ErrorKind::Invalid, &["maximum hold"]);
    new.release().await.expect("released");
}
