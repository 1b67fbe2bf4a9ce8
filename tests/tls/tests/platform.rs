//! `SSL_CERT_FILE` takes the place of the platform's authorities, without any option.
//!
//! In a process of its own: it is set for the whole process.
#![cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use latchwork_mutex::{Client, Mutex};
use latchwork_tests::Fixture;
use latchwork_tests_tls::{Certificates, url};

const AGAIN: &str = "LATCHWORK_PLATFORM_TEST";

#[test]
fn the_platforms_authorities_are_trusted() {
    if let Ok(url) = std::env::var(AGAIN) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(lock(&url));
        return;
    }
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let fixture = Fixture::on(&server);
    let again = std::process::Command::new(std::env::current_exe().expect("a path"))
        .env(AGAIN, url(&server, "localhost"))
        .env("SSL_CERT_FILE", certificates.file("authority.pem"))
        .output()
        .expect("started");
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stdout)
    );
    fixture.check_leftovers();
}

async fn lock(url: &str) {
    let client = Client::connect(url).await.expect("connected");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    guard.unlock().await.expect("released");
}
