//! A program that has chosen a provider for rustls keeps it. In a process of its own: there is one choice per process.
#![cfg(feature = "tls-rustls")]

use latchwork_mutex::Client;
use latchwork_tests_tls::{Certificates, url};
use rustls::crypto::{CryptoProvider, ring};

#[tokio::test]
async fn the_programs_own_choice_is_used() {
    let mut own = ring::default_provider();
    own.cipher_suites.truncate(1);
    own.install_default().expect("the first");
    let certificates = Certificates::new();
    let server = certificates.server(None);
    let error = Client::connect(url(&server, "127.0.0.1"))
        .await
        .expect_err("refused");
    assert!(format!("{error}").contains("certificate"), "{error}");
    let used = CryptoProvider::get_default().expect("installed");
    assert_eq!(used.cipher_suites.len(), 1, "not replaced");
}
