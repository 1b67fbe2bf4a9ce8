//! A missing ACL right is named by an error or a warning, and the documented rights suffice.

use latchwork_mutex::{Client, Error, ErrorKind, Warning};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, eventually, go, granted, locked, mutex, soon};

use super::expect;

/// Connects as a user who may do everything but for these rules.
async fn connect(server: &TestServer, rules: &[&str]) -> Result<Client, Error> {
    let fixture = Fixture::on(server);
    let builder = fixture.builder_at(fixture.restricted(rules));
    soon("a connection", builder.connect()).await
}

#[tokio::test]
async fn h46_rights_that_connecting_needs() {
    let server = TestServer::start().expect("a server");
    let connected = connect(&server, &["-time"]).await;
    let error = expect(connected, ErrorKind::Denied, &["`+time`", "ACL"]);
    assert!(!error.is_transient(), "it needs somebody: {error}");
}

#[tokio::test]
async fn without_the_right_to_load_scripts_they_are_sent_as_text() {
    let server = TestServer::start().expect("a server");
    let client = connect(&server, &["-script"]).await.expect("a client");
    let warnings = client.warnings();
    let said = |warning: &Warning| matches!(warning, Warning::ScriptsAsText { .. });
    assert!(warnings.iter().any(said), "{warnings:?}");
    for _ in 0..2 {
        let guard = locked(&client, "a").await;
        guard.unlock().await.expect("released");
        server.flush_scripts().expect("forgotten");
    }
}

#[tokio::test]
async fn h46_publish_and_channels_are_warnings() {
    let server = TestServer::start().expect("a server");
    let client = connect(&server, &["resetchannels", "&elsewhere:*"])
        .await
        .expect("a client");
    let warnings = client.warnings();
    let denied = warnings.iter().find_map(|warning| match warning {
        Warning::SubscribeDenied { message } => Some((message, warning.to_string())),
        _ => None,
    });
    let (message, text) = denied.unwrap_or_else(|| panic!("not among {warnings:?}"));
    assert!(message.contains("channel"), "what the server said: {message}");
    assert!(text.contains("allow SUBSCRIBE"), "the remedy: {text}");
    let guard = locked(&client, "a").await;
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn without_info_nothing_is_checked_and_a_warning_is_given() {
    let server = TestServer::start().expect("a server");
    let client = connect(&server, &["-info"]).await.expect("a client");
    let warnings = client.warnings();
    let said = |warning: &Warning| matches!(warning, Warning::NotInspected { .. });
    assert!(warnings.iter().any(said), "{warnings:?}");
    let guard = locked(&client, "a").await;
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let keys = format!("~{}:*", fixture.prefix);
    let channels = format!("&{}:*", fixture.prefix);
    let mut command = vec![
        "ACL",
        "SETUSER",
        "worker",
        "on",
        ">secret",
        &keys,
        "resetchannels",
        &channels,
        "-@all",
    ];
    command.extend([
        "+evalsha",
        "+eval",
        "+script|load",
        "+time",
        "+info",
        "+ping",
        "+subscribe",
        "+publish",
        "+pubsub",
        "+set",
        "+get",
        "+mget",
        "+pexpire",
        "+pttl",
        "+@sortedset",
    ]);
    server.admin(&command).expect("a user");
    let url = format!("redis://worker:secret@127.0.0.1:{}", server.port());
    let client = soon("a connection", fixture.builder_at(url).connect()).await;
    let client = client.expect("a client");
    assert!(client.is_listening(), "it may subscribe");
    let mutex = mutex(&client, "a");
    let guard = soon("a lock", mutex.lock()).await.expect("the lock");
    let waiter = go(mutex.lock());
    fixture.queued(1).await;
    mutex.inspect().await.expect("an answer");
    guard.unlock().await.expect("released");
    let second = granted(waiter).await;
    assert!(mutex.force_unlock().await.expect("an answer"), "it was held");
    soon("a loss", second.lost()).await;
    let warnings = client.warnings();
    assert!(!warnings.contains(&Warning::PublishDenied), "{warnings:?}");
}

#[tokio::test]
async fn the_right_to_publish_can_be_given_later() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let url = fixture.restricted(&["-publish"]);
    let client = fixture.builder_at(url).connect().await.expect("a client");
    assert!(!client.is_listening(), "nobody can tell it anything");
    fixture.restricted(&["+publish"]);
    server.kill_normal_clients().expect("an answer");
    eventually("it listens", || client.is_listening()).await;
}
