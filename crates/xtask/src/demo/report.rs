//! The verdict: was anything lost, and what did it cost?

use std::fmt;
use std::time::Duration;

use super::place::Place;
use super::play::{Played, RECOVERY_BOUND};
use super::{Options, label};
use crate::Failure;

/// Everything that the table says.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) server: String,
    pub(super) lock: bool,
    pub(super) elapsed: Duration,
    /// In which somebody could work.
    pub(super) working: Duration,
    /// Rounds that were finished, so what the counter should be.
    pub(super) expected: u64,
    pub(super) found: u64,
    /// Where what a worker says it did differs from what it wrote.
    pub(super) miscounted: Vec<String>,
    /// Critical sections that were entered, or rounds without a lock.
    pub(super) sections: u64,
    pub(super) overlaps: u64,
    pub(super) violations: Vec<String>,
    /// Tokens that were not above the one before.
    pub(super) falls: u64,
    pub(super) recovery: Option<Duration>,
    pub(super) longest_wait: Duration,
    pub(super) longest_undisturbed: Duration,
    pub(super) script_calls: Option<u64>,
    pub(super) left: Vec<String>,
    pub(super) left_note: Option<String>,
    pub(super) troubles: Vec<String>,
}

/// A name, a value, and whether it is as it should be if that can be said.
type Row = (&'static str, String, Option<bool>);

/// How many rounds were finished, and where the two ways of counting them differ.
///
/// A round of the killed worker may be written and not reported: its own transactions, which are exact, count for it. It
/// may not be the other way round. The others have said their last word, and have to agree with theirs.
fn account(said: &[u64], written: &[u64], killed: Option<usize>) -> (u64, Vec<String>) {
    let mut expected = 0;
    let mut differ = Vec::new();
    for (index, (&said, &written)) in said.iter().zip(written).enumerate() {
        let dead = killed == Some(index);
        if said > written || (said < written && !dead) {
            let who = label(index);
            differ.push(format!("{who} finished {said} rounds and wrote {written}"));
        }
        expected += if dead { written } else { said };
    }
    (expected, differ)
}

/// How many tokens are not above the one before.
fn falls(tokens: &[u64]) -> u64 {
    tokens.windows(2).filter(|pair| pair[0] >= pair[1]).count() as u64
}

impl Facts {
    /// Reads what was written, and compares.
    pub(super) fn gather(options: &Options, place: &mut Place, played: Played) -> Result<Self, Failure> {
        let victim = played.killed.map(|(index, at)| (label(index), at));
        let (left, left_note) = if options.lock {
            place.left_behind(victim)?
        } else {
            (Vec::new(), None)
        };
        let said: Vec<u64> = played.tallies.iter().map(|tally| tally.rounds).collect();
        let in_redis = place.rounds()?;
        let written: Vec<u64> = (0..said.len())
            .map(|index| in_redis.get(&index.to_string()).copied().unwrap_or(0))
            .collect();
        let killed = played.killed.map(|(index, _)| index);
        let (expected, miscounted) = account(&said, &written, killed);
        let tokens = place.tokens()?;
        let sections = if options.lock {
            tokens.len() as u64
        } else {
            expected
        };
        Ok(Self {
            server: place.server.clone(),
            lock: options.lock,
            elapsed: played.elapsed,
            working: played.elapsed.saturating_sub(played.outage),
            expected,
            found: place.counter()?,
            miscounted,
            sections,
            overlaps: played.tallies.iter().map(|tally| tally.overlaps).sum(),
            violations: played.violations,
            falls: falls(&tokens),
            recovery: played.recovery,
            longest_wait: played.longest_wait,
            longest_undisturbed: played.longest_undisturbed,
            script_calls: played.script_calls,
            left,
            left_note,
            troubles: played.troubles,
        })
    }

    /// Why the demo has failed; nothing if it has not. Without the lock it cannot.
    pub(super) fn problems(&self) -> Vec<String> {
        if !self.lock {
            return Vec::new();
        }
        let mut problems = self.miscounted.clone();
        if self.found != self.expected {
            problems.push(format!(
                "the counter is {} and should be {}",
                self.found, self.expected
            ));
        }
        if let Some(first) = self.violations.first() {
            let count = self.violations.len();
            problems.push(format!("mutual exclusion was violated {count} times: {first}"));
        }
        if self.falls > 0 {
            problems.push(format!("{} fencing tokens do not rise", self.falls));
        }
        if self.sections == 0 {
            problems.push("nobody ever had the lock".to_owned());
        }
        match self.recovery {
            None => problems.push("no survivor had the lock after the kill".to_owned()),
            Some(recovery) if recovery > RECOVERY_BOUND => problems.push(format!(
                "a survivor had the lock only {} after the kill",
                seconds(recovery)
            )),
            Some(_) => {}
        }
        if !self.left.is_empty() {
            problems.push(format!("left behind: {}", self.left.join(", ")));
        }
        problems
    }

    pub(super) fn per_second(&self) -> u64 {
        let micros = u64::try_from(self.working.as_micros()).unwrap_or(u64::MAX);
        (self.sections * 1_000_000).checked_div(micros).unwrap_or(0)
    }

    /// Script calls per acquisition, with two decimals.
    pub(super) fn commands(&self) -> Option<String> {
        let hundredths = (self.script_calls? * 100).checked_div(self.sections)?;
        Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
    }

    fn with_lock(&self) -> Vec<Row> {
        let exact = self.found == self.expected && self.miscounted.is_empty();
        let in_time = self.recovery.is_some_and(|took| took <= RECOVERY_BOUND);
        let commands = self.commands().map_or_else(
            || "unknown: the server does not say".to_owned(),
            |commands| format!("{commands} per acquisition"),
        );
        let violations = self.violations.len();
        let mut rows = vec![
            ("counter", self.counter(), Some(exact)),
            ("violations", violations.to_string(), Some(violations == 0)),
            ("tokens", self.tokens(), Some(self.falls == 0)),
            ("recovery", self.recovered(), Some(in_time)),
            ("left behind", self.left_behind(), Some(self.left.is_empty())),
            ("acquisitions", format!("{} per second", self.per_second()), None),
            ("longest wait", self.waits(), None),
            ("commands", commands, None),
        ];
        if !self.troubles.is_empty() {
            rows.push(("trouble", self.troubles.join("; "), None));
        }
        rows
    }

    fn without_lock(&self) -> Vec<Row> {
        let lost = self.expected.saturating_sub(self.found);
        let overlaps = format!("{} rounds were not alone", self.overlaps);
        vec![
            ("counter", self.counter(), None),
            ("lost", format!("{lost} updates"), None),
            ("overlaps", overlaps, None),
            ("rounds", format!("{} per second", self.per_second()), None),
        ]
    }

    fn counter(&self) -> String {
        format!("expected {}, found {}", self.expected, self.found)
    }

    fn tokens(&self) -> String {
        let (sections, falls) = (self.sections, self.falls);
        if falls == 0 {
            format!("{sections}, each above the one before")
        } else {
            format!("{sections}, {falls} of them not above the one before")
        }
    }

    fn recovered(&self) -> String {
        let Some(recovery) = self.recovery else {
            return "never".to_owned();
        };
        let (took, bound) = (seconds(recovery), seconds(RECOVERY_BOUND));
        format!("{took} from the kill to a survivor's grant (at most {bound})")
    }

    fn left_behind(&self) -> String {
        if self.left.is_empty() {
            self.left_note.clone().unwrap_or_else(|| "nothing".to_owned())
        } else {
            self.left.join(", ")
        }
    }

    fn waits(&self) -> String {
        let (longest, undisturbed) = (self.longest_wait, self.longest_undisturbed);
        format!(
            "{}, and {} apart from the kill",
            seconds(longest),
            seconds(undisturbed)
        )
    }
}

/// The table.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.lock {
            self.with_lock()
        } else {
            self.without_lock()
        };
        for (name, value, good) in rows {
            let verdict = match good {
                None => "  ",
                Some(true) => "ok",
                Some(false) => "NO",
            };
            writeln!(f, "{verdict}  {name:<14}{value}")?;
        }
        writeln!(
            f,
            "    {:<14}{}, {}",
            "server",
            self.server,
            seconds(self.elapsed)
        )?;
        if self.lock {
            return Ok(());
        }
        f.write_str(if self.found < self.expected {
            "\nWithout the lock, updates were lost. With it: cargo xtask demo\n"
        } else {
            "\nNo update was lost this time, by luck alone: run it for longer.\n"
        })
    }
}

