//! The result: what was lost and what it cost, as a table or as JSON.

use std::fmt::{self, Display};
use std::time::Duration;

use super::LEASE;
use super::play::{HOLD, Story};

/// How soon after the kill a survivor has to hold the lock.
const RECOVERY_BOUND: Duration = LEASE.saturating_add(Duration::from_secs(1));

/// A table; its rows are the fields of the JSON.
#[derive(Debug)]
pub(super) struct Report {
    lock: bool,
    rows: Vec<Row>,
}

/// A name, a value, a note, and whether the value is right, where that can be said.
type Row = (&'static str, String, &'static str, Option<bool>);

impl Report {
    pub(super) fn new(lock: bool, server: &str, story: &Story) -> Self {
        let rows = Vec::new();
        let mut report = Self { lock, rows };
        let (rounds, recovery) = (story.rounds, story.recovery);
        let (found, tokens, left) = (story.counter, &story.tokens, &story.left);
        // The first survivor finds the mark of the killed task, which is no violation.
        let violations = story.overlaps.saturating_sub(u64::from(recovery.is_some()));
        report.add("expected", rounds, "rounds were finished");
        report.check("found", found, "is the counter", found == rounds);
        report.check(
            "violations",
            violations,
            "rounds with another task inside",
            violations == 0,
        );
        if lock {
            let falls = tokens.windows(2).filter(|pair| pair[0] >= pair[1]).count();
            let in_time = recovery.is_some_and(|took| took <= RECOVERY_BOUND);
            let took = recovery.map(|took| took.as_millis().to_string());
            let took = took.unwrap_or_else(|| "null".to_owned());
            let (entries, count) = (format!("{left:?}"), (tokens.len() as u64).max(1));
            let hundredths = story.scripts * 100 / count;
            let commands = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            report.check("tokens", tokens.len(), "fencing tokens", !tokens.is_empty());
            report.check("tokens_not_rising", falls, "not above the one before", falls == 0);
            report.check("recovery_ms", took, "from kill to grant, at most 3000", in_time);
            report.check("left_behind", entries, "should be gone", left.is_empty());
            let (longest, average) = (story.longest_wait, story.waited / count);
            report.add("longest_wait_ms", longest / 1000, "because of the kill");
            report.add("average_wait_ms", average / 1000, "");
            report.add("commands_per_acquisition", commands, "script calls");
        }
        let outage = recovery.map_or(Duration::ZERO, |took| HOLD + took);
        let working = story.elapsed.saturating_sub(outage).as_millis().max(1);
        let rate = u128::from(rounds) * 1000 / working;
        report.add("rounds_per_second", rate, "without the outage");
        report.add("elapsed_ms", story.elapsed.as_millis(), "");
        report.add("server", format!("{server:?}"), "");
        report
    }

    fn add(&mut self, name: &'static str, value: impl Display, note: &'static str) {
        self.rows.push((name, value.to_string(), note, None));
    }

    /// Adds a row whose value has to be right, if there is a lock.
    fn check(&mut self, name: &'static str, value: impl Display, note: &'static str, ok: bool) {
        let ok = self.lock.then_some(ok);
        self.rows.push((name, value.to_string(), note, ok));
    }

    /// Returns the rows that are wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        let wrong = self.rows.iter().filter(|row| row.3 == Some(false));
        let text = |(name, value, note, _): &Row| format!("{name}: {value} {note}");
        wrong.map(text).collect()
    }

    /// Returns one line of JSON.
    pub(super) fn json(&self) -> String {
        let (lock, ok) = (self.lock, self.problems().is_empty());
        let field = |(name, value, ..): &Row| format!(", \"{name}\": {value}");
        let fields: String = self.rows.iter().map(field).collect();
        format!("{{\"lock\": {lock}, \"ok\": {ok}{fields}}}")
    }
}

/// The table.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value, note, ok) in &self.rows {
            let verdict = ok.map_or("  ", |ok| if ok { "ok" } else { "NO" });
            let name = name.replace('_', " ");
            let line = format!("{verdict}  {name:<24} {value:>6}  {note}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lock: bool, change: impl FnOnce(&mut Story)) -> Report {
        let mut story = Story::default();
        (story.rounds, story.overlaps) = (20_000, 1); // the first survivor
        (story.counter, story.tokens) = (20_000, vec![1, 2, 5, 6, 7]);
        (story.waited, story.scripts) = (120_000, 11);
        story.elapsed = Duration::from_millis(12_500);
        story.recovery = Some(Duration::from_millis(1800));
        change(&mut story);
        Report::new(lock, "redis 7.0.15", &story)
    }

    #[test]
    fn a_good_run_has_no_problems() {
        let report = report(true, |_| {});
        assert!(report.problems().is_empty(), "{report}");
        let row = "ok  recovery ms                1800  from kill to grant";
        assert!(report.to_string().contains(row), "{report}");
        let json = r#"{"lock": true, "ok": true, "expected": 20000, "found": 20000, "violations": 0, "#;
        assert!(report.json().starts_with(json), "{}", report.json());
        let json = r#""commands_per_acquisition": 2.20, "rounds_per_second": 2000, "elapsed_ms": 12500, "server": "redis 7.0.15"}"#;
        assert!(report.json().ends_with(json), "{}", report.json());
    }

    #[test]
    fn every_problem_fails_the_demo() {
        let changes: [fn(&mut Story); 8] = [
            |story| story.counter -= 1,
            |story| story.counter += 1,
            |story| story.tokens.push(7),
            |story| story.tokens.clear(),
            |story| story.left.push("x".to_owned()),
            |story| story.overlaps += 1,
            |story| story.recovery = Some(RECOVERY_BOUND * 2),
            |story| story.recovery = None,
        ];
        for change in changes {
            let bad = report(true, change);
            assert!(!bad.problems().is_empty(), "{bad}");
            assert!(bad.to_string().contains("NO  "), "{bad}");
        }
    }

    #[test]
    fn the_demo_cannot_fail_without_the_lock() {
        let report = report(false, |story| story.counter = 15_000);
        assert!(report.problems().is_empty(), "{report}");
    }
}
