//! Lost messages, restarts and silence neither lose a pass nor make one up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchwork_latch::{CountdownLatch, ErrorKind};
use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};
use latchwork_tests::{eventually, soon};

use super::common::{expect, latch, on, opened, passed, settled, shared, waiting};

const LONG: Duration = Duration::from_secs(9);

/// Loses every message that starts with this.
fn lose_messages(proxy: &Proxy, kind: &'static str) -> Arc<AtomicBool> {
    let lost = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&lost);
    proxy.on_chunk(move |direction, _, chunk| {
        if direction == Direction::ToClient && contains(chunk, kind) {
            said.store(true, Ordering::SeqCst);
            return Action::Drop;
        }
        Action::Pass
    });
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_lost_message_is_found_at_the_next_tick() {
    let fixture = shared();
    let (proxy, client) = fixture.proxied().await;
    let steady = fixture.client().await;
    let seen = latch(&steady, 1);
    let lost = lose_messages(&proxy, "d .");
    let waiter = waiting(&latch(&client, 1));
    fixture.queued(1).await;
    seen.count_down().await.expect("counted");
    passed(waiter).await;
    assert!(lost.load(Ordering::SeqCst), "the message was lost");
    seen.reset(1).await.expect("reset");
    let lost = lose_messages(&proxy, "r .");
    let waiter = waiting(&latch(&client, 1));
    fixture.queued(1).await;
    seen.reset(1).await.expect("reset");
    expect(soon("a reset", waiter).await.expect("no panic"), ErrorKind::Reset);
    assert!(lost.load(Ordering::SeqCst), "the message was lost");
    settled(&fixture, &[&client, &steady]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_generation_that_came_to_zero_is_known_after_its_reset() {
    let fixture = shared();
    let proxy = Proxy::start(fixture.server.port()).expect("a proxy");
    let client = fixture.builder_at(proxy.url()).lease(LONG).connect().await;
    let client = client.expect("a client");
    let steady = fixture.client().await;
    let seen = latch(&steady, 1);
    let lost = lose_messages(&proxy, "d .");
    let waiter = waiting(&latch(&client, 1));
    fixture.queued(1).await;
    seen.count_down().await.expect("counted");
    seen.reset(1).await.expect("reset");
    seen.reset(1).await.expect("reset again");
    passed(waiter).await;
    assert!(lost.load(Ordering::SeqCst), "the message was lost");
    settled(&fixture, &[&client]).await;
}

/// Waits under these rules are released and reset.
async fn it_works_under(rules: &[&str]) {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let url = fixture.restricted(rules);
    let client = fixture.builder_at(&url).connect().await.expect("a client");
    let other = fixture.builder_at(&url).connect().await.expect("a client");
    let (one, two) = (latch(&client, 2), latch(&other, 2));
    let waiters: Vec<_> = [&one, &one, &two].map(waiting).into();
    fixture.queued(3).await;
    two.count_down_by(2).await.expect("counted");
    for waiter in waiters {
        passed(waiter).await;
    }
    two.reset(1).await.expect("reset");
    let waiter = waiting(&one);
    fixture.queued(1).await;
    two.reset(1).await.expect("reset");
    expect(soon("a reset", waiter).await.expect("no panic"), ErrorKind::Reset);
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h46_without_messages_waiting_polls() {
    it_works_under(&["-subscribe"]).await;
    it_works_under(&["-publish"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_breaks_costs_nobody_anything() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let client = fixture.steady().await;
    let latch = latch(&client, 1);
    let waiters: Vec<_> = (0..20).map(|_| waiting(&latch)).collect();
    fixture.queued(20).await;
    server.kill_pubsub_clients().expect("killed");
    assert_eq!(latch.count_down().await.expect("counted"), 0);
    for waiter in waiters {
        passed(waiter).await;
    }
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h53_a_restart_that_remembers_costs_nobody_anything() {
    let server = TestServer::builder().persist(true).start().expect("a server");
    let fixture = on(&server);
    let [client, other] = [fixture.client().await, fixture.client().await];
    let (one, two) = (latch(&client, 3), latch(&other, 3));
    assert_eq!(two.count_down_once("x").await.expect("counted"), 2);
    let waiters: Vec<_> = (0..5).map(|_| waiting(&one)).collect();
    fixture.queued(5).await;
    // An AOF is written before the answer; what is asked now is in it.
    server.kill().expect("killed");
    let counting = latchwork_tests::go({
        let two = two.clone();
        async move { two.count_down().await }
    });
    server.restart().expect("again");
    assert_eq!(
        soon("a count", counting)
            .await
            .expect("no panic")
            .expect("counted"),
        1
    );
    assert_eq!(
        soon("an id", two.count_down_once("x")).await.expect("an answer"),
        1
    );
    assert_eq!(soon("a count", two.count_down()).await.expect("counted"), 0);
    for waiter in waiters {
        passed(waiter).await;
    }
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h52_a_restart_that_forgets_ends_the_waits() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let client = fixture.client().await;
    let made = latch(&client, 2);
    made.count().await.expect("made");
    let waiters = [waiting(&made), waiting(&opened(&client))];
    let opener = CountdownLatch::opener(&client, "a").wait_for_creation(true);
    fixture.queued(2).await;
    // Both have their answers, and know the latch: one that does not would make it again.
    client.ping().await.expect("an answer behind theirs");
    server.kill().expect("killed");
    server.restart().expect("again");
    for waiter in waiters {
        let result = soon("an answer", waiter).await.expect("no panic");
        expect(result, ErrorKind::NoSuchLatch);
    }
    // Who waits for it to be made waits on, and the next call makes it.
    let patient = waiting(&opener.build().expect("a latch"));
    fixture.queued(1).await;
    server.kill().expect("killed");
    server.restart().expect("again");
    fixture.queued(1).await;
    assert_eq!(soon("a count", made.count_down_by(2)).await.expect("counted"), 0);
    passed(patient).await;
    settled(&fixture, &[&client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_lost_is_taken_again_without_counting() {
    let fixture = shared();
    let short = Duration::from_millis(300);
    let client = fixture.builder().unavailable_after(short).connect().await;
    let made = latch(&client.expect("a client"), 5);
    let both = latchwork_tests::go({
        let made = made.clone();
        async move { made.count_down_and_wait().await }
    });
    fixture.queued(1).await;
    // The mark of the count-down outlives its call by a second, and is dropped by the next one that writes.
    tokio::time::sleep(short + Duration::from_millis(1100)).await;
    assert!(
        !made.try_wait_for(short / 10).await.expect("an answer"),
        "not yet"
    );
    let all = fixture.scores();
    // The id of who waits may begin with that letter too, and has a place, below zero.
    let mark = |(member, score): &(String, f64)| member.starts_with('c') && *score > 0.0;
    assert!(!all.iter().any(mark), "{all:?}");
    for (member, _) in all.iter().filter(|(_, score)| *score < 0.0) {
        let removal = ["ZREM", &fixture.key(), member];
        fixture.server.admin(&removal).expect("removed");
    }
    fixture.queued(1).await;
    assert_eq!(made.count().await.expect("an answer"), 4, "it counted once");
    assert_eq!(made.count_down_by(4).await.expect("counted"), 0);
    passed(both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_silent_server_has_an_unknown_outcome() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let short = Duration::from_secs(1);
    let client = fixture
        .client_with(|b| b.unavailable_after(short).operation_timeout(short / 3))
        .await;
    let made = latch(&client, 5);
    made.count().await.expect("made");
    server.freeze().expect("frozen");
    let error = expect(soon("an end", made.count_down()).await, ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("may or may not have counted"),
        "{error}"
    );
    assert!(error.is_transient(), "later, perhaps");
    let error = expect(soon("an end", made.reset(5)).await, ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("may or may not have been reset"),
        "{error}"
    );
    expect(soon("an end", made.count()).await, ErrorKind::Unavailable);
    expect(soon("an end", made.wait()).await, ErrorKind::Unavailable);
    expect(soon("an end", made.try_wait()).await, ErrorKind::Unavailable);
    server.thaw().expect("thawed");
    eventually("no slot is left", || client.live() == 0).await;
    // Whatever was in its buffers has run by now, or never will.
    let left = soon("a count", made.count()).await.expect("an answer");
    assert!(left == 4 || left == 5, "{left}");
    settled(&fixture, &[&client]).await;
}
