//! The page of results, docs/performance.md: where they were measured, charts and tables.

use std::fs;
use std::path::Path;
use std::process::Command;

use latchwork_testkit::find_server;

use crate::Result;
use crate::chart::Chart;
use crate::command_line::Run;
use crate::row::{Metric, Row, table};

/// Returns where, when and with what it is measured, as a list in Markdown. `cores` tells which
/// core runs what.
pub(crate) fn facts(cores: String, quick: bool) -> Result<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let mut models = cpu.lines().filter_map(|line| line.strip_prefix("model name"));
    let model = models.next().unwrap_or("unknown processor");
    let model = model.trim_matches(['\t', ':', ' ']);
    let (number, system) = (output("nproc", &["--all"]), output("uname", &["-sr"]));
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    let facts = [
        ("date", output("date", &["-u", "+%F"])),
        ("machine", format!("{model}, {number} cores, {system}")),
        ("cores", cores),
        ("load when it began", load.to_owned()),
        ("server", find_server()?.version.to_string()),
        ("redis-rs", locked("redis")),
        ("tokio", locked("tokio")),
        ("compiler", output("rustc", &["--version"])),
        ("commit", output("git", &["describe", "--always", "--dirty"])),
        ("rounds", if quick { "few (--quick)" } else { "all" }.to_owned()),
    ];
    Ok(facts.map(|(name, value)| format!("- {name}: {value}\n")).concat())
}

/// Writes the charts, and everything else into the page.
pub(crate) fn publish(run: Run, facts: &str, rows: &[Row], notes: &[String]) -> Result<()> {
    let docs = root().join("docs");
    let mut parts = vec![facts.to_owned()];
    fs::create_dir_all(docs.join("performance"))?;
    for (name, chart) in charts(run, rows) {
        if !chart.groups.is_empty() {
            fs::write(docs.join(format!("performance/{name}.svg")), chart.svg()?)?;
            parts.push(format!("![{}](performance/{name}.svg)\n", chart.title));
        }
    }
    parts.push(table(rows));
    parts.extend(notes.iter().map(|note| format!("- {note}")));
    let page = docs.join("performance.md");
    let mark = if run == Run::Alone { "results" } else { "peers" };
    let text = between(&fs::read_to_string(&page)?, mark, parts.join("\n").trim_end())?;
    Ok(fs::write(page, text)?)
}

/// Replaces the text between two marks, which are comments.
fn between(page: &str, mark: &str, new: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {mark}: begin -->"), format!("<!-- {mark}: end -->"));
    let parts = page.split_once(&begin);
    let parts = parts.and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = parts.ok_or_else(|| format!("docs/performance.md has no {begin} and {end}"))?;
    Ok(format!("{head}{begin}\n\n{new}\n\n{end}{tail}"))
}

/// The charts for these rows, by the names of their files.
fn charts(run: Run, rows: &[Row]) -> Vec<(&'static str, Chart)> {
    if run == Run::Alone {
        let throughput = ("throughput", throughput(rows));
        vec![("bars", bars(rows)), throughput, ("deep-queue", depth(rows))]
    } else {
        vec![("peers", peers(rows)), ("peers-throughput", throughput(rows))]
    }
}

fn bars(rows: &[Row]) -> Chart {
    let mut chart = Chart::new("What is used of what each bar allows (1 = all of it)");
    chart.line = Some(1.0);
    // The rows of `size` are too many for a chart.
    for row in rows.iter().filter(|row| row.is_ours() && row.work != "size") {
        let (work, of, n, metric) = row.subject();
        let n = if n > 1 { format!(" {n}") } else { String::new() };
        let name = format!("{work} {of}{n} {}", metric.0).replace("  ", " ");
        chart
            .groups
            .extend(row.used().map(|used| (name, vec![Some(used)])));
    }
    chart
}

fn depth(rows: &[Row]) -> Chart {
    let mut chart = Chart::new("Server time of a hand-off by length of the queue, microseconds");
    for row in rows.iter().filter(|row| row.work == "deep-queue") {
        let name = format!("{} waiters", row.n);
        chart.groups.push((name, vec![Some(row.value)]));
    }
    chart
}

fn throughput(rows: &[Row]) -> Chart {
    let chart = Chart::new("Lock + unlock per second, one client, as many names as tasks");
    let works = ["throughput-1", "throughput-64", "throughput-512"];
    side_by_side(chart, rows, &works.map(|work| (work, Metric::PerSecond, work)))
}

fn peers(rows: &[Row]) -> Chart {
    let mut chart = Chart::new("Latchwork and peers (logarithmic, less is better)");
    chart.logarithmic = true;
    let shown = [
        ("uncontended", Metric::P50, "lock + unlock, p50, us"),
        ("hand-off", Metric::P50, "hand-off, p50, us"),
        ("contended", Metric::Requests, "contended: requests per lock"),
        ("contended", Metric::P99, "contended: wait, p99, us"),
        ("waiting", Metric::Requests, "100 waiters: requests per second"),
    ];
    side_by_side(chart, rows, &shown)
}

/// Adds a group for each of these works: the floor and every library.
fn side_by_side(mut chart: Chart, rows: &[Row], shown: &[(&str, Metric, &str)]) -> Chart {
    let mut names = vec!["floor"];
    for row in rows {
        let is_shown = shown.iter().any(|of| (of.0, of.1) == (row.work, row.metric));
        if is_shown && !names.contains(&row.implementation.as_str()) {
            names.push(&row.implementation);
        }
    }
    for (work, metric, title) in shown {
        let rows = rows
            .iter()
            .filter(|row| (row.work, row.metric) == (*work, *metric));
        let mut values = vec![None; names.len()];
        for row in rows {
            let at = names.iter().position(|name| *name == row.implementation);
            values[at.unwrap_or(0)] = Some(row.value);
            values[0] = values[0].or(row.floor);
        }
        if values.iter().any(Option::is_some) {
            chart.groups.push(((*title).to_owned(), values));
        }
    }
    chart.series = names.into_iter().map(str::to_owned).collect();
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
    let version = entry.and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown").to_owned()
}

/// What a program prints, or `unknown`.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_results_replace_old_ones() {
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
    fn the_lock_file_has_versions() {
        assert!(locked("redis").starts_with("1."), "{}", locked("redis"));
        assert_eq!(locked("no-such-package"), "unknown");
    }

    #[test]
    fn charts_are_made_of_rows() {
        let rate = |name: &str| Row::new("throughput-64", name, Metric::PerSecond, 80.0).floor(Some(100.0));
        let rows = [rate("latchwork").n(64).limit(0.75), rate("peer")];
        let chart = throughput(&rows);
        assert_eq!(chart.series, ["floor", "latchwork", "peer"]);
        assert_eq!(
            chart.groups,
            [(
                "throughput-64".to_owned(),
                vec![Some(100.0), Some(80.0), Some(80.0)]
            )]
        );
        assert_eq!(bars(&rows).groups[0].0, "throughput-64 64 per_s");
        assert!(depth(&rows).groups.is_empty());
    }
}
