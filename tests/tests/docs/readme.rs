//! `tests/README.md` lists every test file with its first line, which is one plain sentence.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use crate::{files, read, workspace};

const README: &str = "tests/README.md";
const BEGIN: &str = "<!-- every test file: begin -->\n";
const END: &str = "<!-- every test file: end -->\n";

/// The longest that a first line may be.
const LONGEST: usize = 100;

/// A target whose first lines may be longer, or go on in the next line.
const LONGER: &str = "scripts";

/// The first sentence of a file's documentation.
fn sentence(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text = lines.collect::<String>();
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text[..end].trim().to_owned()
}

/// The target that a file belongs to, and whether it is its root.
fn target(file: &Path) -> (String, bool) {
    let inside = file.strip_prefix("tests/tests").expect("a test file");
    let mut parts = inside.iter().map(|part| part.to_string_lossy());
    let first = parts.next().expect("a name");
    match (first.strip_suffix(".rs"), parts.next()) {
        (Some(name), _) => (name.to_owned(), true),
        (None, rest) => (first.to_string(), rest.is_some_and(|rest| rest == "main.rs")),
    }
}

/// The table: a target's root first, then its files.
fn table() -> String {
    let mut rows: Vec<_> = files("tests/tests", &["rs"])
        .into_iter()
        .map(|file| {
            let (target, is_root) = target(&file);
            (target, !is_root, file)
        })
        .collect();
    rows.sort();
    let mut table = "| target and its files | what it proves |\n|---|---|\n".to_owned();
    for (target, is_part, file) in rows {
        let shown = match file.file_name() {
            Some(name) if is_part => format!("`{}`", name.display()),
            _ => format!("**`{target}`**"),
        };
        let link = file
            .strip_prefix("tests")
            .expect("below the README's folder")
            .display();
        let sentence = sentence(&read(&file)).replace('|', "\\|");
        writeln!(table, "| [{shown}]({link}) | {sentence} |").expect("a string takes everything");
    }
    table
}

#[test]
fn every_test_file_is_listed() {
    let text = read(README);
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (listed, after) = rest.split_once(END).expect("where the table ends");
    let table = table();
    if env::var_os("LATCHWORK_BLESS").is_some() {
        let renewed = format!("{before}{BEGIN}{table}{END}{after}");
        fs::write(workspace().join(README), renewed).expect("it can be written");
        return;
    }
    let stale = table.lines().find(|line| !listed.contains(line));
    let gone = listed.lines().find(|line| !table.contains(line));
    assert!(
        listed == table,
        "the table in {README} is stale, by {:?}; to renew it:\n\
         LATCHWORK_BLESS=1 cargo test -p latchwork-tests --test docs every_test_file_is_listed",
        stale.or(gone)
    );
}

#[test]
fn every_test_file_begins_with_one_plain_sentence() {
    for file in files("tests/tests", &["rs"]) {
        if target(&file).0 == LONGER {
            continue;
        }
        let source = read(&file);
        let first = source.lines().next().unwrap_or_default();
        let is_sentence = first.starts_with("//! ") && first.ends_with('.') && !first.contains(". ");
        assert!(
            is_sentence && first.chars().count() <= LONGEST,
            "{}: the first line says in one sentence of at most {LONGEST} characters what the file proves, not: {first}",
            file.display()
        );
    }
}
