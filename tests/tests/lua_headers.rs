//! Every script's header is its contract: it has to name exactly the KEYS and ARGV that the script uses. The tables of
//! `docs/design.md` say what a record is made of, as the code does.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use latchwork_core::kit::record::{Kind, ROWS, Row};

const LUA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/core/src/lua");

/// A list of indices: those by number, and whether there is one for "the rest" (`KEYS[...]`, or the table itself).
#[derive(Debug, Default, PartialEq, Eq)]
struct Indices {
    numbers: BTreeSet<usize>,
    rest: bool,
}

#[test]
fn lua_headers() {
    let mut scripts = 0;
    for entry in fs::read_dir(LUA).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "engine" || name.ends_with("_slow") || name.ends_with("_last") {
            continue; // parts that are joined below a header
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (header, body) = lines.split_at(lines.iter().take_while(|line| line.starts_with("--")).count());
        let mut body = body.join("\n") + "\n";
        if let Some(verb) = name.strip_suffix("_fast") {
            body += &fs::read_to_string(Path::new(LUA).join("engine.lua")).unwrap();
            body += &fs::read_to_string(Path::new(LUA).join(format!("{verb}_slow.lua"))).unwrap();
            body = body.replace("ARGV.time", ""); // what many_last.lua gives to the fast paths
        } else if name == "many_first" {
            body = fs::read_to_string(Path::new(LUA).join("many_last.lua")).unwrap();
        }
        let verb = name.trim_end_matches("_fast").trim_end_matches("_first");
        assert!(
            header[0].starts_with(&format!("-- {verb}: ")),
            "{name} says what it does first"
        );
        check(&name, &header.join("\n"), &body);
        scripts += 1;
    }
    assert_eq!(
        scripts, 21,
        "acquire, end, tick, force, inspect, adopt, resize, downgrade, split, merge, latch, peek, fence, many, 3 of gcra, 3 of window, limiter_reset"
    );
}

fn check(name: &str, header: &str, body: &str) {
    for table in ["KEYS", "ARGV"] {
        let said = documented(header, table);
        assert_eq!(
            said,
            used(body, table),
            "{name}: {table} in the header and in the code"
        );
        let contiguous: BTreeSet<usize> = (1..=said.numbers.len()).collect();
        assert_eq!(said.numbers, contiguous, "{name}: {table} has gaps");
        assert!(said.rest || !said.numbers.is_empty(), "{name}: no {table}");
    }
    let returns = header
        .lines()
        .skip_while(|line| !line.starts_with("-- Returns  {"));
    let codes = returns.clone().filter(|line| {
        line.trim_start_matches("-- Returns")
            .trim_start_matches("--")
            .trim()
            .starts_with('{')
    });
    assert!(codes.count() > 0, "{name}: no `-- Returns  {{code, ..}}`");
    for line in header.lines() {
        assert!(line == "--" || line.starts_with("-- "), "{name}: {line:?}");
    }
}

/// The indices that stand at the beginning of a header's line.
fn documented(header: &str, table: &str) -> Indices {
    let mut indices = Indices::default();
    for line in header.lines() {
        let Some(index) = line
            .strip_prefix(&format!("-- {table}["))
            .and_then(|rest| rest.split_once(']'))
        else {
            continue;
        };
        assert!(index.1.starts_with("  "), "{line:?}: a name follows");
        match index.0 {
            "..." => indices.rest = true,
            number => assert!(
                indices.numbers.insert(number.parse().unwrap()),
                "{line:?} is there twice"
            ),
        }
    }
    indices
}

/// The indices in the code; a table that is used whole counts as "the rest".
fn used(body: &str, table: &str) -> Indices {
    let mut indices = Indices::default();
    for line in body.lines() {
        let code = line.split("--").next().unwrap();
        for (at, _) in code.match_indices(table) {
            let after = &code[at + table.len()..];
            match after.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((number, _)) => drop(indices.numbers.insert(number.parse().unwrap())),
                None => indices.rest = true,
            }
        }
    }
    indices
}

/// A row as the page has it.
fn line(row: &Row) -> String {
    let member = match (row.wire, row.of) {
        ("", of) => of.to_owned(),
        (wire, "") => format!("`{wire}`"),
        (wire, of) => format!("`{wire}` + {of}"),
    };
    let name = Some(row.name).filter(|name| !name.is_empty());
    let name = name.map_or(String::new(), |name| format!("`{name}`"));
    format!("| {} | {member} | {name} | {} |\n", row.band.text(), row.meaning)
}

#[test]
fn the_design_page_has_the_tables_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design.md");
    let page = fs::read_to_string(path).unwrap();
    for kind in [Kind::Lock, Kind::Latch] {
        let rows = ROWS.iter().filter(|row| row.kind == kind).map(line);
        let head = "| score | member | in the scripts | meaning |\n|---|---|---|---|\n";
        let table = head.to_owned() + &rows.collect::<String>();
        assert!(
            page.contains(&table),
            "docs/design.md has to have this table:\n{table}"
        );
    }
}
