//! Certificates for connections with TLS.

use std::fmt;
use std::path::PathBuf;

/// Certificates for connections to a server with TLS (`rediss://`).
///
/// Without any, a client trusts the authorities that the platform trusts, and shows no certificate
/// of its own. With the feature `tls-rustls`, it also trusts Mozilla's authorities, which are
/// compiled in. If `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, its certificates take the place of the
/// platform's.
///
/// All certificates and keys are in PEM format. Files are read by
/// [`ClientBuilder::connect`](crate::ClientBuilder::connect), which returns
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if a file cannot be read, if a certificate or
/// key cannot be used, or if a key does not belong to its certificate. Nothing is sent then. Files
/// are read again whenever the client connects again, so a certificate that was renewed is used
/// from then on. If that fails, the client keeps using the previous ones, and logs a warning.
///
/// # Examples
/// ```no_run
/// use latchwork_core::{Client, Tls};
///
/// # async fn example() -> latchwork_core::Result<()> {
/// let tls = Tls::new()
///     .authority_file("/etc/redis/ca.pem")
///     .client_certificate_files("/etc/redis/client.pem", "/etc/redis/client.key");
/// let client = Client::builder().url("rediss://redis.internal").tls(tls).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "pass it to `ClientBuilder::tls`"]
pub struct Tls {
    pub(crate) authorities: Vec<Pem>,
    /// The certificate, with those between it and its authority, and its key.
    pub(crate) client: Option<(Pem, Pem)>,
}

/// Where the text of a certificate or key is.
#[derive(Clone)]
pub(crate) enum Pem {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl fmt::Debug for Pem {
    // Never the bytes: they may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities)
            .field("client", &self.client)
            .finish()
    }
}

impl Tls {
    /// Creates a value without certificates.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn has_files(&self) -> bool {
        let own = self
            .client
            .iter()
            .flat_map(|(certificate, key)| [certificate, key]);
        let mut all = self.authorities.iter().chain(own);
        all.any(|pem| matches!(pem, Pem::File(_)))
    }

    /// Trusts the certificate authorities in this PEM text.
    ///
    /// Authorities that are given here or by [`authority_file`](Self::authority_file) add up. They
    /// replace all others: the client then trusts neither the platform's nor Mozilla's.
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Bytes(pem.into()));
        self
    }

    /// Trusts the certificate authorities in this PEM file, and otherwise as
    /// [`authority`](Self::authority).
    pub fn authority_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// Shows this certificate to the server, for servers that require one (mutual TLS).
    ///
    /// `certificate` may contain the intermediate certificates after its own. With the feature
    /// `tls-native-tls` alone, the key must be in PKCS #8 form (`BEGIN PRIVATE KEY`).
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client = Some((Pem::Bytes(certificate.into()), Pem::Bytes(key.into())));
        self
    }

    /// Shows the certificate in this PEM file, and otherwise as
    /// [`client_certificate`](Self::client_certificate).
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_never_shown() {
        let tls = Tls::new().client_certificate("shown", "secret");
        let text = format!("{tls:?} {tls:#?}");
        assert!(!text.contains("secret") && text.contains("6 bytes"), "{text}");
    }
}
