//! A call costs the requests, messages and keys that it should, and not one more.

use std::time::{Duration, Instant};

use latchwork_testkit::{ConnKind, Proxy, TestServer};
use latchwork_tests::distance::{fewer, medium, scaled};
use latchwork_tests::subject::{Options, Subject};
use latchwork_tests::{Fixture, eventually, go, messages, soon};

fn requests(proxy: &Proxy) -> u64 {
    proxy.requests_of(ConnKind::Commands)
}

pub(crate) async fn an_uncontended_acquire_and_release_are_two_requests(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (proxy, client) = fixture.counted().await;
    let rounds = fewer(20);
    for _ in 0..rounds {
        fixture.released(fixture.held(&client).await).await;
    }
    let rounds = u64::try_from(rounds).expect("small");
    assert_eq!(requests(&proxy), 2 * rounds, "one to acquire, one to release");
    drop(fixture.held(&client).await);
    eventually("released", || client.live() == 0).await;
    assert_eq!(
        requests(&proxy),
        2 * rounds + 2,
        "a drop costs as much as a release"
    );
    let tried = fixture.tried(&client).await.expect("free");
    fixture.released(tried).await;
    assert_eq!(requests(&proxy), 2 * rounds + 4, "a try, too");
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
    fixture.over().await;
}

/// Those who can go on are told, each client by one message; the others hear nothing and ask nothing.
pub(crate) async fn h6_a_release_wakes_exactly_the_waiters_that_fit(subject: &'static dyn Subject) {
    const WAITERS: usize = 6;
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (holder_proxy, holder) = fixture.counted().await;
    let all = fixture.all(&holder).await;
    let (mut clients, mut waiters) = (Vec::new(), Vec::new());
    for _ in 0..WAITERS {
        clients.push(fixture.counted().await);
    }
    for (proxy, client) in &clients {
        waiters.push(fixture.queue(client).await);
        // Counted at the proxy's socket before it is counted by the server.
        assert_eq!(requests(proxy), 1, "a failed try, and a place in the queue");
        proxy.reset_counts();
    }
    holder_proxy.reset_counts();
    server.reset_stats().expect("an answer");
    fixture.released(all).await;
    let woken = subject.most().map_or(WAITERS, |most| most.min(WAITERS));
    let mut guards = Vec::new();
    for waiter in waiters.drain(..woken) {
        guards.push(fixture.granted(waiter).await);
    }
    let told = u64::try_from(woken).expect("small");
    assert_eq!(messages(&server), told, "a message each, and none to the others");
    assert_eq!(requests(&holder_proxy), 1, "the release");
    // A hand-off is confirmed when half its claim is over: not by now.
    let asked: u64 = clients.iter().map(|(proxy, _)| requests(proxy)).sum();
    assert_eq!(
        asked, 0,
        "being woken costs nothing, and who was not woken asks nothing"
    );
    assert_eq!(fixture.waiters(), WAITERS - woken, "they wait on");
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()), "they wait on");

    // One after the other, until nobody waits: then nobody is told.
    for waiter in waiters {
        server.reset_stats().expect("an answer");
        fixture.released(guards.remove(0)).await;
        guards.push(fixture.granted(waiter).await);
        assert_eq!(messages(&server), 1, "one goes on");
    }
    server.reset_stats().expect("an answer");
    for guard in guards {
        fixture.released(guard).await;
    }
    assert_eq!(messages(&server), 0, "nobody waits");
    fixture.over().await;
}

/// Many tasks of some clients: a failed acquire and a release each, and a message for those who had to wait.
pub(crate) async fn a_contended_acquisition_is_two_requests_and_one_message(subject: &'static dyn Subject) {
    const CLIENTS: usize = 3;
    const TASKS: usize = 4;
    let rounds = fewer(15);
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(fixture.counted().await);
    }
    // One that nobody counts has all until everybody waits.
    let outside = fixture.steady().await;
    let all = fixture.all(&outside).await;
    server.reset_stats().expect("an answer");
    let start = Instant::now();
    let mut tasks = Vec::new();
    for (_, client) in &clients {
        for _ in 0..TASKS {
            let handle = fixture.handle(client);
            tasks.push(go(async move {
                for _ in 0..rounds {
                    let guard = handle.acquire().await.expect("a hold");
                    guard.release().await.expect("released");
                }
            }));
        }
    }
    fixture.queued(CLIENTS * TASKS).await;
    fixture.released(all).await;
    for task in tasks {
        soon("a task", task).await.expect("no panic");
    }
    let acquisitions = u64::try_from(CLIENTS * TASKS * rounds).expect("small");
    let sent: u64 = clients.iter().map(|(proxy, _)| requests(proxy)).sum();
    // A client refreshes its places every three seconds. Far away the turns take longer than that.
    let refreshes = start.elapsed().as_secs() / 3 * u64::try_from(CLIENTS).expect("small");
    assert!(
        (2 * acquisitions..=2 * acquisitions + refreshes).contains(&sent),
        "a failed acquire and a release each, of {acquisitions}: {sent}"
    );
    assert!(messages(&server) <= acquisitions, "one message each, at most");
    fixture.over().await;
}

pub(crate) async fn h66_every_key_has_a_ttl_at_every_step(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let check = || fixture.check_leftovers();
    let short = Options {
        lease: Some(medium() / 2),
        ..Options::NONE
    };
    let held = fixture.handle_with(&one, &short).acquire().await.expect("a hold");
    check();
    held.extend(medium()).await.expect("extended");
    check();
    held.forget();
    let all = go(subject.take_all(&two, b"a"));
    fixture.queued(1).await;
    check();
    let all = fixture.granted(all).await;
    check();
    let waiter = fixture.queue(&one).await;
    let gone = fixture.queue(&two).await;
    gone.abort();
    fixture.queued(1).await;
    check();
    assert!(
        fixture.handle(&one).force().await.expect("an answer"),
        "it was held"
    );
    check();
    drop(all);
    fixture.released(fixture.granted(waiter).await).await;
    fixture.over().await;
    fixture.handle(&one).inspect().await.expect("an answer");
    fixture.over().await;
}

/// H67: no key stays for longer than it has to.
pub(crate) async fn h67_the_key_goes_with_the_retention(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let retention = Duration::from_secs(1);
    let client = fixture
        .client_with(|b| b.retention(retention).lease(medium()))
        .await;
    let all = fixture.all(&client).await;
    let waiter = fixture.queue(&client).await;
    drop(all);
    fixture.released(fixture.granted(waiter).await).await;
    fixture.settled().await;
    let left = fixture
        .server
        .admin(&["PTTL", &fixture.key()])
        .expect("an answer");
    let left = left.int().expect("a number");
    let most = scaled(Duration::from_millis(3_600)).as_millis();
    assert!(
        i128::from(left) <= most.cast_signed(),
        "lease and retention, and an eighth: {left} ms"
    );
    let kind = format!("{}:{}:", fixture.prefix, subject.kind());
    let keys = || fixture.server.keys(&kind).expect("an answer");
    eventually("it is gone", || keys().is_empty()).await;
    // It starts again.
    fixture.released(fixture.held(&client).await).await;
    fixture.over().await;
}
