//! Sentinels and the servers that they name speak TLS, each with credentials of their own.
#![cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use latchwork_mutex::{Client, ClientBuilder, ErrorKind, Mutex, Sentinel, Tls};
use latchwork_testkit::{TestSentinel, TestServer, find_tls_server};
use latchwork_tests::{eventually, soon};
use latchwork_tests_tls::Certificates;

fn start(certificates: &Certificates) -> TestSentinel {
    let binary = find_tls_server().expect("a server with TLS");
    let builder = TestSentinel::builder(1, 1, 3).binary(binary);
    let builder = builder.tls(certificates.files());
    let builder = builder
        .password("of-the-servers")
        .sentinel_password("of-the-sentinels");
    builder.start().expect("sentinels")
}

/// Options for a client, whose certificates are still missing.
fn named(all: &TestSentinel) -> Sentinel {
    let url = |sentinel: &TestServer| sentinel.tls_url("127.0.0.1").expect("it speaks TLS");
    let urls: Vec<_> = all.sentinels().iter().map(url).collect();
    Sentinel::new(all.name(), urls)
        .password("of-the-servers")
        .servers_with_tls()
}

fn trusting(certificates: &Certificates) -> Tls {
    Tls::new().authority(certificates.authority.as_str())
}

async fn connected(builder: ClientBuilder) -> Client {
    soon("a connection", builder.connect()).await.expect("connected")
}

#[tokio::test]
async fn a_client_follows_a_failover_over_tls() {
    let certificates = Certificates::new();
    let all = start(&certificates);
    let builder = Client::builder()
        .sentinel(named(&all))
        .tls(trusting(&certificates));
    let client = connected(builder).await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    all.wait_replicated().expect("copied");
    let new = all.failover().expect("another primary");
    let expected = format!("127.0.0.1:{}", new.tls_port().expect("it speaks TLS"));
    eventually("it follows", || {
        client.server().is_some_and(|it| it.address == expected)
    })
    .await;
    eventually("it listens", || client.is_listening()).await;
    guard.unlock().await.expect("the record went along");
}

#[tokio::test]
async fn an_authority_of_their_own_is_for_sentinels_alone() {
    let certificates = Certificates::new();
    let all = start(&certificates);
    let (right, wrong) = (trusting(&certificates), trusting(&Certificates::new()));
    let with = |servers: &Tls, sentinels: &Tls| {
        let sentinel = named(&all).sentinel_tls(sentinels.clone());
        Client::builder().sentinel(sentinel).tls(servers.clone())
    };
    connected(with(&right, &right)).await;
    for (servers, sentinels) in [(&right, &wrong), (&wrong, &right)] {
        let error = soon("a refusal", with(servers, sentinels).connect()).await;
        let error = error.expect_err("one of them is not trusted");
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    }
}

#[tokio::test]
async fn certificates_without_tls_are_refused() {
    let certificates = Certificates::new();
    let sentinel = Sentinel::new("mymaster", ["redis://127.0.0.1:1"]);
    let builder = Client::builder().sentinel(sentinel).tls(trusting(&certificates));
    let error = builder.connect().await.expect_err("nobody would use them");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}
