//! Servers that speak TLS: not every build does.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::error::Error;
use crate::fetch;
use crate::find::{ServerBinary, find_server};
use crate::server::TestServer;

/// What a server needs to speak TLS, as PEM files.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a server needs these three")]
pub struct TlsFiles {
    /// The certificate that clients see.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Those whose certificates the server accepts.
    pub authority: PathBuf,
}

/// Finds a server with TLS, or fetches one; looks only once per process.
///
/// The one that [`find_server`] finds if it has TLS, else that of Debian's packages.
///
/// # Errors
/// There is none; the error says what was tried.
pub fn find_tls_server() -> Result<ServerBinary, Error> {
    static FOUND: OnceLock<Result<ServerBinary, Error>> = OnceLock::new();
    FOUND.get_or_init(look_for_server).clone()
}

fn look_for_server() -> Result<ServerBinary, Error> {
    let found = find_server()?;
    if has_tls(&found) {
        return Ok(found);
    }
    let without = |why: &dyn std::fmt::Display| {
        Error::new(format!(
            "no server with TLS: {} ({}) has none, and Debian's is not to be had ({why})",
            found.version,
            found.path.display()
        ))
    };
    let debian = fetch::debian().map_err(|error| without(&error))?;
    if has_tls(&debian) {
        Ok(debian)
    } else {
        Err(without(&"it has none either"))
    }
}

/// Whether this server speaks TLS. A build that does not knows none of its options.
pub fn has_tls(binary: &ServerBinary) -> bool {
    let builder = TestServer::builder().binary(binary.clone());
    builder.arg("--tls-port", "0").start().is_ok()
}
