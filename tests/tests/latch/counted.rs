//! Waiters cost no polling, and zero or a reset costs one message per client.

use std::time::Duration;

use latchwork_testkit::{ConnKind, TestServer};
use latchwork_tests::{eventually, go, messages};

use super::common::{latch, on, opened, passed, settled, shared, waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_waiters_in_two_clients_are_two_messages() {
    const TASKS: usize = 100;
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxies, clients) = {
        let (one, two) = (fixture.counted().await, fixture.counted().await);
        ([one.0, two.0], [one.1, two.1])
    };
    let outside = fixture.client().await;
    let waiters: Vec<_> = (0..2 * TASKS)
        .map(|task| waiting(&latch(&clients[task % 2], 2)))
        .collect();
    fixture.queued(2 * TASKS).await;
    // Connecting published once on each inbox.
    server.reset_stats().expect("reset");
    let last = latch(&outside, 2);
    last.count_down().await.expect("counted");
    assert_eq!(messages(&server), 0, "nobody is told before zero");
    assert_eq!(last.count_down().await.expect("counted"), 0);
    for waiter in waiters {
        passed(waiter).await;
    }
    assert_eq!(messages(&server), 2, "one for each client");
    settled(&fixture, &[&clients[0], &clients[1], &outside]).await;
    for proxy in proxies {
        let sent = proxy.requests_of(ConnKind::Commands);
        assert_eq!(sent, TASKS as u64, "one for each wait, and none when it is over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_one_message_for_each_client_too() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let (proxy, client) = fixture.counted().await;
    let outside = fixture.client().await;
    let waiters: Vec<_> = (0..50).map(|_| waiting(&latch(&client, 1))).collect();
    fixture.queued(50).await;
    server.reset_stats().expect("reset");
    latch(&outside, 1).reset(1).await.expect("reset");
    for waiter in waiters {
        let result = waiter.await.expect("no panic");
        super::common::expect(result, latchwork_latch::ErrorKind::Reset);
    }
    assert_eq!(messages(&server), 1);
    settled(&fixture, &[&client, &outside]).await;
    assert_eq!(proxy.requests_of(ConnKind::Commands), 50, "one for each wait");
}

#[tokio::test]
async fn every_call_is_one_request() {
    let fixture = shared();
    let (proxy, client) = fixture.counted().await;
    let made = latch(&client, 5);
    let sent = |what: &str| {
        assert_eq!(proxy.requests_of(ConnKind::Commands), 1, "{what}");
        assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "{what}");
        assert_eq!(client.live(), 0, "{what} leaves no slot");
        proxy.reset_counts();
    };
    made.count_down().await.expect("counted");
    sent("the first count-down, which makes it");
    made.count_down_by(2).await.expect("counted");
    sent("a count-down");
    made.count_down_once("x").await.expect("counted");
    sent("a count-down once");
    made.count().await.expect("an answer");
    sent("a count");
    made.try_wait().await.expect("an answer");
    sent("a try");
    made.count_down_and_wait().await.expect("the last");
    sent("the last count-down, with a wait");
    made.wait().await.expect("it passes");
    sent("a wait for what is over");
    made.try_wait_for(Duration::from_secs(1))
        .await
        .expect("an answer");
    sent("a bounded wait for what is over");
    made.reset(1).await.expect("reset");
    sent("a reset");
    made.inspect().await.expect("an answer");
    sent("a look at a latch that nobody waits for");
    let elsewhere = latchwork_latch::CountdownLatch::open(&client, "b").expect("a latch");
    elsewhere.wait().await.expect_err("not made");
    sent("a wait for what is not there");
    // A wait that is given up: the request, and its end.
    drop(tokio::time::timeout(Duration::from_millis(50), made.wait()).await);
    eventually("its end", || client.live() == 0).await;
    assert_eq!(proxy.requests_of(ConnKind::Commands), 2, "a wait and its end");
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn waiters_do_not_poll() {
    let fixture = shared();
    let (proxy, client) = fixture.counted().await;
    let latch = latch(&client, 1);
    let waiters: Vec<_> = (0..100).map(|_| go(latch.wait())).collect();
    fixture.queued(100).await;
    proxy.reset_counts();
    // A tick every three seconds, for all of them together.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(
        proxy.requests_of(ConnKind::Commands),
        1,
        "one refresh for all hundred"
    );
    let outside = fixture.client().await;
    opened(&outside).count_down().await.expect("counted");
    for waiter in waiters {
        passed(waiter).await;
    }
    settled(&fixture, &[&client]).await;
}
