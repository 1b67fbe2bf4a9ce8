//! `rediss://`, with the TLS library that the features name, against a server with a certificate of an unknown authority.
//! Nobody installs a provider for rustls here, and none can be told from the features: as in a program that has two.
#![cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::time::Duration;

use latchwork_mutex::{Client, ErrorKind, Mutex, redis};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, eventually, go};
use latchwork_tests_tls::{Certificates, url};

/// A client that trusts the authority.
async fn connect(server: &TestServer, host: &str, certificates: &Certificates) -> Client {
    let trusted = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(certificates.authority.clone().into_bytes()),
    };
    let theirs = redis::Client::build_with_tls(url(server, host), trusted).expect("a client");
    let connecting = Client::builder()
        .redis(&theirs)
        .prefix(Fixture::on(server).prefix)
        .connect();
    connecting.await.expect("connected")
}

async fn hands_over(client: &Client) {
    assert!(client.is_listening(), "the inbox, too");
    let mutex = Mutex::new(client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(mutex.lock());
    let waits = || async { mutex.inspect().await.expect("an answer").queue_len == 1 };
    while !waits().await {
        tokio::task::yield_now().await;
    }
    guard.unlock().await.expect("released");
    let guard = waiter.await.expect("no panic").expect("handed over");
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn connects_with_the_certificates_of_the_users_client() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    for host in ["127.0.0.1", "localhost"] {
        let client = connect(&server, host, &certificates).await;
        hands_over(&client).await;
        client.close().await;
    }
}

/// What older servers have, and hosted ones.
#[tokio::test]
async fn connects_with_tls_1_2() {
    let certificates = Certificates::new();
    let server = certificates.server(Some("TLSv1.2"));
    let client = connect(&server, "127.0.0.1", &certificates).await;
    hands_over(&client).await;
}

#[tokio::test]
async fn connects_again_when_the_server_was_away() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let client = connect(&server, "127.0.0.1", &certificates).await;
    server.restart().expect("restarted");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    guard.unlock().await.expect("released");
    eventually("the inbox, too", || client.is_listening()).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named_in_the_error() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let builder = Client::builder().url(url(&server, "127.0.0.1"));
    let connecting = builder.operation_timeout(Duration::from_secs(10)).connect();
    let error = connecting.await.expect_err("refused");
    let text = format!("{error}").to_lowercase();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(text.contains("certificate") && text.contains("tls"), "{text}");
    assert!(!text.contains("runtime"), "{text}");
}
