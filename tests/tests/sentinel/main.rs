//! Behind sentinels, clients follow the primary of the moment, and lose nothing that it has.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod connecting;
mod losing;
mod switching;

use latchwork_mutex::Client;
use latchwork_testkit::{TestSentinel, TestServer};
use latchwork_tests::eventually;

/// A primary with this many replicas, and three sentinels.
fn sentinel(replicas: usize) -> TestSentinel {
    TestSentinel::start(1, replicas, 3).expect("sentinels")
}

/// Where the client is connected.
fn address(client: &Client) -> String {
    client.server().expect("it was greeted").address
}

/// Resolves when the client is with this server, and listens there.
async fn follows(client: &Client, to: &TestServer) {
    let expected = format!("127.0.0.1:{}", to.port());
    eventually("it follows", || address(client) == expected).await;
    eventually("it listens", || client.is_listening()).await;
}

/// How many scripts this server has run.
fn scripts(server: &TestServer) -> u64 {
    let calls = server.command_calls().expect("calls");
    calls.get("evalsha").copied().unwrap_or(0)
}
