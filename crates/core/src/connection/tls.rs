//! What TLS needs besides a feature of the driver.

/// Chooses what rustls computes with, if the program has not: without a choice it panics, and it makes one itself only
/// where exactly one is compiled in. The choice is the process's, and final.
#[cfg(feature = "tls-rustls")]
pub(crate) fn choose_provider() {
    use rustls::crypto::{CryptoProvider, ring};

    if CryptoProvider::get_default().is_none() {
        // It fails if another thread was quicker; then there is one.
        let _other = ring::default_provider().install_default().is_err();
    }
}

/// The platform's TLS leaves no choice.
#[cfg(not(feature = "tls-rustls"))]
pub(crate) const fn choose_provider() {}

/// Whether this error of a connection with TLS is about TLS: its library's own, or one that it has wrapped for the socket.
pub(crate) fn is_about_tls(error: &redis::RedisError) -> bool {
    let Some(cause) = std::error::Error::source(error) else {
        return false;
    };
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => error.kind() == std::io::ErrorKind::InvalidData,
        None => matches!(error.kind(), redis::ErrorKind::Io | redis::ErrorKind::Client),
    }
}
