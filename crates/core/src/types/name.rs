//! Names of primitives.

use std::fmt;
use std::sync::Arc;

use crate::types::error::{Error, Result};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 512;

/// The name of a primitive: 1 to 512 bytes, any bytes.
///
/// Names that differ in any byte are different primitives; nothing is trimmed or folded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// A name, for a [`Lock`](crate::dynamic::Lock) of your own: handles are made with bytes or text, and check them alike.
    ///
    /// # Errors
    /// `Invalid` if it is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```
    /// use latchwork_core::Name;
    ///
    /// let name = Name::new("orders")?;
    /// assert_eq!(name.as_bytes(), b"orders");
    /// # Ok::<(), latchwork_core::Error>(())
    /// ```
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(Error::invalid("the name is empty: give 1 to 512 bytes"));
        }
        if bytes.len() > MAX_NAME {
            return Err(Error::invalid(format!(
                "the name has {} bytes: at most {MAX_NAME} are allowed (hash a longer one)",
                bytes.len()
            )));
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Text as it is, unless it has control characters; other bytes escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => fmt::Display::fmt(&self.0.escape_ascii(), f),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name(\"{self}\")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert!(Name::new(b"").is_err(), "empty");
        assert!(Name::new([0; 512]).is_ok(), "512 NULs are a name");
        assert!(Name::new([b'a'; 513]).is_err(), "too long");
    }
}
