//! The messages on a client's channel.

use std::time::Duration;

use super::id;
use super::value::{HOLD, MOST};

impl Message {
    /// The server's clock when it was sent, microseconds.
    pub(crate) const fn stamp(&self) -> u64 {
        match self {
            Self::Grant { stamp, .. }
            | Self::Behind { stamp, .. }
            | Self::Forced { stamp, .. }
            | Self::Over { stamp, .. } => *stamp,
        }
    }
}

/// What a script told a client. `counter` names the attempt: the channel is the rest of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    /// The attempt is now the owner, for the claim window.
    Grant {
        counter: u64,
        token: u64,
        stamp: u64,
        window: Duration,
        /// How long until it may start.
        delay: Duration,
    },
    /// The claim before it ends in this time.
    Behind {
        counter: u64,
        left: Duration,
        stamp: u64,
    },
    /// Its hold was forced open.
    Forced { counter: u64, stamp: u64 },
    /// A generation of a latch is over, for all who waited for it; the attempt is one of them.
    Over {
        counter: u64,
        generation: u64,
        how: Over,
        stamp: u64,
    },
}

/// How a generation of a latch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Over {
    /// It came to zero.
    Finished,
    /// It was reset before.
    Reset,
}

impl Message {
    pub(crate) const fn counter(&self) -> u64 {
        match self {
            Self::Grant { counter, .. }
            | Self::Behind { counter, .. }
            | Self::Forced { counter, .. }
            | Self::Over { counter, .. } => *counter,
        }
    }
}

/// The messages in a payload; what is malformed is left out, it proves nothing.
pub(crate) fn parse(payload: &[u8]) -> impl Iterator<Item = Message> + '_ {
    let text = std::str::from_utf8(payload).unwrap_or("");
    text.split(';').filter_map(parse_one)
}

fn parse_one(text: &str) -> Option<Message> {
    let mut words = text.split(' ');
    let kind = words.next()?;
    // ".17:1:10000:1000" is what follows the channel in the id; between counter and weight there may be more
    let counter = id::counter(words.next()?)?;
    let mut number = || words.next()?.parse::<u64>().ok().filter(|&number| number <= MOST);
    let within = |time: Duration| (time <= HOLD).then_some(time);
    let message = match kind {
        "g" => Message::Grant {
            counter,
            token: number()?,
            stamp: number()?,
            window: within(Duration::from_millis(number()?))?,
            delay: match words.next() {
                None => Duration::ZERO,
                Some(delay) => within(Duration::from_micros(delay.parse().ok()?))?,
            },
        },
        "w" => Message::Behind {
            counter,
            left: within(Duration::from_millis(number()?))?,
            stamp: number()?,
        },
        "f" => Message::Forced {
            counter,
            stamp: number()?,
        },
        "d" | "r" => Message::Over {
            counter,
            generation: number()?,
            how: if kind == "d" { Over::Finished } else { Over::Reset },
            stamp: number()?,
        },
        _ => return None,
    };
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_scripts_write() {
        let text = b"g .17:1:10000:1000 1763 1764 1000;w .18:1:10000:1000 250 1764;f .19:1:10000:1000 1764;d .20:1:10000:1000 1700 1765;r .21:1:10000:1000 1701 1766";
        let messages: Vec<_> = parse(text).collect();
        let window = Duration::from_secs(1);
        assert_eq!(
            messages,
            [
                Message::Grant {
                    counter: 17,
                    token: 1763,
                    stamp: 1764,
                    window,
                    delay: Duration::ZERO,
                },
                Message::Behind {
                    counter: 18,
                    left: Duration::from_millis(250),
                    stamp: 1764
                },
                Message::Forced {
                    counter: 19,
                    stamp: 1764
                },
                Message::Over {
                    counter: 20,
                    generation: 1700,
                    how: Over::Finished,
                    stamp: 1765
                },
                Message::Over {
                    counter: 21,
                    generation: 1701,
                    how: Over::Reset,
                    stamp: 1766
                },
            ],
            "all five"
        );
        let counters: Vec<_> = messages.iter().map(Message::counter).collect();
        assert_eq!(counters, [17, 18, 19, 20, 21]);
        let stamps: Vec<_> = messages.iter().map(Message::stamp).collect();
        assert_eq!(stamps, [1764, 1764, 1764, 1765, 1766]);
    }

    #[test]
    fn anything_else_is_left_out() {
        for text in [
            "",
            ";",
            "g",
            "g .1",
            "g .x:1 1 1 1",
            "g 1 1 1 1",
            "h .1 1 1 1",
            "d .1 1",
            "g .1 -1 1 1",
            "\u{fffd}",
        ] {
            assert_eq!(parse(text.as_bytes()).count(), 0, "{text:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe]).count(), 0, "not text");
    }

    #[test]
    fn a_message_with_a_number_out_of_range_is_left_out() {
        let hold = HOLD.as_millis();
        let is_read = |text: String| parse(text.as_bytes()).count() == 1;
        for (left, good) in [(hold, true), (hold + 1, false), (u128::from(u64::MAX), false)] {
            assert_eq!(
                is_read(format!("g .17:1:10000:1000 1763 1764 {left}")),
                good,
                "{left}"
            );
            assert_eq!(is_read(format!("w .17:1:10000:1000 {left} 1764")), good, "{left}");
            let micros = left * 1000;
            assert_eq!(
                is_read(format!("g .17:1:10000:1000 1763 1764 1000 {micros}")),
                good
            );
        }
        for (number, good) in [(MOST, true), (MOST + 1, false)] {
            assert_eq!(is_read(format!("g .17:1:10000:1000 {number} 1764 1000")), good);
            assert_eq!(is_read(format!("f .17:1:10000:1000 {number}")), good);
            assert_eq!(is_read(format!("d .17:1:10000:1000 1700 {number}")), good);
        }
        assert!(
            !is_read("g .17:1:10000:1000 1763 1764 1000 x".to_owned()),
            "no delay"
        );
    }
}
