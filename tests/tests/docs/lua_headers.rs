//! Every script's header names what it uses, and the layout of a record is as documented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use latchwork_core::kit::record::{Kind, ROWS, Row};
use latchwork_core::kit::scripts;

const LUA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/core/src/lua");

/// A list of indices: those by number, and whether there is one for "the rest" (`KEYS[...]`, or the table itself).
#[derive(Debug, Default, PartialEq, Eq)]
struct Indices {
    numbers: BTreeSet<usize>,
    rest: bool,
}

#[test]
fn lua_headers() {
    let scripts = scripts();
    for script in &scripts {
        let contract = script.parts.iter().position(|(_, text)| has_contract(text));
        let contract = contract.unwrap_or_else(|| panic!("{} has no contract", script.verb));
        let (file, text) = &script.parts[contract];
        let lines: Vec<&str> = text.lines().collect();
        let (header, body) = lines.split_at(lines.iter().take_while(|line| line.starts_with("--")).count());
        let mut body = body.join("\n") + "\n";
        for (index, (part, text)) in script.parts.iter().enumerate() {
            if index == contract {
                continue;
            }
            // The fast path between the first and the last part of a script for many has a header of its own.
            if !(file.starts_with("many") && part.ends_with("_fast.lua")) {
                body += text;
            }
        }
        body = body.replace("ARGV.time", ""); // what many_last.lua gives to the fast paths
        if file.starts_with("many") {
            body = body.replace("(KEYS, ARGV)", "");
        }
        let name = file.trim_end_matches(".lua");
        let verb = name.trim_end_matches("_fast").trim_end_matches("_first");
        assert!(
            header[0].starts_with(&format!("-- {verb}: ")),
            "{name} says what it does first"
        );
        check(name, &header.join("\n"), &body);
    }
    assert_eq!(scripts.len(), 25, "all scripts");
}

/// Whether a part's header explains the arguments of a script. Shared parts may stand in front.
fn has_contract(text: &str) -> bool {
    text.contains("\n-- KEYS[")
}

/// What is shared by scripts, or by parts of one, says in its header which of the chunk's variables it reads and changes.
#[test]
fn parts_say_what_they_read_and_set() {
    let all = scripts();
    let mut parts = BTreeMap::new();
    for (file, text) in all
        .iter()
        .filter(|script| script.parts.len() > 2)
        .flat_map(|script| &script.parts)
    {
        let own = ["_fast.lua", "_slow.lua", "_first.lua", "_last.lua"];
        if !has_contract(text) && !own.iter().any(|end| file.ends_with(end)) {
            parts.insert(*file, text);
        }
    }
    assert!(parts.len() >= 6, "the engine's parts: {:?}", parts.keys());
    let said = |text: &str, what: &str| -> BTreeSet<String> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("-- {what}: ")));
        let names = line.into_iter().flat_map(|line| line.split(", "));
        names.map(str::to_owned).collect()
    };
    for (file, text) in parts {
        let beside = all
            .iter()
            .filter(|script| script.parts.iter().any(|(part, _)| *part == file));
        let beside = beside.flat_map(|script| &script.parts);
        let sets: BTreeSet<String> = beside.flat_map(|(_, text)| said(text, "sets")).collect();
        let verb = file.trim_end_matches(".lua");
        assert!(
            text.starts_with(&format!("-- {verb}: ")),
            "{file} says what it is first"
        );
        let (reads, changes) = (said(text, "reads"), said(text, "sets"));
        let alone = text.contains("It reads no variable of the script");
        assert!(alone == reads.is_empty(), "{file} says what it reads");
        let code = text.lines().map(|line| line.split("--").next().unwrap());
        let used: BTreeSet<&str> = code.clone().flat_map(words).collect();
        for name in reads.union(&changes) {
            assert!(used.contains(&**name), "{file}: `{name}` is in the header only");
        }
        // Locals and parameters of its functions may be called like variables of another part.
        let declares = |line: &&str| line.trim_start().starts_with("local ");
        let targets = |line| str::split(line, " = ").next().into_iter().flat_map(words);
        let own: BTreeSet<&str> = code.clone().filter(declares).flat_map(targets).collect();
        for name in &sets {
            let known = reads.contains(name) || changes.contains(name) || own.contains(&**name);
            assert!(
                known || !used.contains(&**name),
                "{file}: `{name}` is not in the header"
            );
        }
        for line in code {
            let Some((targets, _)) = line.split_once(" = ") else {
                continue;
            };
            let targets = targets.trim().trim_start_matches("local ");
            for name in targets.split(", ").filter(|name| reads.contains(*name)) {
                assert!(
                    line.contains("local "),
                    "{file} sets `{name}`, which it is said to read"
                );
            }
        }
        for name in &changes {
            let assigns = text.lines().any(|line| {
                let mut before = line.split(" = ").next().into_iter().flat_map(words);
                line.contains(" = ") && before.any(|word| word == name) || line.contains(&format!("{name}["))
            });
            assert!(assigns, "{file}: nothing sets `{name}`");
        }
    }
}

/// Names in code, those of a table's fields with the table's: `record.used`.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && !['_', '.'].contains(&letter))
}

#[test]
fn every_file_is_part_of_a_script() {
    let scripts = scripts();
    let used: BTreeSet<_> = scripts
        .iter()
        .flat_map(|script| &script.parts)
        .map(|(file, _)| *file)
        .collect();
    let there = fs::read_dir(LUA)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let unused: Vec<_> = there.filter(|file| !used.contains(&**file)).collect();
    assert!(unused.is_empty(), "{unused:?}");
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
