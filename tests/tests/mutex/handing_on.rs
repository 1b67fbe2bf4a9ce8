//! A waiter is notified whatever happens to messages and to other waiters.

use std::time::Duration;

use latchwork_core::kit::{Primitive, PrimitiveOptions, Wait};
use latchwork_mutex::{Client, ErrorKind};
use latchwork_testkit::{RespClient, TestServer};
use latchwork_tests::{Fixture, LEASE, eventually, go, locked, locking, lose_grants, mutex};

#[tokio::test]
async fn forged_messages_do_no_lasting_harm() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let mutex = mutex(&client, "a");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(mutex.lock());
    fixture.queued(1).await;
    let scores = fixture.scores();
    let waits = scores.iter().find(|(_, score)| *score < 0.0);
    let (id, _) = waits.expect("the waiter");
    let channel = format!("{}:inbox:{}", fixture.prefix, &id[..22]);
    let rest = &id[22..];
    let most = u64::MAX;
    for text in [
        format!("g {rest} 1 {most} {most}"),
        format!("w {rest} {most} {most}"),
        format!("f {rest} {most}"),
        "nonsense".to_owned(),
    ] {
        fixture
            .server
            .admin(&["PUBLISH", &channel, &text])
            .expect("an answer");
    }
    guard.unlock().await.expect("released");
    let next = waiter.await.expect("no panic").expect("handed over all the same");
    assert!(client.is_listening(), "the inbox lives");
    next.unlock().await.expect("released");
}

#[tokio::test]
async fn h2_a_hand_off_that_is_lost_twice_is_found_by_ticks() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.proxied().await;
    let holder = fixture.client().await;
    let guard = locked(&holder, "a").await;
    let waiter = locking(&client, "a");
    fixture.queued(1).await;
    lose_grants(&proxy);
    guard.unlock().await.expect("released");
    let guard = tokio::time::timeout(LEASE * 10, waiter)
        .await
        .expect("served")
        .expect("no panic")
        .expect("the lock");
    assert!(!guard.is_lost(), "a good one");
    guard.unlock().await.expect("released");
}

/// Counts how often the lock is handed over to an attempt, by the server's log of commands.
struct HandOvers {
    log: RespClient,
    /// What is logged last.
    end: String,
    /// The key of the lock.
    key: String,
    /// The attempt.
    own: String,
}

impl HandOvers {
    fn of(fixture: &Fixture<'_>, own: String) -> Self {
        let mut log = fixture.server.connect().expect("a connection");
        log.send(&["MONITOR"]).expect("sent");
        log.receive().expect("it begins");
        let (end, key) = (format!("{}:end", fixture.prefix), fixture.key());
        Self { log, end, key, own }
    }

    /// The number of claims until now.
    fn count(mut self, fixture: &Fixture<'_>) -> usize {
        fixture.server.admin(&["ECHO", &self.end]).expect("an answer");
        let mut claims = 0;
        loop {
            let line = self.log.receive().expect("a line").text().expect("a text");
            if line.contains(&self.end) {
                return claims;
            }
            let mut words = line.split('"').skip(1).step_by(2);
            if words.next() == Some("ZADD") && words.next() == Some(&self.key) {
                // Scores and members in turn; the score of a place is below zero.
                let words: Vec<&str> = words.collect();
                let set = words.windows(2).filter(|pair| pair[1] == self.own);
                claims += set
                    .filter(|pair| pair[0].parse().is_ok_and(|score: f64| score > 0.0))
                    .count();
            }
        }
    }
}

/// Polls this until the answer of its first request was read: it waits then.
async fn waits<F: Future + Unpin>(client: &Client, future: &mut F) {
    tokio::select! {
        biased;
        _ = &mut *future => panic!("it is granted"),
        // It was sent on the same connection before this, and answered before it.
        answer = client.ping() => drop(answer.expect("an answer")),
    }
    let polled = tokio::time::timeout(Duration::ZERO, future).await;
    assert!(polled.is_err(), "it waits");
}

/// A future is polled until it waits, and then left alone, as in a `select!` whose other branch is busy. Its client has an inbox,
/// or polls.
async fn nobody_polls(fixture: &Fixture<'_>, parked: Client) {
    // Their own leases outlast whatever a busy machine does.
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let first = locked(&one, "a").await;
    let mut future = Box::pin(mutex(&parked, "a").lock());
    waits(&parked, &mut future).await;
    fixture.queued(1).await;
    let scores = fixture.scores();
    let own = scores.into_iter().find(|(_, score)| *score < 0.0);
    let (own, _) = own.expect("its place");
    let hand_overs = HandOvers::of(fixture, own);
    first.unlock().await.expect("released");
    let turns = |client: &Client| {
        let mutex = mutex(client, "a");
        go(async move {
            for _ in 0..6 {
                let guard = mutex.lock().await.expect("the lock");
                // Long enough for the parked client's ticks to come by.
                tokio::time::sleep(LEASE / 2).await;
                guard.unlock().await.expect("released");
            }
        })
    };
    let (left, right) = (turns(&one), turns(&two));
    left.await.expect("no panic");
    right.await.expect("no panic");
    let claims = hand_overs.count(fixture);
    assert!(
        (1..=3).contains(&claims),
        "{claims} claims were lost on it: one for every turn of the others?"
    );
    drop(future);
    eventually("it is given up", || parked.live() == 0).await;
    fixture.settled_within(Duration::ZERO).await;
}

#[tokio::test]
async fn a_lock_future_that_nobody_polls_does_not_hold_up_the_others() {
    let fixture = Fixture::shared();
    let parked = fixture.client().await;
    nobody_polls(&fixture, parked).await;
}

#[tokio::test]
async fn a_lock_future_that_nobody_polls_does_not_hold_up_the_others_if_its_client_polls() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let url = fixture.restricted(&["-subscribe"]);
    let parked = fixture.builder_at(url).connect().await.expect("a client");
    assert!(!parked.is_listening(), "it has no inbox");
    nobody_polls(&fixture, parked).await;
}

/// Scripts find the clients' channels by the key: once only if the kind was made of small letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_notified_whatever_the_prefix_and_kind() {
    let server = TestServer::start().expect("a server");
    for prefix in ["a:lock", "p:", "::"] {
        let builder = || Client::builder().url(server.url()).prefix(prefix).lease(LEASE);
        let clients = [
            builder().connect().await.expect("a client"),
            builder().connect().await.expect("a client"),
        ];
        for kind in ["read_lock", "lock-2", "Lock", &"x".repeat(32)] {
            let options = PrimitiveOptions::default();
            let [one, two] = [&clients[0], &clients[1]]
                .map(|client| Primitive::new(client, kind, b"a:b", &options).expect("a kind"));
            let held = one
                .acquire(Wait::Forever)
                .await
                .expect("no error")
                .expect("the lock");
            let waiter = go(two.acquire(Wait::Forever));
            eventually("it waits", || {
                server
                    .admin(&["ZCARD", &format!("{prefix}:{kind}:{{a:b}}")])
                    .is_ok_and(|reply| reply.int() == Some(4))
            })
            .await;
            held.unlock().await.expect("released");
            let guard = waiter
                .await
                .expect("no panic")
                .expect("no error")
                .expect("the lock");
            guard.unlock().await.expect("released");
        }
    }
    let client = Client::builder()
        .url(server.url())
        .connect()
        .await
        .expect("a client");
    for kind in ["", "a:b", "a{b", "a b", "ä", &"x".repeat(33)] {
        let error = Primitive::new(&client, kind, b"a", &PrimitiveOptions::default()).expect_err("no kind");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
