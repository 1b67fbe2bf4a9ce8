//! What a worker tells its parent: lines of text over its stdout.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// Connected, waiting for `go`.
    Ready,
    /// How far it is.
    Progress(Tally),
    /// It is in the critical section under this mark, and stays there until it is killed.
    Holding(String),
    /// It came into the critical section and found somebody's mark, or its own was gone when it left.
    Met(String),
    /// Something that it can go on after.
    Trouble(String),
    /// All its tasks are done; nothing follows.
    Done(Tally),
}

/// The numbers of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Rounds finished so far.
    pub(super) rounds: u64,
    /// Those of them in which it was not alone in the critical section (or first after the dead).
    pub(super) overlaps: u64,
    /// The longest wait for the lock that ended since the last line.
    pub(super) wait: Duration,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Progress(tally) => write!(f, "progress {tally}"),
            Self::Holding(mark) => write!(f, "holding {mark}"),
            Self::Met(mark) => write!(f, "met {mark}"),
            Self::Trouble(text) => write!(f, "trouble {}", text.replace('\n', " ")),
            Self::Done(tally) => write!(f, "done {tally}"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.wait.as_micros();
        write!(f, "{} {} {micros}", self.rounds, self.overlaps)
    }
}

impl FromStr for Said {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "ready" => Ok(Self::Ready),
            "progress" => rest.parse().map(Self::Progress),
            "holding" => Ok(Self::Holding(rest.to_owned())),
            "met" => Ok(Self::Met(rest.to_owned())),
            "trouble" => Ok(Self::Trouble(rest.to_owned())),
            "done" => rest.parse().map(Self::Done),
            _ => Err(format!("a worker said {line:?}")),
        }
    }
}

impl FromStr for Tally {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split(' ').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(rounds)), Some(Ok(overlaps)), Some(Ok(micros)), None) => Ok(Self {
                rounds,
                overlaps,
                wait: Duration::from_micros(micros),
            }),
            _ => Err(format!("not a tally: {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let tally = Tally {
            rounds: 3,
            overlaps: 1,
            wait: Duration::from_micros(1500),
        };
        for said in [
            Said::Ready,
            Said::Progress(tally),
            Said::Holding("3.0.7".to_owned()),
            Said::Met("nobody".to_owned()),
            Said::Trouble("two words".to_owned()),
            Said::Done(tally),
        ] {
            assert_eq!(said.to_string().parse(), Ok(said));
        }
        for line in ["", "holdin 1", "done 1 2", "done 1 2 3 4", "progress a b c"] {
            assert!(line.parse::<Said>().is_err(), "{line}");
        }
    }
}
