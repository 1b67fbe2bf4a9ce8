//! The engine's folders know only those to their left, and no files know each other but two pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From left to right; the folders of one step do not know each other.
const LAYERS: [&[&str]; 9] = [
    &["base"],
    &["types"],
    &["wire"],
    &["attempt", "connection"],
    &["runtime"],
    &["tasks"],
    &["ops"],
    &["rate"],
    &["kit"],
];
/// Files that may know each other.
const PAIRS: [[&str; 2]; 2] = [
    ["types::error", "types::name"],
    ["tasks::builder", "tasks::client"],
];
const CORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/core/src");

/// The modules below `folder`, with their text: no comments, no unit tests.
fn modules(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let inner = match name {
            "mod" | "lib" => module.to_owned(),
            _ if module.is_empty() => name.to_owned(),
            _ => format!("{module}::{name}"),
        };
        if path.is_dir() {
            modules(&path, &inner, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests" {
            let text = fs::read_to_string(&path).expect("a file");
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or("");
            let lines = code.lines().map(|line| line.split("//").next().unwrap_or(""));
            found.insert(inner, lines.collect::<Vec<_>>().join(" "));
        }
    }
}

/// The paths in `text` that begin with `crate`, `super` or `self`, as segments; a group gives one path for each member.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut words = String::new();
    let mut group = false;
    for c in text.replace("::{", "\u{2}").replace("::", "\u{1}").chars() {
        assert!(!group || c != '\u{2}', "groups in groups are not read: {text}");
        group = c == '\u{2}' || (group && c != '}');
        match c {
            _ if c.is_alphanumeric() || "_$\u{1}\u{2}".contains(c) => words.push(c),
            ',' if group => words.push(c),
            _ if group => {}
            _ => words.push(' '),
        }
    }
    let mut paths = Vec::new();
    for word in words.split(' ') {
        let (path, members) = word.split_once('\u{2}').unwrap_or((word, ""));
        let head: Vec<&str> = path.split('\u{1}').collect();
        if !matches!(head[0], "crate" | "super" | "self") || (head.len() == 1 && members.is_empty()) {
            continue;
        }
        for member in members.trim_end_matches(',').split(',') {
            let tail = member.split('\u{1}').filter(|part| !part.is_empty());
            paths.push(head.iter().copied().chain(tail).map(str::to_owned).collect());
        }
    }
    paths
}

/// The module that a path in `from` leads to.
fn target(from: &str, path: &[String], modules: &BTreeMap<String, String>) -> Option<String> {
    let mut at: Vec<&str> = match path.first().map(String::as_str) {
        Some("crate") => Vec::new(),
        _ => from.split("::").collect(),
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            part => at.push(part),
        }
    }
    (1..=at.len())
        .rev()
        .map(|length| at[..length].join("::"))
        .find(|module| modules.contains_key(module))
}

/// What each module knows.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    modules(Path::new(CORE), "", &mut found);
    found.remove(""); // the root names everything
    let known = |(from, text): (&String, &String)| {
        let targets = paths(text)
            .into_iter()
            .filter_map(|path| target(from, &path, &found));
        (from.clone(), targets.filter(|to| to != from).collect())
    };
    found.iter().map(known).collect()
}

fn step(module: &str) -> usize {
    let layer = module.split("::").next().unwrap_or(module);
    LAYERS
        .iter()
        .position(|step| step.contains(&layer))
        .unwrap_or_else(|| panic!("{module} is in no layer"))
}

#[test]
fn folders_know_only_those_to_their_left() {
    let imports = imports();
    assert!(imports.len() > 50, "all files are read: {}", imports.len());
    let mut wrong = Vec::new();
    for (from, to) in imports
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
    {
        let same = from.split("::").next() == to.split("::").next();
        if !same && step(to) >= step(from) {
            wrong.push(format!("{from} knows {to}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The test reads what it should: without the order, this would be wrong.
    assert!(
        imports["ops::acquire"].contains("attempt::event") && imports["runtime::shared"].contains("wire::id"),
        "imports are found"
    );
}

#[test]
fn no_files_know_each_other() {
    let imports = imports();
    let reaches = |from: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            for to in imports.get(module).into_iter().flatten() {
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let circles: Vec<&String> = imports
        .keys()
        .filter(|module| reaches(module).contains(module.as_str()))
        .collect();
    let allowed: Vec<&str> = PAIRS.into_iter().flatten().collect();
    let wrong: Vec<_> = circles
        .iter()
        .filter(|module| !allowed.contains(&module.as_str()))
        .collect();
    assert!(wrong.is_empty(), "in a circle: {wrong:?}");
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use crate::a::{b::C, d}; fn f(x: super::e::F) { self::g::h(crate::i::J::new()) }";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::a::b::C",
        "crate::a::d",
        "super::e::F",
        "self::g::h",
        "crate::i::J::new",
    ];
    assert_eq!(found, expected, "{text}");
}
