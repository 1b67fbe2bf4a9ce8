//! `rediss://` with both TLS libraries: certificates are used as given, and errors name the cause.
//!
//! Nobody installs a provider for rustls here, and none can be told from the features: as in a
//! program that has two.
#![cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::error::Error as _;
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use latchwork_mutex::{Client, ClientBuilder, Error, ErrorKind, Mutex, Tls, redis};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, eventually, go, soon};
use latchwork_tests_tls::{Certificates, url};

const PATIENCE: Duration = Duration::from_secs(10);

/// Trusts the authority.
fn trusting(certificates: &Certificates) -> Tls {
    Tls::new().authority(certificates.authority.as_str())
}

fn at(server: &TestServer, host: &str) -> ClientBuilder {
    let builder = Client::builder().url(url(server, host));
    builder
        .prefix(Fixture::on(server).prefix)
        .operation_timeout(PATIENCE)
}

/// A client that trusts the authority.
async fn connect(server: &TestServer, host: &str, certificates: &Certificates) -> Client {
    let connecting = at(server, host).tls(trusting(certificates)).connect();
    soon("a connection", connecting).await.expect("connected")
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

/// The error of connecting, which is about TLS, with these words in its first line.
async fn refused(builder: ClientBuilder, words: &[&str]) -> Error {
    let error = soon("a refusal", builder.connect()).await.expect_err("refused");
    check(&error, words);
    error
}

fn check(error: &Error, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!error.is_transient(), "it needs somebody: {error:?}");
    for word in words {
        assert!(
            text.to_lowercase().contains(&word.to_lowercase()),
            "{word} is not in: {text}"
        );
    }
    assert!(
        !text.contains("running") && !text.contains("runtime"),
        "misleads: {text}"
    );
    assert!(error.source().is_none(), "the cause twice: {error:?}");
}

#[tokio::test]
async fn connects_with_an_authority_from_memory_and_from_a_file() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    for host in ["127.0.0.1", "localhost"] {
        let client = connect(&server, host, &certificates).await;
        hands_over(&client).await;
        client.close().await;
    }
    let other = Certificates::new().authority;
    // More than one, in one text and in several.
    let both = format!("{other}\n{}", certificates.authority);
    let tls = Tls::new().authority_file(certificates.file("authority.pem"));
    for tls in [tls.clone(), tls.authority(other), Tls::new().authority(both)] {
        let client = at(&server, "localhost")
            .tls(tls)
            .connect()
            .await
            .expect("connected");
        hands_over(&client).await;
    }
}

#[tokio::test]
async fn connects_with_the_certificates_of_the_users_client() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let trusted = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(certificates.authority.clone().into_bytes()),
    };
    let theirs = redis::Client::build_with_tls(url(&server, "localhost"), trusted).expect("a client");
    let builder = Client::builder()
        .redis(&theirs)
        .prefix(Fixture::on(&server).prefix);
    hands_over(&builder.clone().connect().await.expect("connected")).await;
    // Ours replace theirs.
    let other = Tls::new().authority(Certificates::new().authority);
    refused(builder.tls(other), &["certificate", "Tls::authority"]).await;
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
    server.kill().expect("killed");
    server.restart().expect("restarted");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    guard.unlock().await.expect("released");
    eventually("the inbox, too", || client.is_listening()).await;
}

