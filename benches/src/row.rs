//! A result: one number, what it is compared with, its bar, and how it is printed.

/// What was measured: its name in the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric(pub(crate) &'static str);

#[allow(
    non_upper_case_globals,
    reason = "these are the variants of what could be an enum"
)]
impl Metric {
    /// The median and the 99th percentile of times.
    pub(crate) const P50: Self = Self("p50_us");
    pub(crate) const P99: Self = Self("p99_us");
    /// Operations per second: the only metric of which more is better.
    pub(crate) const PerSecond: Self = Self("per_s");
    /// Requests, counted at the socket.
    pub(crate) const Requests: Self = Self("requests");
    /// Published messages.
    pub(crate) const Messages: Self = Self("messages");
    /// The server's own time.
    pub(crate) const Server: Self = Self("server_us");
    /// Commands inside scripts.
    pub(crate) const Commands: Self = Self("commands");
    /// Waiters that were overtaken.
    pub(crate) const Inversions: Self = Self("inversions");
    pub(crate) const Bytes: Self = Self("bytes");
    /// The longest script.
    pub(crate) const Longest: Self = Self("longest_ms");
    /// From the beginning of an operation to its end.
    pub(crate) const Took: Self = Self("took_ms");
    /// The longest cycle of a client that has nothing to do with what is measured.
    pub(crate) const Bystander: Self = Self("bystander_ms");
    /// Holds that ended under their guards.
    pub(crate) const Lost: Self = Self("lost");
    /// The client's processor time for a call.
    pub(crate) const PerCall: Self = Self("cpu_us");
    /// By how much the client's memory grows.
    pub(crate) const Growth: Self = Self("growth_kib");
    /// Attempts that the client still has to undo.
    pub(crate) const Table: Self = Self("table");
    /// Until the client is idle after the last call.
    pub(crate) const Idle: Self = Self("idle_ms");
    /// From the server's return to the first call that is served.
    pub(crate) const Recovery: Self = Self("recovery_ms");
    /// Calls that failed, were answered wrong or did not end.
    pub(crate) const Wrong: Self = Self("wrong");
}

/// One line of the results.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    /// Who was measured, and with what if that is more than one thing, as in `latchwork/held`.
    pub(crate) implementation: String,
    pub(crate) metric: Metric,
    /// The number of tasks, waiters, readers or guards; 1 where there is nothing to count.
    pub(crate) n: usize,
    pub(crate) value: f64,
    /// The value of what this row is compared with, from the same run.
    pub(crate) floor: Option<f64>,
    /// The bar: a maximum (for rates a minimum) of the ratio to the floor if there is one, else of
    /// the value.
    pub(crate) limit: Option<f64>,
    /// Whether this is a peer's row. Its limit is our result, and the row is `ok` if it is not
    /// better.
    peer: bool,
}

impl Row {
    /// A result with nothing to compare it with.
    pub(crate) fn new(work: &'static str, by: impl Into<String>, metric: Metric, value: f64) -> Self {
        Self {
            work,
            implementation: by.into(),
            metric,
            n: 1,
            value,
            floor: None,
            limit: None,
            peer: false,
        }
    }

    pub(crate) fn n(self, n: usize) -> Self {
        Self { n, ..self }
    }

    pub(crate) fn floor(self, floor: Option<f64>) -> Self {
        Self { floor, ..self }
    }

    pub(crate) fn limit(self, limit: f64) -> Self {
        self.limit_if(true, limit)
    }

    pub(crate) fn limit_if(self, applies: bool, limit: f64) -> Self {
        let limit = if applies { Some(limit) } else { self.limit };
        Self { limit, ..self }
    }

    /// A result that stands beside the one with the bar, and has none.
    pub(crate) fn beside(mut self, what: &str) -> Self {
        self.implementation = format!("{}/{what}", self.implementation);
        self.limit = None;
        self
    }

    /// The name of the library, and what of it was measured.
    fn parts(&self) -> (&str, &str) {
        let name = self.implementation.as_str();
        name.split_once('/').unwrap_or((name, ""))
    }

