//! What TLS needs besides a feature of the driver: a provider, and certificates that are checked
//! before anything is sent.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use redis::{ClientTlsConfig, ConnectionInfo, TlsCertificates};

use crate::types::error::{Error, Result};
use crate::types::tls::{Pem, Tls};

/// A part of a [`Tls`] that was read, and how an error names it.
struct Text {
    what: String,
    pem: Vec<u8>,
}

impl Text {
    fn read(what: &str, pem: &Pem) -> Result<Self> {
        match pem {
            Pem::Bytes(bytes) => Ok(Self {
                what: what.to_owned(),
                pem: bytes.clone(),
            }),
            Pem::File(path) => {
                let what = format!("{what} in `{}`", path.display());
                match std::fs::read(path) {
                    Ok(pem) => Ok(Self { what, pem }),
                    Err(error) => Err(Error::invalid(format!("cannot read the {what}: {error}"))),
                }
            }
        }
    }

    /// The error of a text that cannot be used.
    fn bad(&self, why: impl std::fmt::Display) -> Error {
        Error::invalid(format!("cannot use the {}: {why}", self.what))
    }
}

/// Prepares the process for TLS. Every connection with TLS needs it, also one of a client that the user made.
pub(crate) fn prepare() {
    choose_provider();
}

/// Reads and checks certificates, and makes a client that uses them, and a connector that does so, too. Blocks: it reads
/// files.
pub(crate) fn client(tls: &Tls, info: ConnectionInfo) -> Result<(redis::Client, Connector)> {
    let read = |pem| Text::read("certificate authority", pem);
    let authorities = tls.authorities.iter().map(read).collect::<Result<Vec<_>>>()?;
    let own = match &tls.client {
        Some((certificate, key)) => Some((
            Text::read("client certificate", certificate)?,
            Text::read("client key", key)?,
        )),
        None => None,
    };
    let (roots, root_cert) = trusted(&authorities)?;
    let connector = connector(roots, own.as_ref())?;
    let client_tls = own.map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.pem,
        client_key: key.pem,
    });
    let certificates = TlsCertificates {
        client_tls,
        root_cert,
    };
    let client = redis::Client::build_with_tls(info, certificates)
        .map_err(|error| Error::invalid(format!("cannot use the certificates: {error}")))?;
    Ok((client, Connector(connector)))
}

/// Shakes hands as a client does, and then is silent.
#[derive(Clone)]
pub(crate) struct Connector(Inner);

impl Connector {
    /// What is wrong with the handshake. Blocks, at most a few times this long.
    ///
    /// In TLS 1.3 a client has begun to send when the server refuses its certificate, and may get to see a reset
    /// connection in place of the server's alert. One that sends nothing sees the alert.
    pub(crate) fn look(&self, host: &str, port: u16, patience: Duration) -> Option<std::io::Error> {
        let address = (host, port).to_socket_addrs().ok()?.next()?;
        let stream = TcpStream::connect_timeout(&address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.set_write_timeout(Some(patience)).ok()?;
        read_a_byte(&self.0, host, stream).err()
    }
}

/// The texts as one.
fn join(authorities: &[Text]) -> Vec<u8> {
    let texts: Vec<&[u8]> = authorities.iter().map(|text| &*text.pem).collect();
    texts.join(&b'\n')
}

#[cfg(feature = "tls-rustls")]
use with_rustls::{Inner, choose_provider, connector, read_a_byte, trusted};

#[cfg(feature = "tls-rustls")]
mod with_rustls {
    use std::collections::HashSet;
    use std::io::{Error, Read, Result as IoResult};
    use std::net::TcpStream;
    use std::sync::Arc;

    use rustls::crypto::{CryptoProvider, ring};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::Text;
    use crate::base::trace::warn;
    use crate::types::error::Result;

    pub(super) type Inner = Arc<ClientConfig>;

    /// Who is trusted, and the same as PEM.
    pub(super) fn trusted(authorities: &[Text]) -> Result<(RootCertStore, Option<Vec<u8>>)> {
        if authorities.is_empty() {
            let (roots, pem) = known_authorities();
            return Ok((roots, Some(pem.into_bytes())));
        }
        let mut roots = RootCertStore::empty();
        for text in authorities {
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(&text.pem) {
                let certificate = certificate.map_err(|error| text.bad(error))?;
                roots.add(certificate).map_err(|error| text.bad(error))?;
            }
            if roots.len() == before {
                return Err(text.bad(super::NO_CERTIFICATE));
            }
        }
        Ok((roots, Some(super::join(authorities))))
    }

