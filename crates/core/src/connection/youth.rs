//! Since when a server remembers what it has granted: for clients that do not trust a young one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::Moment;

const SECOND: Duration = Duration::from_secs(1);

/// What a server says of its past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// How long it has been running. `None`: it does not say.
    pub(crate) uptime: Option<Duration>,
    /// It has an append-only file, so a restart forgets nothing that it has acknowledged.
    pub(crate) has_file: bool,
    /// The name of what it writes.
    pub(crate) history: Option<String>,
    /// The name of what it has copied, before it was promoted.
    pub(crate) copied: Option<String>,
}

impl Past {
    /// Reads the answer to `INFO`.
    pub(crate) fn read<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Self {
        let uptime = field("uptime_in_seconds").and_then(|text| text.trim().parse().ok());
        let is_name = |text: &&str| text.bytes().any(|byte| byte != b'0');
        Self {
            uptime: uptime.map(Duration::from_secs),
            has_file: field("aof_enabled") == Some("1"),
            history: field("master_replid").map(str::to_owned),
            copied: field("master_replid2").filter(is_name).map(str::to_owned),
        }
    }
}

/// Why a server may have forgotten what was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has started, and keeps nothing over a restart.
    Restarted,
    /// It has taken over from another one.
    TookOver,
    /// It does not say whether it has.
    Silent,
}

/// Since when it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) when: Moment,
    /// When the client has noticed.
    pub(crate) noticed: Moment,
    pub(crate) why: Why,
}

impl Since {
    /// What a server that has answered at `now` remembers. `before`: when the server that was here
    /// before has answered last, if there was one. `was_seen`: this client has asked the server that
    /// this one was a copy of.
    pub(crate) fn of(past: &Past, before: Option<Moment>, was_seen: bool, now: Moment) -> Option<Self> {
        let since = |when, why| {
            Some(Self {
                when,
                noticed: now,
                why,
            })
        };
        let Some(uptime) = past.uptime else {
            return since(now, Why::Silent);
        };
        // The server counts the seconds of its clock that have begun: it may have started up to a
        // second later than that, and not after it has answered.
        let started = (now - uptime + SECOND).min(now);
        if was_seen || before.is_some_and(|heard| started < heard) {
            return since(now, Why::TookOver);
        }
        if past.has_file {
            return None;
        }
        since(started, Why::Restarted)
    }
}

/// Since when the server of a node remembers; nothing: for long enough, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct Youth(Mutex<Option<Since>>);

impl Youth {
    /// The server is another one.
    pub(crate) fn set(&self, since: Option<Since>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Returns what is known.
    pub(crate) fn get(&self) -> Option<Since> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn past(uptime: u64, has_file: bool) -> Past {
        Past {
            uptime: Some(Duration::from_secs(uptime)),
            has_file,
            ..Past::default()
        }
    }

    fn found(past: &Past, before: Option<Moment>, was_seen: bool) -> Option<(Moment, Why)> {
        Since::of(past, before, was_seen, at(100)).map(|since| (since.when, since.why))
    }

    #[test]
    fn a_server_that_forgets_remembers_since_its_start() {
        let now = Some((at(100), Why::Restarted));
        assert_eq!(
            found(&past(0, false), None, false),
            now,
            "no later than it has answered"
        );
        assert_eq!(
            found(&past(3, false), None, false),
            Some((at(98), Why::Restarted))
        );
        assert_eq!(
            found(&past(3, false), Some(at(95)), false),
            Some((at(98), Why::Restarted)),
            "the one before was heard before that"
        );
        assert_eq!(found(&past(3, true), Some(at(95)), false), None, "it has a file");
    }

    #[test]
    fn a_server_that_took_over_remembers_since_it_was_found() {
        let took_over = Some((at(100), Why::TookOver));
        assert_eq!(
            found(&past(50, true), Some(at(95)), false),
            took_over,
            "it was there before"
        );
        assert_eq!(found(&past(3, true), None, true), took_over, "it was a copy");
        assert_eq!(
            found(&past(50, true), None, false),
            None,
            "nobody was there before"
        );
    }

    #[test]
    fn a_server_that_says_nothing_is_not_trusted() {
        assert_eq!(found(&Past::default(), None, false), Some((at(100), Why::Silent)));
    }

    #[test]
    fn what_info_says_is_read() {
        let field = |name: &str| match name {
            "uptime_in_seconds" => Some("12"),
            "aof_enabled" => Some("1"),
            "master_replid" => Some("a1"),
            "master_replid2" => Some("0000000000000000000000000000000000000000"),
            _ => None,
        };
        let expected = Past {
            uptime: Some(Duration::from_secs(12)),
            has_file: true,
            history: Some("a1".to_owned()),
            copied: None,
        };
        assert_eq!(Past::read(field), expected);
    }
}
