//! A result: one number, what it is compared with, and the bar that it has to meet.

use std::fmt::Write;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// The median of times, microseconds.
    P50,
    /// The 99th percentile of times, microseconds.
    P99,
    /// Operations a second.
    PerSecond,
    /// Requests, counted at the socket.
    Requests,
    /// Messages published.
    Messages,
    /// The server's own time, microseconds.
    Server,
    /// Waiters that were overtaken.
    Inversions,
    /// Bytes of memory.
    Bytes,
}

impl Metric {
    /// The name in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::PerSecond => "per_s",
            Self::Requests => "requests",
            Self::Messages => "messages",
            Self::Server => "server_us",
            Self::Inversions => "inversions",
            Self::Bytes => "bytes",
        }
    }

    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }
}

/// One line of the results.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// Of [`WORKS`](crate::works::WORKS).
    pub work: &'static str,
    /// Who was measured; with what of it if that is more than one thing, as in `latchwork/held`.
    pub implementation: String,
    /// What was measured.
    pub metric: Metric,
    /// How many: tasks, waiters, readers, guards; 1 where there is nothing to count.
    pub n: usize,
    /// The result.
    pub value: f64,
    /// The same of what it is compared with, from the same run.
    pub floor: Option<f64>,
    /// Of the ratio to the floor if there is one, of the value otherwise: the most (the least, of rates) that is good.
    pub limit: Option<f64>,
    /// A peer's, whose limit is what ours has done: it is good if it is not better.
    peer: bool,
}

impl Row {
    /// A result without anything to compare it with.
    pub fn new(work: &'static str, implementation: impl Into<String>, metric: Metric, value: f64) -> Self {
        Self {
            work,
            implementation: implementation.into(),
            metric,
            n: 1,
            value,
            floor: None,
            limit: None,
            peer: false,
        }
    }

    /// How many.
    #[must_use]
    pub fn n(mut self, n: usize) -> Self {
        self.n = n;
        self
    }

    /// What to compare with.
    #[must_use]
    pub fn floor(mut self, floor: Option<f64>) -> Self {
        self.floor = floor;
        self
    }

    /// The bar.
    #[must_use]
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The bar, if it is for this one.
    #[must_use]
    pub fn limit_if(self, applies: bool, limit: f64) -> Self {
        if applies { self.limit(limit) } else { self }
    }

    /// Of something that is measured beside what has the bars: no bar.
    #[must_use]
    pub(crate) fn beside(mut self, what: &str) -> Self {
        self.implementation = format!("{}/{what}", self.implementation);
        self.limit = None;
        self
    }

    /// Whether it is Latchwork's, or of who is in its place.
    pub fn is_ours(&self) -> bool {
        let name = self.implementation.split('/').next();
        matches!(name, Some("latchwork" | "floor" | "handicapped"))
    }

    /// Whether it says the same of another library.
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        let of = |row: &Self| row.implementation.split_once('/').map(|(_, of)| of.to_owned());
        (self.work, self.metric, self.n, of(self)) == (other.work, other.metric, other.n, of(other))
    }

    /// Makes this peer's row good if `ours` is at least as good. Who polls sends no messages: that is not compared.
    pub fn compare_with(&mut self, ours: &Self) {
        if self.metric != Metric::Messages {
            self.peer = true;
            if self.floor != ours.floor {
                self.floor = None; // each has its own: the values are compared
            }
            self.limit = Some(rounded(self.floor.map_or(ours.value, |_| ours.shown())));
        }
    }

    /// What the limit is of.
    fn shown(&self) -> f64 {
        self.ratio().unwrap_or(self.value)
    }

    /// How many times the floor.
    pub fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }

    /// Whether the bar is met, as it is printed; without a bar there is nothing to miss. What is not a number meets none.
    pub fn is_ok(&self) -> bool {
        let Some(limit) = self.limit else { return true };
        let shown = rounded(self.shown());
        if self.at_least() {
            shown >= limit
        } else {
            shown <= limit
        }
    }

    /// How much of what the limit allows is used: 1 is all.
    pub fn used(&self) -> Option<f64> {
        let limit = self.limit?;
        Some(match (self.at_least(), limit == 0.0) {
            (true, _) => limit / self.shown(),
            (false, true) => self.shown(), // nothing is allowed
            (false, false) => self.shown() / limit,
        })
    }

    /// Whether the limit is the least.
    fn at_least(&self) -> bool {
        self.metric.more_is_better() != self.peer
    }

    /// A line of JSON.
    pub fn json(&self) -> String {
        format!(
            r#"{{"work":"{}","impl":"{}","metric":"{}","n":{},"value":{},"floor":{},"ratio":{},"limit":{},"ok":{}}}"#,
            self.work,
            self.implementation,
            self.metric.name(),
            self.n,
            number(Some(self.value)),
            number(self.floor),
            number(self.ratio()),
            number(self.limit),
            self.is_ok()
        )
    }

    /// The columns of a table.
    fn cells(&self) -> [String; 9] {
        let plain = |value: Option<f64>| value.map_or_else(String::new, short);
        let bar = match (self.limit, self.at_least()) {
            (None, _) => String::new(),
            (Some(limit), true) => format!(">= {}", short(limit)),
            (Some(limit), false) => format!("<= {}", short(limit)),
        };
        let verdict = match (self.limit, self.is_ok()) {
            (None, _) => "",
            (Some(_), true) if self.peer => "ours is better",
            (Some(_), false) if self.peer => "BETTER",
            (Some(_), true) => "ok",
            (Some(_), false) => "MISSED",
        };
        [
            self.work.to_owned(),
            self.implementation.clone(),
            self.n.to_string(),
            self.metric.name().to_owned(),
            short(self.value),
            plain(self.floor),
            self.ratio()
                .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            bar,
            verdict.to_owned(),
        ]
    }
}

