//! The page that shows the results: which machine, which versions, when, and the charts.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use latchwork_testkit::find_server;

use crate::Result;
use crate::chart::{Chart, Scale};
use crate::command_line::Run;
use crate::row::{Metric, Row, markdown};

/// Where and with what it was measured.
#[derive(Debug)]
pub struct Facts {
    start: Instant,
    lines: Vec<(&'static str, String)>,
}

impl Facts {
    /// Looks around. `cores` says who runs where.
    ///
    /// # Errors
    /// There is no server.
    pub fn gather(cores: String, quick: bool) -> Result<Self> {
        let server = find_server()?;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
        let system = format!(
            "{} {}",
            std::env::consts::OS,
            read("/proc/sys/kernel/osrelease").trim()
        );
        let busy = read("/proc/loadavg");
        let busy = busy.split_whitespace().next().unwrap_or("unknown");
        let model = model.map_or("unknown processor", |(_, model)| model);
        let lines = vec![
            ("date", today()),
            ("machine", format!("{model}, {count} cores, {}", system.trim())),
            ("cores", cores),
            ("load when it began", busy.to_owned()),
            ("server", server.version.to_string()),
            ("redis-rs", locked("redis")),
            ("tokio", locked("tokio")),
            ("compiler", said("rustc", &["--version"])),
            ("commit", said("git", &["describe", "--always", "--dirty"])),
            ("rounds", if quick { "few (--quick)" } else { "all" }.to_owned()),
        ];
        Ok(Self {
            start: Instant::now(),
            lines,
        })
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.lines {
            writeln!(f, "{name}: {value}")?;
        }
        Ok(())
    }
}

/// Writes the charts, and the tables into the page. Returns what was written.
///
/// # Errors
/// The page is not there, has no place for the results, or cannot be written.
pub fn publish(run: Run, facts: &Facts, rows: &[Row], notes: &[String]) -> Result<Vec<PathBuf>> {
    let docs = root().join("docs");
    let (mark, charts) = match run {
        Run::Alone => (
            "results",
            vec![
                ("bars.svg", bars(rows)),
                ("throughput.svg", throughput(rows)),
                ("deep-queue.svg", depth(rows)),
            ],
        ),
        Run::Peers => (
            "peers",
            vec![
                ("peers.svg", peers(rows)),
                ("peers-throughput.svg", throughput(rows)),
            ],
        ),
    };
    let mut written = Vec::new();
    let mut shown: Vec<String> = Vec::new();
    fs::create_dir_all(docs.join("performance"))?;
    for (name, chart) in charts {
        if chart.is_empty() {
            continue; // with --only there may be nothing for it
        }
        let path = docs.join("performance").join(name);
        fs::write(&path, chart.svg()?)?;
        shown.push(format!("![{}](performance/{name})\n", chart.title()));
        written.push(path);
    }
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page)?;
    let facts = facts
        .lines
        .iter()
        .map(|(name, value)| format!("- {name}: {value}"));
    let notes = notes.iter().map(|note| format!("- {note}"));
    let parts: Vec<String> = facts
        .chain([String::new()])
        .chain(shown)
        .chain([markdown(rows)])
        .chain(notes)
        .collect();
    fs::write(&page, between(&text, mark, parts.join("\n").trim_end())?)?;
    written.push(page);
    Ok(written)
}

/// Replaces what is between two marks, which are comments.
fn between(text: &str, mark: &str, new: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- {mark}: begin -->\n"),
        format!("<!-- {mark}: end -->"),
    );
    let missing = || format!("docs/performance.md has no {} and {end}", begin.trim_end());
    let (head, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{head}{begin}\n{new}\n\n{end}{tail}"))
}

/// How much of what is allowed is used, for every bar.
fn bars(rows: &[Row]) -> Chart {
    let mut chart = Chart::new(
        "What is used of what each bar allows (1 = all of it)",
        Scale::Linear,
        &[],
    )
    .line(1.0);
    for row in rows.iter().filter(|row| row.is_ours()) {
        if let Some(used) = row.used() {
            let of = row.implementation.split_once('/').map_or("", |(_, of)| of);
            let n = if row.n > 1 {
                format!(" {}", row.n)
            } else {
                String::new()
            };
            let name = format!("{} {of}{n} {}", row.work, row.metric.name()).replace("  ", " ");
            chart.group(&name, vec![Some(used)]);
        }
    }
    chart
}

