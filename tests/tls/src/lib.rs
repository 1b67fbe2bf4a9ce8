//! Certificates for a test, and a server that shows one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use latchwork_testkit::{TestServer, TlsFiles, find_tls_server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// How many authorities this process has made.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs, reason = "a certificate has these two")]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key, as PKCS #8.
    pub key: String,
}

/// An authority that nobody knows, and certificates that it has signed.
#[derive(Debug)]
pub struct Certificates {
    dir: TempDir,
    /// The authority's certificate, as PEM.
    pub authority: String,
    /// A certificate for a client.
    pub client: Pair,
}

impl Certificates {
    /// Makes them in a folder of their own: the server's is for `localhost` and 127.0.0.1.
    ///
    /// # Panics
    /// If they cannot be made.
    pub fn new() -> Self {
        Self::for_hosts(&["localhost", "127.0.0.1"])
    }

    /// The same, with a server's certificate for these hosts.
    ///
    /// # Panics
    /// If they cannot be made.
    pub fn for_hosts(hosts: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // Of its own name, by which libraries look for it.
        let name = format!("authority {} of this test", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let signed = |names: Vec<String>| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(names).expect("names");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            Pair {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            }
        };
        let server = signed(hosts.iter().map(|&host| host.to_owned()).collect());
        let made = Self {
            client: signed(vec!["a-client".to_owned()]),
            dir: tempfile::tempdir().expect("a folder"),
            authority,
        };
        for (file, text) in [
            ("server.pem", &server.certificate),
            ("server.key", &server.key),
            ("authority.pem", &made.authority),
            ("client.pem", &made.client.certificate),
            ("client.key", &made.client.key),
        ] {
            std::fs::write(made.file(file), text).expect("written");
        }
        made
    }

    /// The path of `server`, `authority` or `client` with the ending `pem`, or of the two keys with `key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a server needs.
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.file("server.pem"),
            key: self.file("server.key"),
            authority: self.file("authority.pem"),
        }
    }

    /// A server that shows the certificate. `protocols`: only these, as in `TLSv1.2`.
    ///
    /// # Panics
    /// If there is no server with TLS: these tests must not pass without one.
    pub fn server(&self, protocols: Option<&str>) -> TestServer {
        let options: Vec<_> = protocols
            .map(|protocols| ("--tls-protocols", protocols))
            .into_iter()
            .collect();
        self.server_with(&options)
    }

    /// A server that only takes clients with a certificate of the authority.
    ///
    /// # Panics
    /// If there is no server with TLS.
    pub fn server_for_known_clients(&self) -> TestServer {
        self.server_with(&[("--tls-auth-clients", "yes")])
    }

    /// A server with these options.
    ///
    /// # Panics
    /// If there is no server with TLS.
    pub fn server_with(&self, options: &[(&str, &str)]) -> TestServer {
        let binary = match find_tls_server() {
            Ok(binary) => binary,
            Err(error) => panic!("{error}"),
        };
        let mut builder = TestServer::builder().binary(binary).tls(self.files());
        for (option, value) in options {
            builder = builder.arg(option, value);
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