    /// Mozilla's authorities and the platform's.
    fn known_authorities() -> (RootCertStore, String) {
        let platform = rustls_native_certs::load_native_certs();
        if let Some(error) = platform.errors.first() {
            warn!(error = %error, "some of the platform's certificate authorities cannot be read");
        }
        let mut seen = HashSet::new();
        let (mut roots, mut pem) = (RootCertStore::empty(), String::new());
        let known = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        for certificate in known.chain(&platform.certs) {
            // One that rustls cannot read would spoil the others.
            if seen.insert(certificate) && roots.add(certificate.clone()).is_ok() {
                super::push_pem(&mut pem, certificate);
            }
        }
        (roots, pem)
    }

    pub(super) fn connector(roots: RootCertStore, own: Option<&(Text, Text)>) -> Result<Inner> {
        let config = ClientConfig::builder().with_root_certificates(roots);
        let Some((certificate, key)) = own else {
            return Ok(Arc::new(config.with_no_client_auth()));
        };
        let chain = CertificateDer::pem_slice_iter(&certificate.pem)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| certificate.bad(error))?;
        if chain.is_empty() {
            return Err(certificate.bad(super::NO_CERTIFICATE));
        }
        let private = PrivateKeyDer::from_pem_slice(&key.pem).map_err(|error| key.bad(error))?;
        config
            .with_client_auth_cert(chain, private)
            .map(Arc::new)
            .map_err(|error| key.bad(error))
    }

    /// Chooses what rustls computes with, if the program has not: without a choice it panics, and
    /// it makes one itself only where exactly one is compiled in. The choice is the process's, and
    /// final.
    pub(super) fn choose_provider() {
        if CryptoProvider::get_default().is_none() {
            // It fails if another thread was quicker; then there is one.
            let _other = ring::default_provider().install_default().is_err();
        }
    }

    pub(super) fn read_a_byte(config: &Inner, host: &str, stream: TcpStream) -> IoResult<usize> {
        let name = ServerName::try_from(host.to_owned()).map_err(Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(Error::other)?;
        StreamOwned::new(session, stream).read(&mut [0])
    }
}

/// Appends a certificate in PEM format.
#[cfg(feature = "tls-rustls")]
fn push_pem(pem: &mut String, der: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let byte = |at| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
                pem.push(if at <= three.len() { char::from(digit) } else { '=' });
            }
        }
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
}

#[cfg(not(feature = "tls-rustls"))]
use with_native_tls::{Inner, choose_provider, connector, read_a_byte, trusted};

#[cfg(not(feature = "tls-rustls"))]
mod with_native_tls {
    use std::io::{Error, Read, Result as IoResult};
    use std::net::TcpStream;

    use native_tls::{Certificate, Identity, TlsConnector};

    use super::Text;
    use crate::types::error::Result;

    pub(super) type Inner = TlsConnector;

    /// The platform's TLS has nothing to choose.
    pub(super) const fn choose_provider() {}

    /// Who is trusted if not those whom the library knows by itself, and the same as PEM.
    pub(super) fn trusted(authorities: &[Text]) -> Result<(Vec<Certificate>, Option<Vec<u8>>)> {
        let mut roots = Vec::new();
        for text in authorities {
            let (pem, before) = (String::from_utf8_lossy(&text.pem), roots.len());
            for block in pem.split_inclusive(END) {
                if let Some(start) = block.find(BEGIN) {
                    let certificate = Certificate::from_pem(&block.as_bytes()[start..]);
                    roots.push(certificate.map_err(|error| text.bad(error))?);
                }
            }
            if roots.len() == before {
                return Err(text.bad(super::NO_CERTIFICATE));
            }
        }
        let pem = (!roots.is_empty()).then(|| super::join(authorities));
        Ok((roots, pem))
    }

    pub(super) fn connector(roots: Vec<Certificate>, own: Option<&(Text, Text)>) -> Result<Inner> {
        let mut builder = TlsConnector::builder();
        builder.disable_built_in_roots(!roots.is_empty());
        for root in roots {
            builder.add_root_certificate(root);
        }
        if let Some((certificate, key)) = own {
            if !String::from_utf8_lossy(&certificate.pem).contains(BEGIN) {
                return Err(certificate.bad(super::NO_CERTIFICATE));
            }
            let pair = Identity::from_pkcs8(&certificate.pem, &key.pem);
            builder.identity(pair.map_err(|error| key.bad(error))?);
        }
        builder.build().map_err(|error| match own {
            Some((_, key)) => key.bad(error),
            None => super::Error::invalid(format!("cannot use the platform's TLS: {error}")),
        })
    }

    pub(super) fn read_a_byte(connector: &Inner, host: &str, stream: TcpStream) -> IoResult<usize> {
        let mut stream = connector.connect(host, stream).map_err(Error::other)?;
        stream.read(&mut [0])
    }

    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
}

const NO_CERTIFICATE: &str = "it contains no certificate in PEM format";

#[cfg(all(test, feature = "tls-rustls"))]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn certificates_are_the_same_after_a_trip_through_pem() {
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).collect();
            let mut pem = String::new();
            super::push_pem(&mut pem, &der);
            let read = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
            assert_eq!(*read, *der, "{length} bytes");
        }
    }
}