fn throughput(rows: &[Row]) -> Chart {
    let rates: Vec<&Row> = rows
        .iter()
        .filter(|row| row.metric == Metric::PerSecond && row.floor.is_some())
        .collect();
    let mut names = vec!["floor"];
    for row in &rates {
        if !names.contains(&row.implementation.as_str()) {
            names.push(&row.implementation);
        }
    }
    let mut chart = Chart::new(
        "Lock + unlock per second, one client, as many names as tasks",
        Scale::Linear,
        &names,
    );
    let mut works: Vec<&str> = rates.iter().map(|row| row.work).collect();
    works.dedup();
    for work in works {
        let of = |name: &str| {
            rates
                .iter()
                .find(|row| row.work == work && row.implementation == name)
        };
        let floor = rates
            .iter()
            .find(|row| row.work == work)
            .and_then(|row| row.floor);
        let values = names[1..].iter().map(|name| of(name).map(|row| row.value));
        chart.group(work, std::iter::once(floor).chain(values).collect());
    }
    chart
}

fn depth(rows: &[Row]) -> Chart {
    let mut chart = Chart::new(
        "Server time of a hand-off by length of the queue, microseconds",
        Scale::Linear,
        &[],
    );
    for row in rows.iter().filter(|row| row.work == "deep-queue") {
        chart.group(&format!("{} waiters", row.n), vec![Some(row.value)]);
    }
    chart
}

fn peers(rows: &[Row]) -> Chart {
    const SHOWN: [(&str, Metric, &str); 5] = [
        ("uncontended", Metric::P50, "lock + unlock, p50, us"),
        ("hand-off", Metric::P50, "hand-off, p50, us"),
        ("contended", Metric::Requests, "contended: requests per lock"),
        ("contended", Metric::P99, "contended: wait, p99, us"),
        ("waiting", Metric::Requests, "100 waiters: requests per second"),
    ];
    let mut names: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| !row.implementation.contains('/')) {
        if !names.contains(&row.implementation.as_str()) {
            names.push(&row.implementation);
        }
    }
    let mut with_floor = vec!["floor"];
    with_floor.extend(&names);
    let mut chart = Chart::new(
        "Latchwork and peers (logarithmic, less is better)",
        Scale::Logarithmic,
        &with_floor,
    );
    for (work, metric, title) in SHOWN {
        let of = |name: &str| {
            rows.iter()
                .find(|row| row.work == work && row.metric == metric && row.implementation == name)
        };
        if names.iter().any(|name| of(name).is_some()) {
            let floor = names.iter().find_map(|name| of(name)?.floor);
            let values = names.iter().map(|name| of(name).map(|row| row.value));
            chart.group(title, std::iter::once(floor).chain(values).collect());
        }
    }
    chart
}

/// The folder of the workspace.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The version of a dependency, from the lock file.
fn locked(package: &str) -> String {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap_or_default();
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
    entry
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("unknown")
        .to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The day so many days after 1 January 1970, in the proleptic Gregorian calendar.
fn date(mut days: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_454, "2026-01-01"),
        ] {
            assert_eq!(date(days), text);
        }
    }

    #[test]
    fn results_replace_results() {
        let page = "a\n<!-- results: begin -->\nold\n<!-- results: end -->\nb\n";
        let new = between(page, "results", "new").unwrap();
        assert_eq!(
            new,
            "a\n<!-- results: begin -->\n\nnew\n\n<!-- results: end -->\nb\n"
        );
        assert_eq!(between(&new, "results", "new").unwrap(), new, "again");
        assert!(between(page, "peers", "new").is_err());
    }

    #[test]
    fn the_lock_file_knows_versions() {
        assert!(locked("redis").starts_with("1."), "{}", locked("redis"));
        assert_eq!(locked("no-such-package"), "unknown");
    }

    #[test]
    fn charts_are_made_of_rows() {
        let rate = |name: &str| {
            Row::new("throughput-64", name, Metric::PerSecond, 80.0)
                .n(64)
                .floor(Some(100.0))
        };
        let rows = [rate("latchwork").limit(0.75), rate("peer")];
        assert!(throughput(&rows).svg().unwrap().contains("peer"));
        assert!(bars(&rows).svg().unwrap().contains("throughput-64 64 per_s"));
        assert!(depth(&rows).is_empty());
    }
}
