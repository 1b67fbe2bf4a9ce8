//! Tickets: a hold on its way to another process.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::types::error::{Error, Result};
use crate::types::name::Name;
use crate::types::token::FencingToken;

/// A hold on its way to another process, as text: `Display` and `FromStr` give and take it.
///
/// Anyone who has the text can take the hold over, once. Keep it as secret as the lock is
/// important. The lease runs on meanwhile, and so does the maximum hold (`max_hold`), if there is
/// one.
///
/// A ticket is for one primitive: it names the kind, the client's prefix, the database and the
/// name. The server is not named, because different processes may know it by different addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What stands before the name in the primitive's key: `<prefix>:<kind>`.
    pub(crate) place: String,
    pub(crate) database: i64,
    pub(crate) name: Name,
    pub(crate) id: String,
    pub(crate) token: FencingToken,
    pub(crate) lease_ms: u64,
    /// The server's time at which the next two numbers were right, ms.
    pub(crate) as_of: u64,
    /// How long it had been held, ms.
    pub(crate) held_ms: u64,
    /// How long it may still be held, ms; `None`: no maximum was set.
    pub(crate) left_ms: Option<u64>,
}

/// The version of the text form.
const VERSION: &str = "latchwork-ticket-2";

impl Ticket {
    /// The name of the primitive.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The kind of the primitive, as in its key: `lock` for a mutex of any kind, `rwlock` or
    /// `semaphore`.
    pub fn kind(&self) -> &str {
        self.place.rsplit(':').next().unwrap_or_default()
    }

    /// The token of the hold: it stays the same. Zero for a shared hold, which has none.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The length of the lease that the hold was left with.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long it has been held, and how long it may still be held, at this time of the server
    /// (ms). If the clock was set back, no time has passed.
    pub(crate) fn times(&self, now: u64) -> (Duration, Option<Duration>) {
        let passed = now.saturating_sub(self.as_of);
        let held = Duration::from_millis(self.held_ms.saturating_add(passed));
        let left = self
            .left_ms
            .map(|left| Duration::from_millis(left.saturating_sub(passed)));
        (held, left)
    }
}

impl fmt::Debug for Ticket {
    // Without the id: it is what makes the ticket worth something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.name)
            .field("kind", &self.kind())
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            database,
            name,
            id,
            token,
            lease_ms,
            as_of,
            held_ms,
            left_ms,
        } = self;
        write!(
            f,
            "{VERSION} {place} {database} {token} {lease_ms} {as_of} {held_ms} "
        )?;
        match left_ms {
            Some(left) => write!(f, "{left} {id} ")?,
            None => write!(f, "- {id} ")?,
        }
        for byte in name.as_bytes() {
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
        let number = |word: &str| word.parse::<u64>().map_err(|_| wrong());
        let place = word()?.to_owned();
        let database = word()?.parse().map_err(|_| wrong())?;
        let [token, lease_ms, as_of, held_ms] = [
            number(word()?)?,
            number(word()?)?,
            number(word()?)?,
            number(word()?)?,
        ];
        let left = word()?;
        let left_ms = (left != "-").then(|| number(left)).transpose()?;
        let id = word()?.to_owned();
        let hex = word()?;
        let is_odd = hex.len() % 2 != 0 || !hex.is_ascii();
        if words.next().is_some() || is_odd || id.len() > 128 || place.len() > 128 || !place.contains(':') {
            return Err(wrong());
        }
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong());
        let name: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect::<Result<_>>()?;
        Ok(Self {
            place,
            database,
            name: Name::new(&name)?,
            id,
            token: FencingToken::new(token),
            lease_ms,
            as_of,
            held_ms,
            left_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn ticket(left_ms: Option<u64>) -> Ticket {
        Ticket {
            place: "my:prefix:lock".into(),
            database: 3,
            name: Name::new(b"any bytes \0{}\xff").expect("a name"),
            id: "c.1:1:10000:1000".into(),
            token: FencingToken::new(7),
            lease_ms: 10_000,
            as_of: 1_700_000_000_000,
            held_ms: 500,
            left_ms,
        }
    }

    #[test]
    fn survives_the_way_as_text() {
        for left_ms in [None, Some(0), Some(60_000)] {
            let ticket = ticket(left_ms);
            let back: Ticket = ticket.to_string().parse().expect("the same");
            assert_eq!(back, ticket, "there and back");
            assert_eq!((back.kind(), back.lease()), ("lock", ms(10_000)));
        }
    }

    #[test]
    fn other_text_is_refused() {
        let good = "latchwork-ticket-2 p:lock 0 1 1 1 1 - a 61";
        assert!(good.parse::<Ticket>().is_ok(), "{good:?}");
        for text in [
            "",
            "latchwork-ticket-2",
            "latchwork-ticket-1 1 1 a 61",
            "latchwork-ticket-3 p:lock 0 1 1 1 1 - a 61",
            "latchwork-ticket-2 lock 0 1 1 1 1 - a 61",
            "latchwork-ticket-2 p:lock x 1 1 1 1 - a 61",
            "latchwork-ticket-2 p:lock 0 x 1 1 1 - a 61",
            "latchwork-ticket-2 p:lock 0 1 1 1 -1 - a 61",
            "latchwork-ticket-2 p:lock 0 1 1 1 1 x a 61",
            "latchwork-ticket-2 p:lock 0 1 1 1 1 - a 6",
            "latchwork-ticket-2 p:lock 0 1 1 1 1 - a zz",
            "latchwork-ticket-2 p:lock 0 1 1 1 1 - a 61 b",
        ] {
            assert!(text.parse::<Ticket>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_time_on_the_way_counts_by_the_servers_clock() {
        let (at, left) = (1_700_000_000_000, Some(60_000));
        assert_eq!(ticket(left).times(at + 100), (ms(600), Some(ms(59_900))));
        assert_eq!(ticket(None).times(at + 100), (ms(600), None), "no maximum");
        assert_eq!(
            ticket(left).times(at + 60_001),
            (ms(60_501), Some(Duration::ZERO)),
            "it is over"
        );
        assert_eq!(
            ticket(left).times(at - 1),
            (ms(500), Some(ms(60_000))),
            "the clock was set back: it gains nothing"
        );
    }
}
