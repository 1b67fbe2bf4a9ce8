//! Clusters and sentinels whose servers speak TLS to each other.

mod common;

use std::fs;

use common::{cluster, sentinel};
use latchwork_testkit::{TestCluster, TestSentinel, TlsFiles, find_tls_server, slot_of};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority of its own, and a server's certificate.
fn certificates() -> (TempDir, TlsFiles) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    let name = "authority of this test"; // unlike that of the server's, or it looks signed by itself
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = CertificateParams::new(names).expect("names");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let files = TlsFiles {
        certificate: write("server.pem", certificate.pem()),
        key: write("server.key", key.serialize_pem()),
        authority: write("authority.pem", authority),
    };
    (dir, files)
}

#[test]
fn a_cluster() {
    let (_dir, files) = certificates();
    let builder = TestCluster::builder(3, 1).binary(find_tls_server().unwrap());
    let cluster = cluster(builder.tls(files).password("sesame"));
    let slot = slot_of("k");
    let source = cluster.master_of(slot).unwrap();
    source.admin(&["SET", "k", "v"]).unwrap();
    let url = source.tls_url("localhost").unwrap();
    let port = source.tls_port().unwrap();
    assert_eq!(url, format!("rediss://:sesame@localhost:{port}"));
    let target = cluster.stranger_to(slot).unwrap();
    let moved = target.admin(&["GET", "k"]).unwrap_err().to_string();
    let plain = format!("MOVED {slot} 127.0.0.1:{}", source.port());
    assert_eq!(moved, plain, "to a client without TLS");

    cluster.migrate_slot(slot, target).unwrap();
    assert_eq!(target.admin(&["GET", "k"]).unwrap().text().unwrap(), "v");
    let new = cluster.failover(slot).unwrap();
    assert_eq!(new.admin(&["GET", "k"]).unwrap().text().unwrap(), "v");
}

#[test]
fn sentinels() {
    let (_dir, files) = certificates();
    let builder = TestSentinel::builder(1, 1, 3).binary(find_tls_server().unwrap());
    let all = sentinel(builder.tls(files).password("sesame").sentinel_password("open"));
    let old = all.master().unwrap();
    let asked = &all.sentinels()[0];
    let named = asked
        .admin(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", all.name()])
        .unwrap();
    assert_eq!(
        named.items()[1].int(),
        old.tls_port().map(i64::from),
        "its port for TLS"
    );
    assert!(
        asked
            .tls_url("localhost")
            .unwrap()
            .starts_with("rediss://:open@localhost:")
    );
    assert_ne!(all.failover().unwrap(), old);
}
