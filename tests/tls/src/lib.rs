//! Certificates for a test, and a server that shows one.

use std::path::PathBuf;

use latchwork_testkit::{TestServer, TlsFiles, find_tls_server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority that nobody knows, and a certificate for `localhost` and 127.0.0.1 that it has signed.
#[derive(Debug)]
pub struct Certificates {
    dir: TempDir,
    /// The authority's certificate, as PEM.
    pub authority: String,
}

impl Certificates {
    /// Makes them in a folder of their own.
    ///
    /// # Panics
    /// If they cannot be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of this test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);

        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");

        let dir = tempfile::tempdir().expect("a folder");
        let made = Self { dir, authority };
        let files = made.files();
        for (file, text) in [
            (files.certificate, certificate.pem()),
            (files.key, key.serialize_pem()),
            (files.authority, made.authority.clone()),
        ] {
            std::fs::write(file, text).expect("written");
        }
        made
    }

    /// What a server needs.
    pub fn files(&self) -> TlsFiles {
        let file = |name: &str| -> PathBuf { self.dir.path().join(name) };
        TlsFiles {
            certificate: file("server.pem"),
            key: file("server.key"),
            authority: file("authority.pem"),
        }
    }

    /// A server that shows the certificate. `protocols`: only these, as in `TLSv1.2`.
    ///
    /// # Panics
    /// If there is no server with TLS: these tests must not pass without one.
    pub fn server(&self, protocols: Option<&str>) -> TestServer {
        let binary = match find_tls_server() {
            Ok(binary) => binary,
            Err(error) => panic!("{error}"),
        };
        let mut builder = TestServer::builder().binary(binary).tls(self.files());
        if let Some(protocols) = protocols {
            builder = builder.arg("--tls-protocols", protocols);
        }
        builder.start().expect("a server with TLS")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// `rediss://<host>:<port>` of a server with TLS.
///
/// # Panics
/// If it has none.
pub fn url(server: &TestServer, host: &str) -> String {
    let port = server.tls_port().expect("it speaks TLS");
    format!("rediss://{host}:{port}")
}
