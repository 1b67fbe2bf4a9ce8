//! Every hazard, rule and file that code, tests or documents cite exists.

use std::collections::BTreeSet;
use std::path::PathBuf;

use latchwork_tests::mutants;

use crate::safety::entry;
use crate::{files, read, workspace};

/// What is searched: code, Lua, tests and documents.
fn sources() -> Vec<PathBuf> {
    let folders = ["crates", "tests", "docs", "examples", "benches"];
    let mut sources: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| files(folder, &["rs", "lua", "md", "toml"]))
        .collect();
    sources.extend(["README.md", "CHANGELOG.md", ".ci/run"].map(PathBuf::from));
    assert!(sources.len() > 200, "only {} files", sources.len());
    sources
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
}

/// The number in a reference such as `H26`, or in a part of a name such as `h26_a_reply_is_lost`.
fn numbered(word: &str, letter: char) -> impl Iterator<Item = u32> {
    let alone = word.strip_prefix(letter.to_ascii_uppercase());
    let mut parts: Vec<_> = word.split('_').collect();
    // What comes last is a name's own: `entry_t1`.
    parts.pop();
    let inside = parts
        .into_iter()
        .filter_map(move |part| part.strip_prefix(letter));
    let is_number = |digits: &&str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let found: Vec<&str> = alone.into_iter().chain(inside).filter(is_number).collect();
    found.into_iter().filter_map(|digits| digits.parse().ok())
}

/// The numbers after "rule" or "rules", as in "rules 5 and 7".
fn rules(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for start in ["rule ", "rules ", "Rule ", "Rules "] {
        for (at, _) in text.match_indices(start) {
            let mut rest = &text[at + start.len()..];
            loop {
                let digits = rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
                let (number, after) = rest.split_at(digits);
                let Ok(number) = number.parse() else { break };
                if after.starts_with(|char: char| char.is_alphanumeric()) {
                    break;
                }
                found.insert(number);
                rest = after;
                let joins = [", ", " and ", " or ", " to "];
                let Some(next) = joins.iter().find_map(|join| rest.strip_prefix(join)) else {
                    break;
                };
                rest = next;
            }
        }
    }
    found
}

#[test]
fn references_are_found_in_text() {
    let hazards = |text: &str| {
        words(text)
            .flat_map(|word| numbered(word, 'h'))
            .collect::<Vec<_>>()
    };
    assert_eq!(hazards("see `H7` (H15 to H18), HTTP1, H2x"), [7, 15, 18]);
    assert_eq!(
        hazards("fn h9_writers_and_h10_readers() { hash_h1(h2) }"),
        [9, 10]
    );
    let found = rules("Rule 6: (rules 5, 7 and 11), rule: 3, rules of 4, the rule 2nd to none");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [5, 6, 7, 11]);
}

#[test]
fn every_hazard_that_is_cited_has_an_entry() {
    let safety = read("docs/safety.md");
    let known: BTreeSet<u32> = safety.lines().filter_map(entry).collect();
    let mut seen = 0;
    for source in sources() {
        let text = read(&source);
        for number in words(&text).flat_map(|word| numbered(word, 'h')) {
            seen += 1;
            assert!(
                known.contains(&number),
                "{} cites H{number}: docs/safety.md has no such hazard",
                source.display()
            );
        }
    }
    assert!(seen > 500, "only {seen}: does the search still work?");
}

/// The numbers of the list under the heading "Rules" of the design page.
fn rules_of_the_design() -> BTreeSet<u32> {
    let design = read("docs/design.md");
    let (_, rest) = design.split_once("\n## Rules").expect("the rules");
    let section = rest.split("\n## ").next().expect("a section");
    let number = |line: &str| line.split_once(". ")?.0.parse().ok();
    section.lines().filter_map(number).collect()
}

#[test]
fn every_rule_that_is_cited_exists() {
    let known = rules_of_the_design();
    assert!(known.len() > 10, "only {known:?}: does the search still work?");
    let mut seen = 0;
    for source in sources() {
        for number in rules(&read(&source)) {
            seen += 1;
            assert!(
                known.contains(&number),
                "{} cites rule {number}: docs/design.md has no such rule",
                source.display()
            );
        }
    }
    assert!(seen > 10, "only {seen}: does the search still work?");
}

/// Numbers with a T once stood for something that is not in this repository.
#[test]
fn no_number_stands_for_something_that_is_nowhere() {
    for source in sources() {
        let text = read(&source);
        let found: Vec<u32> = words(&text).flat_map(|word| numbered(word, 't')).collect();
        assert!(
            found.is_empty(),
            "{} cites T{found:?}: say which hazard is meant, or what",
            source.display()
        );
    }
}

/// The documents that name files and link to them.
const DOCUMENTS: [&str; 10] = [
    "README.md",
    "CHANGELOG.md",
    "docs/compare.md",
    "docs/design.md",
    "docs/performance.md",
    "docs/promises.md",
    "docs/proof.md",
    "docs/safety.md",
    "examples/README.md",
    "tests/README.md",
];

#[test]
fn every_file_that_the_documents_name_exists() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = read(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.split("::").next().unwrap_or(quoted);
            let ours = ["crates/", "tests/", "examples/", "docs/"]
                .iter()
                .any(|folder| path.starts_with(folder));
            if ours && !path.contains([' ', '*', '<', '\n']) {
                seen += 1;
                assert!(workspace().join(path).exists(), "{document} names {path}");
            }
        }
    }
    assert!(seen > 20, "only {seen} paths: does the search still work?");
}

#[test]
fn every_file_that_the_documents_link_to_exists() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let folder = workspace().join(document);
        let folder = folder.parent().expect("a folder");
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                seen += 1;
                assert!(folder.join(target).exists(), "{document} links to {target}");
            }
        }
    }
    assert!(seen > 20, "only {seen} links: does the search still work?");
}

/// The design page leads from `lock()` to the guard in at most twelve files; each has the functions
/// that are named with it.
#[test]
fn the_path_of_a_waiter_leads_through_files_and_functions_that_exist() {
    let design = read("docs/design.md");
    let (_, rest) = design.split_once("\n## The path of a waiter").expect("the path");
    let section = rest.split("\n## ").next().expect("a section");
    let mut steps = 0;
    for line in section.lines().filter(|line| {
        line.split_once(". ")
            .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    }) {
        steps += 1;
        let step = line.split(": ").next().unwrap_or(line);
        let mut quoted = step.split('`').skip(1).step_by(2);
        let path = quoted.next().expect("a file");
        let file = match path.strip_prefix("crates/") {
            Some(_) => path.to_owned(),
            None => format!("crates/core/src/{path}"),
        };
        let source = read(&file);
        for function in quoted {
            let name = function.rsplit("::").next().unwrap_or(function);
            assert!(
                source.contains(&format!("fn {name}(")) || source.contains(&format!("fn {name}<")),
                "step {steps} of the path of a waiter: {file} has no function {name}"
            );
        }
    }
    assert!((5..=12).contains(&steps), "{steps} files");
}

#[test]
fn every_mutant_that_nobody_can_notice_can_be_made() {
    let made: BTreeSet<_> = mutants::all()
        .iter()
        .filter_map(|name| mutants::shown(name))
        .collect();
    let explained = mutants::explained();
    assert!(explained.len() > 100, "{explained:?}");
    if std::env::var_os("LATCHWORK_BLESS").is_some() {
        return mutants::forget(&made);
    }
    for line in explained.keys() {
        assert!(made.contains(line), "the script has changed since: {line}");
    }
}
