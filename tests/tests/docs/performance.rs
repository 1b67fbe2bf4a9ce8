//! Figures of the page on performance are in its tables, or in the code of the benches.

use std::collections::BTreeSet;

use crate::read;

const PAGE: &str = "docs/performance.md";

/// A row of the tables that the benches write: its cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let (mut inside, mut rows) = (false, Vec::new());
    for line in page.lines() {
        inside = (inside || line.ends_with(": begin -->")) && !line.ends_with(": end -->");
        let cells: Vec<String> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        if inside && cells.len() == 9 && cells[2].parse::<u32>().is_ok() {
            rows.push(cells);
        }
    }
    rows
}

/// The text of the sections under these headings, without tables and code.
fn prose(page: &str, headings: &[&str]) -> String {
    let mut text = String::new();
    for heading in headings {
        let (_, rest) = page
            .split_once(&format!("\n## {heading}\n"))
            .expect("the section");
        let section = rest.split("\n## ").next().expect("its text");
        text += section.split("<!-- peers: begin").next().expect("its beginning");
    }
    text
}

/// The numbers with a point in a text, each once.
fn decimals(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let words = text
        .split(|c: char| !is_part(c))
        .map(|word| word.trim_matches('.'));
    let found = words.filter(|word| word.split('.').count() == 2);
    found.map(str::to_owned).collect()
}

#[test]
fn figures_in_the_text_are_in_the_tables() {
    let page = read(PAGE);
    let rows = rows(&page);
    assert!(
        rows.len() > 100,
        "only {} rows: does the search still work?",
        rows.len()
    );
    let cells: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| &row[4..7])
        .map(String::as_str)
        .collect();
    let text = prose(
        &page,
        &[
            "Bars that are missed, or met with nothing to spare",
            "Many at once",
            "Where another design is better",
        ],
    );
    let figures = decimals(&text);
    assert!(
        figures.len() > 10,
        "only {figures:?}: does the search still work?"
    );
    for figure in figures {
        assert!(cells.contains(&*figure), "{figure} is in no table of the page");
    }
}

#[test]
fn the_example_of_a_line_of_json_is_a_row_of_the_table() {
    let page = read(PAGE);
    let line = page
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("the example");
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("a field");
        rest.trim_end_matches('}')
            .split(',')
            .next()
            .expect("a value")
            .trim_matches('"')
            .to_owned()
    };
    let shown = ["work", "impl", "n", "metric", "value", "floor", "ratio"].map(field);
    let is_shown = |row: &Vec<String>| row[..7] == shown && row[8] == "ok";
    assert!(rows(&page).iter().any(is_shown), "{shown:?}");
}

/// A number without zeros behind its point: the tables have two digits there.
fn shortest(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// A bar is listed in the row of its work, above the results.
#[test]
fn the_bars_of_the_results_are_those_that_are_listed() {
    let page = read(PAGE);
    let (above, _) = page.split_once("<!-- results: begin").expect("results");
    let mut seen = 0;
    for row in rows(&page) {
        let (work, metric) = (&*row[0], &*row[3]);
        let Some((_, bar)) = row[7]
            .split_once("= ")
            .filter(|_| row[1].starts_with("latchwork"))
        else {
            continue;
        };
        // That is given as a share of a core.
        if (work, metric) == ("renewal", "p50_us") {
            continue;
        }
        // These have the bars of others, or share a row.
        let listed_as = match (work, metric) {
            ("limiter", "requests") => work,
            ("semaphore" | "latch" | "limiter", _) => "uncontended",
            (work, _) if work.starts_with("throughput") => "throughput-1",
            _ => work,
        };
        let is_of = |line: &&str| line.starts_with(&format!("| `{listed_as}`"));
        let line = above
            .lines()
            .find(is_of)
            .unwrap_or_else(|| panic!("no row for {work}"));
        let bars = line.trim_end_matches(" |").rsplit(" | ").next().expect("a cell");
        let bars = bars.replace("1 024", "1024");
        let mut numbers = bars.split(|c: char| !(c.is_ascii_digit() || c == '.'));
        let is_listed = numbers.any(|number| shortest(number.trim_matches('.')) == shortest(bar));
        assert!(is_listed, "{work}, {metric}: {bar} is not among the bars: {bars}");
        seen += 1;
    }
    assert!(seen > 30, "only {seen} bars: does the search still work?");
}
