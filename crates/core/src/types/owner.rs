//! Owners: who may enter again what they hold.

use std::fmt;
use std::str::FromStr;

use crate::types::error::{Error, Result};

/// Characters of an owner's text.
const LENGTH: usize = 16;

/// Whoever may lock again what they have locked: an identity that is passed around, never that of a thread or task.
///
/// Clone it for the tasks that work together, send its text ([`Display`](fmt::Display), [`FromStr`]) to other processes.
/// 90 random bits: two that were made apart are never equal.
///
/// # Examples
/// ```
/// use latchwork_core::Owner;
///
/// let owner = Owner::new();
/// let same: Owner = owner.to_string().parse()?;
/// assert_eq!(owner, same);
/// # Ok::<(), latchwork_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner([u8; LENGTH]);

impl Owner {
    /// Of a hold that has none.
    pub(crate) const NOBODY: Self = Self([b'-'; LENGTH]);

    /// A new owner, different from all others.
    #[allow(
        clippy::new_without_default,
        reason = "a default that differs each time would surprise"
    )]
    pub fn new() -> Self {
        let mut text = [0; LENGTH];
        crate::base::random::digits(&mut text);
        Self(text)
    }

    fn as_str(&self) -> &str {
        // Made of ASCII only, here or in `from_str`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Owner {
    type Err = Error;

    /// # Errors
    /// `Invalid` if the text is not that of an owner.
    fn from_str(text: &str) -> Result<Self> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match <[u8; LENGTH]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().copied().all(known) => Ok(Self(bytes)),
            _ => Err(Error::invalid(
                "this is not an owner: take the whole text that `Display` of an owner gave",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h25_owners_are_unguessable_and_survive_the_way_as_text() {
        let owners: std::collections::HashSet<_> = (0..4000).map(|_| Owner::new()).collect();
        assert_eq!(owners.len(), 4000, "all different");
        let texts: Vec<String> = owners.iter().map(Owner::to_string).collect();
        assert_eq!(
            crate::base::random::random_bits(&texts),
            90,
            "nothing to guess by"
        );
        for owner in owners {
            assert_eq!(
                owner.to_string().parse::<Owner>().ok(),
                Some(owner),
                "there and back"
            );
        }
    }

    #[test]
    fn other_text_is_no_owner() {
        for text in [
            "",
            "short",
            "has:a:colon:in:it",
            "exactly@sixteen_",
            "seventeen_letters",
        ] {
            assert!(text.parse::<Owner>().is_err(), "{text:?}");
        }
    }
}
