//! What the tests of the latch share.

use std::time::Duration;

use latchwork_latch::{Client, CountdownLatch, Error, ErrorKind, Result};
use latchwork_testkit::{Proxy, TestServer};
use latchwork_tests::{Place, eventually, go};
use tokio::task::JoinHandle;

/// Fails the test when something hangs.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let limited = tokio::time::timeout(Duration::from_secs(25), future);
    limited.await.unwrap_or_else(|_| panic!("it hangs: {what}"))
}

pub(crate) fn latch(client: &Client, count: u32) -> CountdownLatch {
    CountdownLatch::new(client, "a", count).expect("a latch")
}

pub(crate) fn opened(client: &Client) -> CountdownLatch {
    CountdownLatch::open(client, "a").expect("a latch")
}

pub(crate) fn key(place: &Place<'_>) -> String {
    format!("{}:latch:{{a}}", place.prefix)
}

pub(crate) fn scores(place: &Place<'_>) -> Vec<(String, f64)> {
    let dump = place.server.dump_zset(&key(place)).expect("a dump");
    dump.into_iter()
        .map(|(member, score)| (member, score.parse().expect("a number")))
        .collect()
}

/// How many wait, as the server has it.
pub(crate) fn waiters(place: &Place<'_>) -> usize {
    scores(place).iter().filter(|(_, score)| *score < 0.0).count()
}

pub(crate) async fn queued(place: &Place<'_>, count: usize) {
    eventually("they wait", || waiters(place) == count).await;
}

/// The remaining life of the latch's key.
pub(crate) fn life(place: &Place<'_>) -> Duration {
    let reply = place.server.admin(&["PTTL", &key(place)]).expect("an answer");
    Duration::from_millis(reply.int().expect("a number").try_into().expect("it has a TTL"))
}

pub(crate) type Waiter = JoinHandle<Result<()>>;

pub(crate) fn waiting(latch: &CountdownLatch) -> Waiter {
    go(latch.wait())
}

pub(crate) async fn passed(waiter: Waiter) {
    soon("a pass", waiter)
        .await
        .expect("no panic")
        .expect("it passes");
}

pub(crate) fn expect<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.name().expect("a name").as_bytes(), b"a", "{error}");
    error
}

/// No place is left, no slot, and every key has a TTL.
pub(crate) async fn settled(place: &Place<'_>, clients: &[&Client]) {
    eventually("no slot is left", || {
        clients.iter().all(|client| client.live() == 0)
    })
    .await;
    assert_eq!(waiters(place), 0, "no place is left: {:?}", scores(place));
    place.check_leftovers();
}

/// A client behind a proxy, with which nothing happens by itself for a minute.
pub(crate) async fn quiet(place: &Place<'_>) -> (Proxy, Client) {
    let proxy = Proxy::start(place.server.port()).expect("a proxy");
    let minute = Duration::from_secs(60);
    let builder = place.builder_at(proxy.url()).lease(minute).heartbeat(minute);
    let client = builder.connect().await.expect("a client");
    // The label is written once, right after connecting.
    eventually("the label is written", || {
        proxy.request_names().contains_key("SET")
    })
    .await;
    proxy.reset_counts();
    (proxy, client)
}

/// Messages published on this server since its statistics were reset.
pub(crate) fn messages(server: &TestServer) -> u64 {
    let calls = server.command_calls().expect("an answer");
    calls.get("publish").copied().unwrap_or(0)
}
