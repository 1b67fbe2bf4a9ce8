//! A connection that breaks while nobody uses it costs no call, also of those that are sent once.

use std::num::NonZeroU32;
use std::time::Duration;

use latchwork_limiter::{Rate, RateLimiter};
use latchwork_mutex::Client;
use latchwork_testkit::{Action, Proxy, TestServer};
use latchwork_tests::{Fixture, eventually, locked, mutex, soon, unlocked};

/// So short that a pause of a few milliseconds is a long silence.
const BEAT: Duration = Duration::from_millis(20);

fn limiter(client: &Client) -> RateLimiter {
    let many = NonZeroU32::new(1000).expect("not zero");
    let rate = Rate::per_second(many).burst(many);
    RateLimiter::new(client, "a", rate).expect("a limiter")
}

/// One call of each that is sent once: none fails.
async fn calls_sent_once(client: &Client) {
    let tried = soon("a try", limiter(client).try_acquire()).await;
    assert!(tried.expect("an answer").allowed, "there is room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_cost_no_call_that_is_sent_once() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.steady().await;
    for _ in 0..3 {
        assert!(
            server.kill_normal_clients().expect("killed") > 0,
            "ours was there"
        );
        // The operating system tells the client, which the test cannot watch.
        tokio::time::sleep(Duration::from_millis(500)).await;
        calls_sent_once(&client).await;
        server.kill_normal_clients().expect("killed");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let forced = soon("an answer", mutex(&client, "a").force_unlock()).await;
        assert!(!forced.expect("an answer"), "nobody held it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_connection_after_a_good_one_is_made_at_once() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let minute = Duration::from_secs(60);
    let client = fixture
        .client_with(|b| {
            b.lease(minute)
                .unavailable_after(minute)
                .reconnect_backoff(minute, minute)
        })
        .await;
    server.kill_normal_clients().expect("killed");
    unlocked(locked(&client, "a").await).await;
}

#[tokio::test]
async fn a_process_that_was_paused_while_its_connections_were_closed_loses_no_call() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client_with(|b| b.heartbeat(BEAT)).await;
    for _ in 0..10 {
        calls_sent_once(&client).await;
        // With one thread, nothing of the client runs until the call.
        server.kill_normal_clients().expect("killed");
        std::thread::sleep(BEAT * 2);
        calls_sent_once(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_went_silent_cost_no_call() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture
        .proxied_with(|b| b.heartbeat(Duration::from_secs(1)).operation_timeout(BEAT * 15))
        .await;
    calls_sent_once(&client).await;
    for round in 1..3 {
        // Of the connections that there are, nothing comes through any longer.
        let silent = proxy.accepted();
        let known: Vec<_> = proxy.requests_by_connection().into_keys().collect();
        proxy.on_chunk(move |_, id, _| {
            if known.contains(&id) {
                Action::Drop
            } else {
                Action::Pass
            }
        });
        tokio::time::sleep(Duration::from_millis(1100)).await; // longer than a heartbeat
        calls_sent_once(&client).await;
        assert!(
            proxy.accepted() > silent,
            "over another connection, round {round}"
        );
        unlocked(locked(&client, "a").await).await;
    }
}

/// What an idle client sends in `beats` heartbeats.
async fn sent(proxy: &Proxy, beats: u32) -> u64 {
    proxy.reset_counts();
    tokio::time::sleep(BEAT * beats).await;
    proxy.requests()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_client_sends_next_to_nothing() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture
        .proxied_with(|b| b.heartbeat(BEAT).lease(Duration::from_secs(60)))
        .await;
    unlocked(locked(&client, "a").await).await;
    eventually("its end is answered", || client.live() == 0).await;
    // With the default heartbeat of 3 s, this would be 5 minutes, in which at most 20 requests are sent.
    let idle = sent(&proxy, 100).await;
    assert!(idle <= 20, "{idle} requests");
    assert!(idle > 0, "it is checked all the same");
    // With something held, the connections are checked every heartbeat.
    let held = locked(&client, "a").await;
    let busy = sent(&proxy, 30).await;
    assert!(busy >= 20, "two connections in 30 heartbeats: {busy}");
    unlocked(held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_often_is_not_checked_beside_that() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture.proxied_with(|b| b.heartbeat(BEAT * 25)).await;
    let held = locked(&client, "held").await; // it is renewed every 100 ms
    proxy.reset_counts();
    tokio::time::sleep(BEAT * 100).await;
    let names = proxy.request_names();
    assert!(names.get("EVALSHA") > Some(&10), "it is renewed: {names:?}");
    assert_eq!(names.get("TIME"), None, "the answers prove that it lives");
    unlocked(held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_whenever_they_are_idle_are_kept_alive_from_then_on() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, client) = fixture.proxied_with(|b| b.heartbeat(BEAT)).await;
    for _ in 0..4 {
        tokio::time::sleep(BEAT * 5).await; // as such a proxy does
        let accepted = proxy.accepted();
        proxy.cut();
        eventually("both are made anew", || {
            proxy.accepted() >= accepted + 2 && client.is_listening()
        })
        .await;
        calls_sent_once(&client).await;
        eventually("it is idle", || client.live() == 0).await;
    }
    let idle = sent(&proxy, 50).await;
    assert!(idle >= 40, "two connections, every heartbeat: {idle}");
}