#[tokio::test]
async fn an_unknown_authority_and_another_host_are_named() {
    let certificates = Certificates::for_hosts(&["127.0.0.1"]);
    let server = certificates.server(None);
    let unknown = ["TLS", "certificate", "authority", "Tls::authority"];
    refused(at(&server, "127.0.0.1"), &unknown).await;
    let wrong = Tls::new().authority(Certificates::new().authority);
    refused(at(&server, "127.0.0.1").tls(wrong), &unknown).await;
    let trusting = trusting(&certificates);
    refused(
        at(&server, "localhost").tls(trusting),
        &["certificate", "another host"],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_it() {
    let certificates = Certificates::new();
    let own = &certificates.client;
    let by_bytes = trusting(&certificates).client_certificate(own.certificate.as_str(), own.key.as_str());
    let files = (certificates.file("client.pem"), certificates.file("client.key"));
    let by_files = trusting(&certificates).client_certificate_files(files.0, files.1);
    for options in [&[("--tls-protocols", "TLSv1.2")][..], &[]] {
        let server = certificates.server_with(&[&[("--tls-auth-clients", "yes")], options].concat());
        for tls in [&by_bytes, &by_files] {
            let client = at(&server, "localhost").tls(tls.clone()).connect().await;
            hands_over(&client.expect("connected")).await;
        }
        // Many times: the server's alert comes when the client has begun to send.
        for _ in 0..6 {
            let without = at(&server, "localhost").tls(trusting(&certificates));
            refused(without, &["client certificate", "Tls::client_certificate"]).await;
        }
        let strange = Certificates::new().client;
        let strange = trusting(&certificates).client_certificate(strange.certificate, strange.key);
        for _ in 0..6 {
            refused(
                at(&server, "localhost").tls(strange.clone()),
                &["client certificate"],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn with_tls_to_a_plain_port_and_the_reverse() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let tls_port = server.tls_port().expect("a port");
    let plain = Client::builder().url(format!("rediss://127.0.0.1:{}", server.port()));
    let plain = plain
        .tls(trusting(&certificates))
        .operation_timeout(Duration::from_millis(300));
    refused(plain.clone(), &["does not speak TLS", "redis://"]).await;
    server
        .admin(&["CONFIG", "SET", "requirepass", "secret"])
        .expect("a password");
    refused(plain, &["does not speak TLS", "redis://"]).await;
    for _ in 0..6 {
        let reverse = Client::builder().url(format!("redis://127.0.0.1:{tls_port}"));
        refused(reverse, &["speaks TLS", "rediss://"]).await;
    }
}

#[tokio::test]
async fn errors_while_reconnecting_are_of_the_same_kind() {
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let builder = at(&server, "localhost").tls(trusting(&certificates));
    let builder = builder.unavailable_after(Duration::from_millis(300));
    let client = builder
        .operation_timeout(Duration::from_millis(300))
        .connect()
        .await;
    let client = client.expect("connected");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    // The server comes back with the certificate of another authority.
    let other = Certificates::new();
    for file in ["server.pem", "server.key"] {
        std::fs::copy(other.file(file), certificates.file(file)).expect("replaced");
    }
    server.restart().expect("restarted");
    let again = async {
        loop {
            let error = mutex.lock().await.expect_err("not trusted");
            if error.kind() == ErrorKind::Tls {
                return error;
            }
            assert_eq!(error.kind(), ErrorKind::Unavailable, "at first: {error:?}");
        }
    };
    let error = soon("the cause", again).await;
    assert!(error.to_string().contains("Tls::authority"), "{error}");
}

#[tokio::test]
async fn certificates_in_files_may_be_renewed() {
    let certificates = Certificates::new();
    let server = certificates.server_for_known_clients();
    let mine = Certificates::new();
    let copy = |from: &Certificates, to: &Certificates, files: &[&str]| {
        for file in files {
            std::fs::copy(from.file(file), to.file(file)).expect("copied");
        }
    };
    let shown = ["authority.pem", "client.pem", "client.key"];
    copy(&certificates, &mine, &shown);
    let tls = Tls::new()
        .authority_file(mine.file("authority.pem"))
        .client_certificate_files(mine.file("client.pem"), mine.file("client.key"));
    let client = at(&server, "localhost")
        .tls(tls)
        .connect()
        .await
        .expect("connected");
    // All are of another authority now.
    let other = Certificates::new();
    copy(
        &other,
        &certificates,
        &["server.pem", "server.key", "authority.pem"],
    );
    copy(&other, &mine, &shown);
    server.restart().expect("restarted");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = soon("a lock", mutex.lock()).await.expect("connected again");
    guard.unlock().await.expect("released");
    eventually("the inbox, too", || client.is_listening()).await;
    // A file that is not there for a while is no reason not to connect.
    std::fs::remove_file(mine.file("client.pem")).expect("removed");
    server.restart().expect("restarted");
    let guard = soon("a lock", mutex.lock()).await.expect("connected again");
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn bad_certificates_are_refused_before_anything_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let url = format!("rediss://{}", listener.local_addr().expect("an address"));
    let certificates = Certificates::new();
    let (own, other) = (&certificates.client, Certificates::new().client);
    let (certificate, key) = (own.certificate.as_str(), own.key.as_str());
    let missing = certificates.file("missing.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let tls = Tls::new;
    for (tls, words) in [
        (tls().authority(""), ["authority", "no certificate"]),
        (tls().authority("no PEM"), ["authority", "no certificate"]),
        (tls().authority(broken), ["authority", "cannot use"]),
        (tls().authority_file(&missing), ["authority", "missing.pem"]),
        (
            tls().authority_file(certificates.file("server.key")),
            ["server.key", "no certificate"],
        ),
        (
            tls().client_certificate("", key),
            ["client certificate", "no certificate"],
        ),
        (
            tls().client_certificate(certificate, ""),
            ["client key", "cannot use"],
        ),
        (
            tls().client_certificate(certificate, "no PEM"),
            ["client key", "cannot use"],
        ),
        (
            tls().client_certificate(certificate, other.key),
            ["client key", "cannot use"],
        ),
        (
            tls().client_certificate_files(&missing, certificates.file("client.key")),
            ["client certificate", "missing.pem"],
        ),
        (
            tls().client_certificate_files(certificates.file("client.pem"), &missing),
            ["client key", "missing.pem"],
        ),
    ] {
        let connecting = Client::builder().url(&url).tls(tls.clone()).connect();
        let error = soon("a refusal", connecting).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{tls:?}: {error:?}");
        for word in words {
            assert!(error.to_string().contains(word), "{word} is not in: {error}");
        }
    }
    assert!(listener.accept().is_err(), "nobody has connected");
    let plain = Client::builder().url("redis://127.0.0.1:1").tls(Tls::new());
    let error = plain.connect().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("rediss://"), "{error}");
    let insecure = Client::builder()
        .url("rediss://127.0.0.1:1#insecure")
        .tls(Tls::new());
    let error = insecure.connect().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

/// Something that takes connections and answers nothing stays `Unavailable`.
#[tokio::test]
async fn a_silent_server_is_not_taken_for_a_plain_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("rediss://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {});
        }
    });
    let builder = Client::builder()
        .url(url)
        .operation_timeout(Duration::from_millis(100));
    let error = soon("a refusal", builder.connect()).await.expect_err("silent");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("does not answer"), "{error}");
}
