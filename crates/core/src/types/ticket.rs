//! Tickets: a hold on its way to another process.

use std::fmt;
use std::str::FromStr;

use crate::types::error::{Error, Result};
use crate::types::name::Name;
use crate::types::token::FencingToken;

/// A hold on its way to another process, as text: `Display` and `FromStr` give and take it.
///
/// Whoever has it can take the hold over, once; keep it as secret as the lock is important. The lease runs on meanwhile.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    name: Name,
    id: String,
    token: FencingToken,
    lease_ms: u64,
}

/// The version of the text form.
const VERSION: &str = "latchwork-ticket-1";

impl Ticket {
    pub(crate) const fn new(name: Name, id: String, token: FencingToken, lease_ms: u64) -> Self {
        Self {
            name,
            id,
            token,
            lease_ms,
        }
    }

    /// The name of the primitive.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The token of the hold: it stays the same. Zero for a shared hold, which has none.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The length of the lease that the hold was left with.
    pub fn lease(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.lease_ms)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Ticket {
    // Without the id: it is what makes the ticket worth something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.name)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION} {} {} {} ", self.token, self.lease_ms, self.id)?;
        for byte in self.name.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Ticket {
    type Err = Error;

    /// # Errors
    /// `Invalid` if the text is not that of a ticket.
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid("this is not a ticket: take the whole text that `Display` of a ticket gave");
        let mut words = text.trim().split(' ');
        if words.next() != Some(VERSION) {
            return Err(wrong());
        }
        let mut word = || words.next().ok_or_else(wrong);
        let token = word()?.parse().map_err(|_| wrong())?;
        let lease_ms = word()?.parse().map_err(|_| wrong())?;
        let id = word()?.to_owned();
        let hex = word()?;
        if words.next().is_some() || hex.len() % 2 != 0 || id.len() > 128 || !hex.is_ascii() {
            return Err(wrong());
        }
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong());
        let name: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect::<Result<_>>()?;
        Ok(Self::new(
            Name::new(&name)?,
            id,
            FencingToken::new(token),
            lease_ms,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_as_text() {
        let name = Name::new(b"any bytes \0{}\xff").expect("a name");
        let ticket = Ticket::new(name, "c.1:1:10000:1000".into(), FencingToken::new(7), 10_000);
        let back: Ticket = ticket.to_string().parse().expect("the same");
        assert_eq!(back, ticket, "there and back");
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "latchwork-ticket-1",
            "latchwork-ticket-2 1 1 a 61",
            "latchwork-ticket-1 x 1 a 61",
            "latchwork-ticket-1 1 1 a 6",
            "latchwork-ticket-1 1 1 a zz",
            "latchwork-ticket-1 1 1 a 61 b",
        ] {
            assert!(text.parse::<Ticket>().is_err(), "{text:?}");
        }
    }
}
