//! An outage leaves nothing to do that grows with the calls that were made meanwhile.

use std::num::NonZeroU32;
use std::time::Duration;

use latchwork_latch::CountdownLatch;
use latchwork_limiter::{Rate, RateLimiter};
use latchwork_mutex::{Client, ErrorKind};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::{Proxy, TestServer};
use latchwork_tests::{Fixture, LEASE, eventually, locked, locking, mutex, soon, unlocked};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// Calls of every kind, each dropped or over after a millisecond, on names that end with this.
async fn calls(client: &Client, number: usize) {
    let rate = Rate::per_second(NonZeroU32::MIN);
    let semaphore = Semaphore::new(client, format!("s{number}"), 3).expect("a semaphore");
    let rwlock = RwLock::new(client, format!("r{number}")).expect("a lock");
    let limiter = RateLimiter::new(client, format!("l{number}"), rate).expect("a limiter");
    let latch = CountdownLatch::new(client, format!("c{number}"), 2).expect("a latch");
    let mutex = mutex(client, format!("m{number}"));
    let (acquire, write, wait) = (semaphore.acquire(), rwlock.write(), latch.wait());
    let (lock, rate) = (mutex.lock(), limiter.acquire());
    let none = tokio::join!(
        tokio::time::timeout(MS, acquire),
        tokio::time::timeout(MS, write),
        tokio::time::timeout(MS, wait),
        tokio::time::timeout(MS, lock),
        tokio::time::timeout(MS, rate),
        mutex.try_lock_for(MS),
        limiter.acquire_for(MS),
        semaphore.try_acquire_for(MS),
    );
    assert!(none.0.is_err() && none.4.is_err(), "nobody answers");
    assert!(
        none.5.is_err() && none.6.is_err() && none.7.is_err(),
        "nobody answers"
    );
}

/// Calls while there is no connection, with this lease.
async fn without_a_connection(lease: Duration) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture.proxied_with(|b| b.lease(lease)).await;
    proxy.refuse(true);
    proxy.cut();
    let gone = soon("an error", client.ping()).await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::Unavailable, "{gone}");
    for number in 0..20 {
        calls(&client, number).await;
        assert_eq!(client.live(), 0, "nothing was sent, so there is nothing to undo");
    }
    proxy.reset_counts();
    proxy.refuse(false);
    unlocked(locked(&client, "new").await).await;
    let scripts = proxy.request_names().get("EVALSHA").copied();
    assert!(scripts <= Some(3), "a lock and an unlock: {scripts:?}");
    fixture.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_needs_no_undoing() {
    without_a_connection(LEASE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_needs_no_undoing_with_a_lease_of_an_hour() {
    without_a_connection(HOUR).await;
}

/// How many are left when the server is back, and the requests that it takes until there are none.
async fn into_silence(fixture: &Fixture<'_>, server: &TestServer, proxy: &Proxy, client: &Client) {
    server.freeze().expect("frozen");
    for number in 0..60 {
        calls(client, number).await;
    }
    let left = client.live();
    assert!(left > 0, "some were sent");
    server.thaw().expect("thawed");
    proxy.reset_counts();
    // Behind them nobody has to wait.
    unlocked(locked(client, "new").await).await;
    eventually("all are undone", || client.live() == 0).await;
    let scripts = proxy.request_names().get("EVALSHA").copied().unwrap_or(0);
    let most = u64::try_from(2 * left + 10).expect("not many");
    assert!(scripts <= most, "{scripts} for {left}");
    fixture.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_into_silence_is_undone_at_once_with_a_lease_of_an_hour() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture.proxied_with(|b| b.lease(HOUR)).await;
    into_silence(&fixture, &server, &proxy, &client).await;
    // And nothing stands in the way of a second time.
    into_silence(&fixture, &server, &proxy, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_whose_end_is_refused_do_not_stand_before_others() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let url = fixture.restricted(&[]);
    let client = fixture
        .builder_at(url)
        .lease(HOUR)
        .connect()
        .await
        .expect("a client");
    let other = fixture.steady().await;
    let held = locked(&other, "theirs").await;
    let waiters: Vec<_> = (0..300).map(|_| locking(&client, "theirs")).collect();
    fixture.named("theirs").queued(300).await;
    let ours = locked(&client, "ours").await;
    let keys = format!("~{}:lock:{{ours}}*", fixture.prefix);
    let only_ours = ["ACL", "SETUSER", "worker", "resetkeys", &keys];
    server.admin(&only_ours).expect("fewer rights");
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("their ends are refused", || {
        let log = server.admin(&["ACL", "LOG", "1"]).expect("a log");
        !log.items().is_empty()
    })
    .await;
    drop(ours);
    fixture.named("ours").settled_within(LEASE * 10).await;
    // The right is given back, and they are ended at last.
    server
        .admin(&["ACL", "SETUSER", "worker", "allkeys"])
        .expect("all rights");
    eventually("all are ended", || client.live() == 0).await;
    fixture.named("theirs").queued(0).await;
    unlocked(held).await;
}
