//! Features, crates and versions that the documents state are those of the manifests.

use std::collections::{BTreeMap, BTreeSet};

use crate::read;

const FACADE: &str = "crates/latchwork/Cargo.toml";

/// The features of the facade, and whether each is a default.
fn features() -> BTreeMap<String, bool> {
    let text = read(FACADE);
    let (_, rest) = text.split_once("[features]\n").expect("the features");
    let (section, _) = rest.split_once("\n[").expect("the next section");
    let (first, rest) = section.split_once('\n').expect("more than the defaults");
    assert!(
        first.starts_with("default = ["),
        "first come the defaults: {first}"
    );
    let defaults: BTreeSet<&str> = first.split('"').skip(1).step_by(2).collect();
    let named = rest.lines().filter_map(|line| line.split_once(" = ["));
    named
        .filter(|(name, _)| !name.starts_with([' ', '#']))
        .map(|(name, _)| (name.to_owned(), defaults.contains(name)))
        .collect()
}

/// The words between backticks in the first column of a table's rows, with the column `default` of
/// the row.
fn table(text: &str, head: &str, default: usize) -> BTreeMap<String, bool> {
    let (_, rest) = text
        .split_once(head)
        .unwrap_or_else(|| panic!("no table: {head}"));
    let lines = rest.lines().skip(1).map(|line| line.trim_start_matches("//! "));
    let rows = lines.skip_while(|line| line.starts_with("|---"));
    let mut found = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let is_default = columns.get(default).is_some_and(|&word| word == "yes");
        for name in columns[1].split('`').skip(1).step_by(2) {
            found.insert(name.to_owned(), is_default);
        }
    }
    found
}

#[test]
fn the_documents_list_the_features_and_their_defaults() {
    let features = features();
    assert!(features.len() > 8, "{features:?}");
    let readme = table(&read("README.md"), "| feature | adds | default |", 3);
    assert_eq!(readme, features, "left: README.md; right: {FACADE}");
    let facade = read("crates/latchwork/src/lib.rs");
    let facade = table(&facade, "| feature | default | adds |", 2);
    assert_eq!(
        facade, features,
        "left: the crate's documentation; right: {FACADE}"
    );
}

#[test]
fn the_readme_lists_the_crates() {
    let listed: BTreeSet<String> = table(&read("README.md"), "| crate | contents |", 0)
        .into_keys()
        .collect();
    let listed: BTreeSet<&str> = listed
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with("latch"))
        .collect();
    let mut crates = BTreeSet::from(["latchwork", "latchwork-core"]);
    let manifest = read(FACADE);
    let optional = manifest.lines().filter(|line| line.contains("optional = true"));
    crates.extend(optional.filter_map(|line| line.split(' ').next()));
    assert_eq!(listed, crates, "left: README.md; right: {FACADE}");
}

#[test]
fn the_documents_state_the_rust_version_of_the_manifest() {
    let manifest = read("Cargo.toml");
    let (_, rest) = manifest.split_once("rust-version = \"").expect("a version");
    let (version, _) = rest.split_once('"').expect("its end");
    for page in ["README.md", "crates/latchwork/src/lib.rs"] {
        assert!(
            read(page).contains(&format!("Rust {version}")),
            "{page}: Rust {version}"
        );
    }
}