const HEADINGS: [&str; 9] = [
    "work", "impl", "n", "metric", "value", "floor", "ratio", "bar", "",
];

/// For people, in a terminal.
pub fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 9]> = std::iter::once(HEADINGS.map(str::to_owned))
        .chain(rows.iter().map(Row::cells))
        .collect();
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let numeric = matches!(column, 2 | 4..=6);
            // Writing to a `String` cannot fail.
            let _infallible = if numeric {
                write!(shown, "{cell:>width$}  ")
            } else {
                write!(shown, "{cell:<width$}  ")
            };
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// For people, in a page.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        HEADINGS.join(" | "),
        "---|".repeat(HEADINGS.len())
    );
    for row in rows {
        let cells = row
            .cells()
            .map(|cell| cell.replace('<', "&lt;").replace('>', "&gt;"));
        text.push_str("| ");
        text.push_str(&cells.join(" | "));
        text.push_str(" |\n");
    }
    text
}

/// Three digits after the point are more than any of this is worth.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A number of JSON, which has neither infinity nor NaN.
fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => rounded(value).to_string(),
        _ => "null".to_owned(),
    }
}

/// As many digits as one can see at a glance.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 || (size - size.round()).abs() < 1e-9 => 0,
        size if size >= 100.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::new("uncontended", "latchwork", Metric::P50, 55.0)
            .floor(Some(50.0))
            .limit(1.1)
    }

    #[test]
    fn a_line_has_every_field() {
        assert_eq!(
            row().json(),
            r#"{"work":"uncontended","impl":"latchwork","metric":"p50_us","n":1,"value":55,"floor":50,"ratio":1.1,"limit":1.1,"ok":true}"#
        );
        let plain = Row::new("memory", "latchwork/held", Metric::Bytes, f64::NAN).n(3);
        assert_eq!(
            plain.json(),
            r#"{"work":"memory","impl":"latchwork/held","metric":"bytes","n":3,"value":null,"floor":null,"ratio":null,"limit":null,"ok":true}"#
        );
    }

    #[test]
    fn bars_are_of_the_ratio_or_of_the_value() {
        assert!(row().is_ok(), "as much as is allowed");
        assert!(!row().limit(1.09).is_ok(), "too slow");
        let rate = Row::new("throughput-64", "latchwork", Metric::PerSecond, 70.0).floor(Some(100.0));
        assert!(rate.clone().limit(0.7).is_ok(), "as fast as it has to be");
        assert!(!rate.limit(0.75).is_ok(), "too slow");
        let requests = Row::new("uncontended", "latchwork", Metric::Requests, 2.001);
        assert!(!requests.clone().limit(2.0).is_ok(), "one too many in a thousand");
        assert!(requests.is_ok(), "no bar");
        let nothing = Row::new("uncontended", "latchwork", Metric::P50, f64::NAN).limit(1.0);
        assert!(!nothing.is_ok(), "nothing measured is nothing met");
    }

    #[test]
    fn what_stands_beside_has_no_bar() {
        let beside = row().limit(1.0).beside("window");
        assert_eq!(beside.implementation, "latchwork/window");
        assert!(beside.is_ours(), "{beside:?}");
        assert_eq!((beside.limit, beside.is_ok()), (None, true));
    }

    #[test]
    fn tables_line_up() {
        let text = table(&[row(), row().limit(1.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("<= 1.10  ok"), "{text}");
        assert!(lines[2].ends_with("<= 1     MISSED"), "{text}");
        assert!(markdown(&[row()]).contains("| &lt;= 1.10 | ok |"));
    }
}
