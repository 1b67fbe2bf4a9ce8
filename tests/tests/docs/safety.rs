//! `docs/safety.md` has an entry for every hazard, and the tests that pages name exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{read, workspace};

/// The number of a hazard's entry: its line starts with `- **H12: `.
pub(crate) fn entry(line: &str) -> Option<u32> {
    line.strip_prefix("- **H")?.split_once(':')?.0.parse().ok()
}

#[test]
fn every_hazard_has_one_entry() {
    let found: Vec<u32> = read("docs/safety.md").lines().filter_map(entry).collect();
    let all: Vec<u32> = (1..=75).collect();
    assert_eq!(found, all, "H1 to H75, once each, in their order");
}

#[test]
fn every_entry_names_a_test_or_says_why_there_is_none() {
    for line in read("docs/safety.md")
        .lines()
        .filter(|line| entry(line).is_some())
    {
        let said = [".rs::", "*Not here*", "*Not tested*", "*Nothing to test*"];
        assert!(said.iter().any(|words| line.contains(words)), "{line}");
    }
}

/// Everything between backticks that is `<file>.rs::<function>`.
fn cited(text: &str) -> BTreeSet<(&str, &str)> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| Path::new(file).extension().is_some_and(|ending| ending == "rs"))
        .collect()
}

/// The cases of the conformance suite, each of which is a test of every primitive: file and
/// function.
fn is_case(file: &str, function: &str) -> bool {
    let path = Path::new(file);
    let suite = Path::new("tests/tests/conformance/groups.rs");
    if path.parent() != suite.parent() {
        return false;
    }
    // Listed under its group, which has the name of the file.
    let text = read(suite);
    let group = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let (_, rest) = text
        .split_once(&format!("group! {{ {group}:"))
        .expect("its group");
    let (cases, _) = rest.split_once('}').expect("the end of its group");
    let defined = format!("pub(crate) async fn {function}(");
    let source = read(path);
    source.contains(&defined) && cases.split(',').any(|case| case.trim() == function)
}

#[test]
fn every_test_that_is_named_exists() {
    let pages = [
        "docs/safety.md",
        "docs/promises.md",
        "docs/proof.md",
        "docs/operations.md",
        "tests/README.md",
    ];
    let text = pages.map(read).concat();
    let cited = cited(&text);
    assert!(cited.len() > 50, "only {} tests are named", cited.len());
    for (file, function) in cited {
        if is_case(file, function) {
            continue;
        }
        assert!(workspace().join(file).is_file(), "there is no {file}");
        let source = read(file);
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        let defined = [format!("fn {function}("), format!("async fn {function}(")];
        let at = lines
            .iter()
            .position(|line| defined.iter().any(|start| line.starts_with(start)));
        let Some(at) = at else {
            panic!("there is no {file}::{function}");
        };
        // Within the attributes above it.
        let above = lines[..at]
            .iter()
            .rev()
            .take_while(|line| !line.is_empty() && **line != "}");
        assert!(
            above
                .clone()
                .any(|line| line.starts_with("#[") && line.contains("test")),
            "{file}::{function} is no test"
        );
        assert!(
            !above.clone().any(|line| line.starts_with("#[ignore")),
            "{file}::{function} is ignored"
        );
    }
}

/// A row of the table in `docs/proof.md`, of a fault that was made and the test that failed.
fn fault_of(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.strip_prefix("| H")?.split_once(" | ")?;
    Some((number.parse().ok()?, rest))
}

#[test]
fn every_hazard_with_tests_has_a_fault_that_one_of_them_noticed() {
    let (safety, proof) = (read("docs/safety.md"), read("docs/proof.md"));
    let faults: Vec<_> = proof.lines().filter_map(fault_of).collect();
    for line in safety.lines() {
        let Some(number) = entry(line) else { continue };
        let (tests, mut faults) = (
            cited(line),
            faults.iter().filter(|(of, _)| *of == number).peekable(),
        );
        let named = tests.is_empty() || faults.peek().is_some();
        assert!(named, "docs/proof.md names no fault for H{number}");
        for (_, fault) in faults {
            let noticed = cited(fault);
            assert_eq!(noticed.len(), 1, "one test a row: {fault}");
            let known = tests.is_superset(&noticed);
            assert!(known, "docs/safety.md does not name it for H{number}: {fault}");
        }
    }
}

/// What a hazard's tests are named for has to be able to go wrong.
#[test]
fn every_test_of_a_hazard_was_seen_to_fail() {
    let (safety, proof) = (read("docs/safety.md"), read("docs/proof.md"));
    let (_, section) = proof
        .split_once("\n## Each hazard's tests notice its fault\n")
        .expect("the section");
    let (rows, rest): (Vec<&str>, Vec<&str>) = section.lines().partition(|line| line.starts_with("| "));
    let seen: BTreeSet<_> = rows.iter().flat_map(|row| cited(row)).collect();
    let without_a_fault: BTreeSet<_> = rest.iter().flat_map(|line| cited(line)).collect();
    assert_eq!(
        without_a_fault.len(),
        1,
        "an exception has its reason: {without_a_fault:?}"
    );
    for line in safety.lines().filter(|line| entry(line).is_some()) {
        for test in cited(line) {
            let known = seen.contains(&test) || without_a_fault.contains(&test);
            assert!(known, "docs/proof.md names no fault that {test:?} noticed");
        }
    }
}
