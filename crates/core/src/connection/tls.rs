//! What TLS needs besides a feature of the driver: a provider, and certificates that are checked
//! before anything is sent.

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

/// Reads and checks certificates, and makes a client that uses them. Blocks: it reads files.
pub(crate) fn client(tls: &Tls, info: ConnectionInfo) -> Result<redis::Client> {
    choose_provider();
    let read = |pem| Text::read("certificate authority", pem);
    let authorities = tls.authorities.iter().map(read).collect::<Result<Vec<_>>>()?;
    let own = match &tls.client {
        Some((certificate, key)) => Some((
            Text::read("client certificate", certificate)?,
            Text::read("client key", key)?,
        )),
        None => None,
    };
    check(&authorities, own.as_ref())?;
    let root_cert = if authorities.is_empty() {
        known_authorities()
    } else {
        let mut all = Vec::new();
        for text in authorities {
            all.extend(text.pem);
            all.push(b'\n');
        }
        Some(all)
    };
    let client_tls = own.map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.pem,
        client_key: key.pem,
    });
    let certificates = TlsCertificates {
        client_tls,
        root_cert,
    };
    redis::Client::build_with_tls(info, certificates)
        .map_err(|error| Error::invalid(format!("cannot use the certificates: {error}")))
}

#[cfg(feature = "tls-rustls")]
use with_rustls::{check, choose_provider, known_authorities};

#[cfg(feature = "tls-rustls")]
mod with_rustls {
    use std::collections::HashSet;

    use rustls::crypto::{CryptoProvider, ring};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore};

    use super::Text;
    use crate::base::trace::warn;
    use crate::types::error::Result;

    /// Chooses what rustls computes with, if the program has not: without a choice it panics, and
    /// it makes one itself only where exactly one is compiled in. The choice is the process's, and
    /// final.
    pub(super) fn choose_provider() {
        if CryptoProvider::get_default().is_none() {
            // It fails if another thread was quicker; then there is one.
            let _other = ring::default_provider().install_default().is_err();
        }
    }

    pub(super) fn check(authorities: &[Text], own: Option<&(Text, Text)>) -> Result<()> {
        let mut trusted = RootCertStore::empty();
        for text in authorities {
            let before = trusted.len();
            for certificate in CertificateDer::pem_slice_iter(&text.pem) {
                let certificate = certificate.map_err(|error| text.bad(error))?;
                trusted.add(certificate).map_err(|error| text.bad(error))?;
            }
            if trusted.len() == before {
                return Err(text.bad(super::NO_CERTIFICATE));
            }
        }
        let Some((certificate, key)) = own else {
            return Ok(());
        };
        let chain = CertificateDer::pem_slice_iter(&certificate.pem)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| certificate.bad(error))?;
        if chain.is_empty() {
            return Err(certificate.bad(super::NO_CERTIFICATE));
        }
        let private = PrivateKeyDer::from_pem_slice(&key.pem).map_err(|error| key.bad(error))?;
        let config = ClientConfig::builder().with_root_certificates(trusted);
        config
            .with_client_auth_cert(chain, private)
            .map(drop)
            .map_err(|error| key.bad(error))
    }

    /// Mozilla's authorities and the platform's, as one PEM text.
    pub(super) fn known_authorities() -> Option<Vec<u8>> {
        let platform = rustls_native_certs::load_native_certs();
        if let Some(error) = platform.errors.first() {
            warn!(error = %error, "some of the platform's certificate authorities cannot be read");
        }
        let mut seen = HashSet::new();
        let mut pem = String::new();
        let mut store = RootCertStore::empty();
        let known = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        for certificate in known.chain(&platform.certs) {
            // One that rustls cannot read would spoil the others.
            if seen.insert(certificate) && store.add(certificate.clone()).is_ok() {
                super::push_pem(&mut pem, certificate);
            }
        }
        Some(pem.into_bytes())
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
use with_native_tls::{check, choose_provider, known_authorities};

#[cfg(not(feature = "tls-rustls"))]
mod with_native_tls {
    use native_tls::{Certificate, Identity, TlsConnector};

    use super::Text;
    use crate::types::error::Result;

    /// The platform's TLS leaves no choice.
    pub(super) const fn choose_provider() {}

    pub(super) fn check(authorities: &[Text], own: Option<&(Text, Text)>) -> Result<()> {
        for text in authorities {
            let pem = String::from_utf8_lossy(&text.pem);
            let mut found = 0;
            for block in pem.split_inclusive(END) {
                let Some(start) = block.find(BEGIN) else { continue };
                Certificate::from_pem(&block.as_bytes()[start..]).map_err(|error| text.bad(error))?;
                found += 1;
            }
            if found == 0 {
                return Err(text.bad(super::NO_CERTIFICATE));
            }
        }
        let Some((certificate, key)) = own else {
            return Ok(());
        };
        if !String::from_utf8_lossy(&certificate.pem).contains(BEGIN) {
            return Err(certificate.bad(super::NO_CERTIFICATE));
        }
        let pair = Identity::from_pkcs8(&certificate.pem, &key.pem).map_err(|error| key.bad(error))?;
        TlsConnector::builder()
            .identity(pair)
            .build()
            .map(drop)
            .map_err(|error| key.bad(error))
    }

    /// The library knows the platform's by itself.
    pub(super) const fn known_authorities() -> Option<Vec<u8>> {
        None
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
