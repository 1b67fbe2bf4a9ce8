//! A grant waits until it is on disk, where the server's word for that can be relied on.

use std::time::Duration;

use latchwork_core::{Durability, ErrorKind, Reached};
use latchwork_testkit::{TestServer, Version, fetch_version};
use latchwork_tests::{Fixture, locked, mutex, soon, unlocked};

use super::{durable, expect};

const FSYNC: Durability = Durability::Fsync {
    within: Duration::from_secs(15),
};

/// A server of this version that saves its file by this policy.
fn saving(version: Version, policy: &str) -> TestServer {
    let binary = fetch_version(version).expect("it can be fetched: cargo xtask fetch --version");
    let builder = TestServer::builder().binary(binary).persist(true);
    builder.arg("--appendfsync", policy).start().expect("a server")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_on_disk_when_its_guard_is_handed_out() {
    for policy in ["everysec", "always"] {
        let server = saving(Version::Redis8_2, policy);
        let fixture = Fixture::on(&server);
        let client = durable(&fixture, FSYNC).await;
        for name in ["a", "b"] {
            let guard = soon("a grant", locked(&client, name)).await;
            assert_eq!(guard.reached(), Reached::Disk, "{policy}");
            unlocked(guard).await;
        }
        let calls = server.command_calls().expect("calls");
        assert!(
            calls.get("waitaof").is_some_and(|calls| *calls >= 2),
            "{policy}: {calls:?}"
        );
        fixture.over().await;
    }
}

/// What it says about a server that cannot be relied on.
async fn is_refused(server: &TestServer, text: &str) {
    let fixture = Fixture::on(server);
    let client = durable(&fixture, FSYNC).await;
    for _ in 0..2 {
        let refused = soon("a refusal", mutex(&client, "a").lock()).await;
        expect(refused, ErrorKind::Unsupported, &["Fsync", text]);
        assert!(!fixture.is_held(), "it was released");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_an_append_only_file_is_refused() {
    let server = TestServer::start().expect("a server");
    let text = if server.version().is_at_least(7, 2) {
        "set appendonly to yes"
    } else {
        "does not know WAITAOF"
    };
    is_refused(&server, text).await;
}

/// Valkey 9.1 answers WAITAOF within a tenth of a second, though it saves its file once a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_before_the_file_is_on_disk_is_refused() {
    is_refused(&saving(Version::Valkey9_1, "everysec"), "answers WAITAOF before").await;
}

/// With `always` the file is on disk before any answer, whatever WAITAOF says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_each_answer_comes_after_the_disk_nothing_depends_on_waitaof() {
    let server = saving(Version::Valkey9_1, "always");
    let fixture = Fixture::on(&server);
    let client = durable(&fixture, FSYNC).await;
    let guard = soon("a grant", locked(&client, "a")).await;
    assert_eq!(guard.reached(), Reached::Disk);
    unlocked(guard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_saves_when_it_likes_or_does_not_say_is_refused() {
    is_refused(&saving(Version::Redis8_2, "no"), "appendfsync no").await;
    let server = saving(Version::Redis8_2, "everysec");
    let fixture = Fixture::on(&server);
    let url = fixture.restricted(&["-config"]);
    let client = fixture.builder_at(url).durability(FSYNC).connect().await;
    let client = client.expect("a client");
    let refused = soon("a refusal", mutex(&client, "a").lock()).await;
    expect(refused, ErrorKind::Unsupported, &["does not show its setting"]);
}