    /// Whether it is Latchwork's row, or that of what takes its place.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.parts().0, "latchwork" | "floor" | "handicapped")
    }

    /// What was measured, without the library.
    pub(crate) fn subject(&self) -> (&'static str, &str, usize, Metric) {
        (self.work, self.parts().1, self.n, self.metric)
    }

    /// Makes this peer's row `ok` if `ours` is at least as good.
    pub(crate) fn compare_with(&mut self, ours: &Self) {
        if self.metric == Metric::Messages {
            return; // a library that polls sends none
        }
        self.peer = true;
        if self.floor != ours.floor {
            self.floor = None; // each has its own floor: compare the values
        }
        self.limit = Some(rounded(self.floor.map_or(ours.value, |_| ours.compared())));
    }

    /// The number that the limit is for.
    fn compared(&self) -> f64 {
        self.ratio().unwrap_or(self.value)
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }

    /// Whether the limit is a minimum.
    fn is_minimum(&self) -> bool {
        (self.metric == Metric::PerSecond) != self.peer
    }

    /// Whether the bar is met, with the digits that are printed. NaN meets no bar; without a bar
    /// every value is `ok`.
    pub(crate) fn is_ok(&self) -> bool {
        let sign = if self.is_minimum() { -1.0 } else { 1.0 };
        let value = rounded(self.compared());
        self.limit.is_none_or(|limit| sign * value <= sign * limit)
    }

    /// The share of the limit that is used; 1 is all of it.
    pub(crate) fn used(&self) -> Option<f64> {
        Some(match (self.limit?, self.is_minimum()) {
            (limit, true) => limit / self.compared(),
            (0.0, false) => self.compared(),
            (limit, false) => self.compared() / limit,
        })
    }

    /// A line of JSON, which has neither infinity nor NaN.
    pub(crate) fn json(&self) -> String {
        let number = |value: Option<f64>| {
            let value = value.filter(|value| value.is_finite());
            value.map_or_else(|| "null".to_owned(), |value| rounded(value).to_string())
        };
        let (work, by, metric, n) = (self.work, &self.implementation, self.metric.0, self.n);
        let numbers = [Some(self.value), self.floor, self.ratio(), self.limit];
        let ([value, floor, ratio, limit], ok) = (numbers.map(number), self.is_ok());
        format!(
            r#"{{"work":"{work}","impl":"{by}","metric":"{metric}","n":{n},"value":{value},"floor":{floor},"ratio":{ratio},"limit":{limit},"ok":{ok}}}"#
        )
    }

    fn cells(&self) -> [String; 9] {
        let verdict = match (self.limit, self.is_ok(), self.peer) {
            (None, ..) => "",
            (_, true, true) => "ours is better",
            (_, false, true) => "BETTER",
            (_, true, false) => "ok",
            (_, false, false) => "MISSED",
        };
        let sign = if self.is_minimum() { ">=" } else { "<=" };
        let bar = self.limit.map(|limit| format!("{sign} {}", short(limit)));
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}"));
        [
            self.work.to_owned(),
            self.implementation.clone(),
            self.n.to_string(),
            self.metric.0.to_owned(),
            short(self.value),
            self.floor.map(short).unwrap_or_default(),
            ratio.unwrap_or_default(),
            bar.unwrap_or_default(),
            verdict.to_owned(),
        ]
    }
}

/// The table, in Markdown that can be read in a terminal, too.
pub(crate) fn table(rows: &[Row]) -> String {
    let widths = [14, 24, 5, 10, 7, 7, 7, 9, 6];
    let line = |cells: [String; 9]| {
        let cells = cells.into_iter().zip(widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let head = [
        "work", "impl", "n", "metric", "value", "floor", "ratio", "bar", "",
    ];
    let lines: String = rows.iter().map(|row| line(row.cells())).collect();
    format!("{}|{}\n{lines}", line(head.map(str::to_owned)), "---|".repeat(9))
}

/// More than three decimals are never significant here.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A number with about four digits.
pub(crate) fn short(value: f64) -> String {
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
        let row = Row::new("uncontended", "latchwork", Metric::P50, 55.0);
        row.floor(Some(50.0)).limit(1.1)
    }

    #[test]
    fn a_line_of_json_has_every_field() {
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
    fn a_bar_is_for_the_ratio_or_for_the_value() {
        assert!(row().is_ok(), "exactly the limit");
        assert!(!row().limit(1.09).is_ok(), "too slow");
        let rate = Row::new("throughput-64", "latchwork", Metric::PerSecond, 70.0).floor(Some(100.0));
        assert!(rate.clone().limit(0.7).is_ok(), "exactly the limit");
        assert!(!rate.limit(0.75).is_ok(), "too slow");
        let requests = Row::new("uncontended", "latchwork", Metric::Requests, 2.001);
        assert!(requests.is_ok(), "no bar");
        assert!(!requests.limit(2.0).is_ok(), "one in a thousand too many");
        let nothing = Row::new("uncontended", "latchwork", Metric::P50, f64::NAN).limit(1.0);
        assert!(!nothing.is_ok(), "nothing was measured");
    }

    #[test]
    fn a_result_beside_another_has_no_bar() {
        let beside = row().limit(1.0).beside("window");
        assert_eq!(beside.implementation, "latchwork/window");
        assert!(beside.is_ours() && beside.is_ok(), "{beside:?}");
        assert_eq!(beside.limit, None);
    }

    #[test]
    fn tables_show_the_verdict() {
        let text = table(&[row(), row().limit(1.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].ends_with("| <= 1.10   | ok     |"), "{text}");
        assert!(lines[3].ends_with("| <= 1      | MISSED |"), "{text}");
    }
}
