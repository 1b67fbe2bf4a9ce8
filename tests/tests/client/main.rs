//! A client connects in every way it should, and wrong input is a typed error with a remedy.
//!
//! The error comes at once or after the deadline, and nothing is half done.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod arguments;
mod causes;
mod connecting;
mod credentials;
mod refused_connections;
mod renamed;
mod rights;
mod tickets;

use latchwork_mutex::{Error, ErrorKind};

/// The error, of this kind, with these words in its text.
fn expect<T>(result: Result<T, Error>, kind: ErrorKind, words: &[&str]) -> Error {
    let Err(error) = result else {
        panic!("not refused: {kind:?} {words:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word} is not in: {error}");
    }
    error
}
