//! Limits as the documentation states them: "1 s to 24 h", "at most 256 bytes".

use std::time::Duration;

use latchwork_tests::LEASE;

/// A limit: a time, or a number of whatever it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    Time(Duration),
    Number(u32),
}

impl Limit {
    pub(crate) fn time(self) -> Duration {
        match self {
            Self::Time(time) => time,
            Self::Number(number) => panic!("{number} has no unit"),
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Time(time) => panic!("{time:?} has a unit"),
        }
    }

    pub(crate) fn text(self) -> String {
        "a".repeat(self.number() as usize)
    }

    /// The next one that is beyond this one: below it, or above.
    pub(crate) fn beyond(self, below: bool) -> Option<Self> {
        let nano = Duration::from_nanos(1);
        match self {
            Self::Time(time) if below => time.checked_sub(nano).map(Self::Time),
            Self::Time(time) => Some(Self::Time(time + nano)),
            Self::Number(number) if below => number.checked_sub(1).map(Self::Number),
            Self::Number(number) => Some(Self::Number(number + 1)),
        }
    }
}

/// The limit that `text` ends with, or begins with: a number, perhaps with a unit.
fn limit(text: &str, at_end: bool) -> Option<Limit> {
    if at_end && text.ends_with("the lease") {
        return Some(Limit::Time(LEASE));
    }
    let mut words: Vec<&str> = text.split([' ', ',', ';', ':']).collect();
    if at_end {
        words.reverse();
    }
    let word = |at: usize| words.get(at).map_or("", |word| word.trim_end_matches('.'));
    let is_number = |at: usize| !word(at).is_empty() && word(at).bytes().all(|byte| byte.is_ascii_digit());
    let seconds = |word: &str| match word {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "h" => Some(3600.0),
        "days" => Some(86_400.0),
        _ => None,
    };
    // Numbers have a blank in front of every three digits.
    let from = usize::from(at_end && seconds(word(0)).is_some());
    let digits = (from..words.len()).take_while(|&at| is_number(at)).count();
    let mut digits: Vec<&str> = (from..from + digits).map(word).collect();
    let unit = seconds(if at_end { word(0) } else { word(digits.len()) });
    if at_end {
        digits.reverse();
    }
    let number: u32 = digits.concat().parse().ok()?;
    Some(match unit {
        Some(unit) => Limit::Time(Duration::from_secs_f64(f64::from(number) * unit)),
        None => Limit::Number(number),
    })
}

/// The limits in a documentation: "1 s to 24 h", "0 to 24 h", "up to 24 h", "at most 256".
pub(crate) fn limits(text: &str) -> Option<(Limit, Limit)> {
    let between = text.match_indices(" to ").find_map(|(at, to)| {
        let (least, most) = (limit(&text[..at], true), limit(&text[at + to.len()..], false));
        Some((least?, most?))
    });
    let below = || {
        let starts = ["up to ", "at most "];
        let mut rests = starts.iter().filter_map(|start| text.split_once(start));
        rests
            .find_map(|(_, rest)| limit(rest, false))
            .map(|most| (Limit::Number(0), most))
    };
    let (least, most) = between.or_else(below)?;
    let zero = matches!((least, most), (Limit::Number(0), Limit::Time(_)));
    Some((if zero { Limit::Time(Duration::ZERO) } else { least }, most))
}

#[test]
fn limits_are_found_in_text() {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    for (text, least, most) in [
        (
            "For so long: 10 ms to 24 h. Yes.",
            Limit::Time(ms(10)),
            Limit::Time(s(86_400)),
        ),
        (
            "It goes to it: 0 to 2 days.",
            Limit::Time(s(0)),
            Limit::Time(s(172_800)),
        ),
        (
            "Wait up to 30 s; or to 3 h.",
            Limit::Time(s(0)),
            Limit::Time(s(30)),
        ),
        (
            "Take 1 to 1 000 000. Or not.",
            Limit::Number(1),
            Limit::Number(1_000_000),
        ),
        (
            "There are at most 256 bytes.",
            Limit::Number(0),
            Limit::Number(256),
        ),
    ] {
        assert_eq!(limits(text), Some((least, most)), "{text}");
    }
    assert_eq!(limits("From here to 12 o'clock, to be sure"), None);
}
