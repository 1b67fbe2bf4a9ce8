//! Makes latches and waiters for the tests of the latch.

use std::time::Duration;

use latchwork_latch::{Client, CountdownLatch, Error, ErrorKind, Result};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, eventually, go, soon};
use tokio::task::JoinHandle;

/// The latch `a` on the server that the test process shares.
pub(crate) fn shared() -> Fixture<'static> {
    Fixture::shared().with_kind("latch")
}

/// The latch `a` on this server.
pub(crate) fn on(server: &TestServer) -> Fixture<'_> {
    Fixture::on(server).with_kind("latch")
}

pub(crate) fn latch(client: &Client, count: u32) -> CountdownLatch {
    CountdownLatch::new(client, "a", count).expect("a latch")
}

pub(crate) fn opened(client: &Client) -> CountdownLatch {
    CountdownLatch::open(client, "a").expect("a latch")
}

/// The remaining life of the latch's key.
pub(crate) fn life(fixture: &Fixture<'_>) -> Duration {
    let reply = fixture
        .server
        .admin(&["PTTL", &fixture.key()])
        .expect("an answer");
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
pub(crate) async fn settled(fixture: &Fixture<'_>, clients: &[&Client]) {
    eventually("no slot is left", || {
        clients.iter().all(|client| client.live() == 0)
    })
    .await;
    assert_eq!(fixture.waiters(), 0, "no place is left: {:?}", fixture.scores());
    fixture.check_leftovers();
}