fn seconds(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        return format!("{millis} ms");
    }
    format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::demo) fn good() -> Facts {
        Facts {
            server: "Redis 7.0.15".to_owned(),
            lock: true,
            elapsed: Duration::from_millis(12_050),
            working: Duration::from_secs(10),
            expected: 20_000,
            found: 20_000,
            miscounted: Vec::new(),
            sections: 20_001,
            overlaps: 0,
            violations: Vec::new(),
            falls: 0,
            recovery: Some(Duration::from_millis(1_876)),
            longest_wait: Duration::from_millis(2_301),
            longest_undisturbed: Duration::from_millis(31),
            script_calls: Some(40_100),
            left: Vec::new(),
            left_note: None,
            troubles: Vec::new(),
        }
    }

    #[test]
    fn rounds_are_counted_exactly() {
        assert_eq!(account(&[3, 4], &[3, 4], None), (7, Vec::new()));
        // The killed one had no time to report its last round.
        assert_eq!(account(&[3, 4], &[3, 5], Some(1)), (8, Vec::new()));
        // Nobody may report what is not written, and survivors have to report everything.
        for (said, written, killed) in [([3, 5], [3, 4], Some(1)), ([3, 4], [4, 4], Some(1))] {
            let (_, differ) = account(&said, &written, killed);
            assert_eq!(differ.len(), 1, "{said:?} {written:?}");
        }
    }

    #[test]
    fn tokens_have_to_rise() {
        assert_eq!(falls(&[]), 0);
        assert_eq!(falls(&[1, 2, 5]), 0);
        assert_eq!(falls(&[1, 1, 5, 4, 6]), 2);
    }

    #[test]
    fn a_good_run_has_no_problems() {
        assert_eq!(good().problems(), Vec::<String>::new());
        let table = good().to_string();
        for part in [
            "ok  counter       expected 20000, found 20000",
            "ok  recovery      1.87 s from the kill",
            "2000 per second",
            "2.30 s, and 31 ms apart",
            "2.00 per acquisition",
            "Redis 7.0.15",
        ] {
            assert!(table.contains(part), "{part:?} is missing in:\n{table}");
        }
        assert!(!table.contains("NO"), "{table}");
    }

    #[test]
    fn every_problem_fails_the_demo() {
        let spoilers: [fn(&mut Facts); 8] = [
            |facts| facts.found -= 1,
            |facts| facts.found += 1,
            |facts| facts.miscounted.push("x".to_owned()),
            |facts| facts.violations.push("x".to_owned()),
            |facts| facts.falls = 1,
            |facts| facts.recovery = None,
            |facts| facts.recovery = Some(RECOVERY_BOUND + Duration::from_millis(1)),
            |facts| facts.left.push("x".to_owned()),
        ];
        for (index, spoil) in spoilers.iter().enumerate() {
            let mut facts = good();
            spoil(&mut facts);
            assert_eq!(facts.problems().len(), 1, "number {index}");
            assert!(facts.to_string().contains("NO  "), "number {index}:\n{facts}");
        }
    }

    #[test]
    fn without_the_lock_it_says_what_was_lost() {
        let mut facts = good();
        facts.lock = false;
        facts.found = 15_000;
        assert_eq!(facts.problems(), Vec::<String>::new());
        let table = facts.to_string();
        assert!(table.contains("5000 updates"), "{table}");
        assert!(table.contains("updates were lost"), "{table}");
    }
}
