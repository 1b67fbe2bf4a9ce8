//! A server that hides commands is used as far as it can be, with one warning for each.

use std::error::Error as _;

use latchwork_mutex::{ErrorKind, Warning};
use latchwork_testkit::{Builder, TestServer};
use latchwork_tests::{Fixture, go, granted, locked, mutex, soon};

use super::expect;

/// Everything that can be missed; `EVAL` instead of `EVALSHA`, and the other way round.
const HIDDEN: [&str; 14] = [
    "INFO",
    "SCRIPT",
    "CONFIG",
    "EVALSHA",
    "EVAL",
    "PUBLISH",
    "SUBSCRIBE",
    "PUBSUB",
    "PING",
    "CLIENT",
    "HELLO",
    "SET",
    "MGET",
    "COMMAND",
];

fn server(hidden: &[&str]) -> TestServer {
    let hide = |builder: Builder, command: &&str| builder.rename(command);
    let builder = hidden.iter().fold(TestServer::builder(), hide);
    builder.start().expect("a server")
}

/// Nothing of a script is in the text.
fn check_text(text: &str) {
    for word in ["local ", "redis.call", "KEYS["] {
        assert!(!text.contains(word), "{word} is in: {text}");
    }
}

/// Locks, hands over and releases; returns the warnings.
async fn work(hidden: &[&str]) -> Vec<Warning> {
    let server = server(hidden);
    let fixture = Fixture::on(&server);
    let client = soon("a connection", fixture.builder().connect()).await;
    let client = client.unwrap_or_else(|error| panic!("{hidden:?}: {error:?}"));
    let mutex = mutex(&client, "a");
    for _ in 0..2 {
        let first = locked(&client, "a").await;
        let waiter = go(mutex.lock());
        let queued = async {
            while mutex.inspect().await.expect("an answer").queue_len == 0 {
                tokio::task::yield_now().await;
            }
        };
        soon("a place", queued).await;
        soon("a release", first.unlock()).await.expect("released");
        let second = granted(waiter).await;
        soon("a release", second.unlock()).await.expect("released");
        // What was loaded or sent is forgotten: it is sent again.
        let script = if hidden.contains(&"SCRIPT") {
            "hidden-SCRIPT"
        } else {
            "SCRIPT"
        };
        server.admin(&[script, "FLUSH"]).expect("forgotten");
    }
    let warnings = client.warnings();
    for warning in &warnings {
        check_text(&warning.to_string());
    }
    warnings
}

fn is_text(warning: &Warning) -> bool {
    matches!(warning, Warning::ScriptsAsText { .. })
}

fn is_not_inspected(warning: &Warning) -> bool {
    matches!(warning, Warning::NotInspected { .. })
}

#[tokio::test]
async fn each_command_alone() {
    for hidden in HIDDEN {
        let warnings = work(&[hidden]).await;
        let expected: &[fn(&Warning) -> bool] = match hidden {
            "INFO" => &[is_not_inspected],
            // Nobody can say whether the server keeps anything.
            "CONFIG" => &[],
            "SCRIPT" | "EVALSHA" => &[|warning| *warning == Warning::NoPersistence, is_text],
            "PUBLISH" => &[
                |warning| *warning == Warning::NoPersistence,
                |warning| *warning == Warning::PublishDenied,
            ],
            "SUBSCRIBE" => &[
                |warning| *warning == Warning::NoPersistence,
                |warning| matches!(warning, Warning::SubscribeDenied { .. }),
            ],
            _ => &[|warning| *warning == Warning::NoPersistence],
        };
        assert_eq!(warnings.len(), expected.len(), "{hidden}: {warnings:?}");
        for (warning, fits) in warnings.iter().zip(expected) {
            assert!(fits(warning), "{hidden}: {warnings:?}");
        }
    }
}

#[tokio::test]
async fn all_at_once_but_one_way_to_run_scripts() {
    let without_eval: Vec<&str> = HIDDEN.into_iter().filter(|&name| name != "EVAL").collect();
    let warnings = work(&without_eval).await;
    assert_eq!(
        warnings.iter().filter(|warning| is_text(warning)).count(),
        2,
        "{warnings:?}"
    );
    assert!(warnings.iter().any(is_not_inspected), "{warnings:?}");
}

/// The commands of which a script or the client cannot do without.
#[tokio::test]
async fn what_is_needed_is_named() {
    let server = server(&["TIME"]);
    let fixture = Fixture::on(&server);
    let connected = soon("a refusal", fixture.builder().connect()).await;
    let error = expect(connected, ErrorKind::Unsupported, &["TIME"]);
    check_text(&format!("{error:?}"));

    for hidden in [&["ZADD"][..], &["EVALSHA", "EVAL"], &["SCRIPT", "EVAL"]] {
        let server = self::server(hidden);
        let fixture = Fixture::on(&server);
        let client = fixture.client().await;
        let refused = soon("a refusal", mutex(&client, "a").lock()).await;
        let error = expect(
            refused,
            ErrorKind::Unsupported,
            &["`a`", hidden[hidden.len() - 1]],
        );
        check_text(&format!("{error:?}"));
        assert!(
            error
                .source()
                .is_none_or(|cause| !cause.to_string().contains("args")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_cluster_that_serves_nothing_yet_says_so() {
    let server = TestServer::builder().cluster(true).start().expect("a node");
    server.admin(&["CLUSTER", "FLUSHSLOTS"]).expect("flushed");
    let fixture = Fixture::on(&server);
    let theirs = redis::Client::open(server.url()).expect("a client");
    for builder in [fixture.builder(), fixture.builder().redis(&theirs)] {
        let connected = soon("a refusal", builder.connect()).await;
        let error = expect(connected, ErrorKind::Unavailable, &["no slots", "127.0.0.1"]);
        assert!(error.is_transient(), "it may soon: {error}");
    }
}
