//! Every kind of error that a public function returns is named by its `# Errors` section.
//!
//! And each kind that a section names is returned, with a few exceptions.
//!
//! - `sections`: what the source says;
//! - `table`: the functions, each with a call;
//! - `stage`: the handles of a call, and the moment of the fault;
//! - `scenes`: the faults.

#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod scenes;
mod sections;
mod stage;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use scenes::{SCENES, play};
use sections::Sections;

/// What sections name and no scene shows, and why.
const UNPROVEN: [(&str, &str, &str); 9] = [
    ("ClientBuilder::connect", "Closed", ENDS),
    ("FairMutex::steal", "Lost", COPIES),
    ("Mutex::steal", "Lost", COPIES),
    ("MutexGuard::unlock", "Closed", ENDS),
    ("ReentrantMutexGuard::unlock", "Closed", ENDS),
    ("RwLockReadGuard::unlock", "Closed", ENDS),
    ("RwLockUpgradableReadGuard::unlock", "Closed", ENDS),
    ("RwLockWriteGuard::unlock", "Closed", ENDS),
    ("SemaphorePermit::release", "Closed", ENDS),
];

const ENDS: &str = "the client's runtime would have to end meanwhile, as in `tests/tests/runtimes/second.rs`";
const COPIES: &str = "the lock would have to be forced open between two copies of the request";

/// What acts on no primitive, or refuses the name.
fn is_nameless(function: &str) -> bool {
    let owners = ["Client", "ClientBuilder", "Name", "Owner", "Ticket"];
    let (owner, method) = function.split_once("::").expect("a type and a function");
    owners.contains(&owner) || matches!(method, "new" | "open")
}

#[test]
fn every_public_function_that_can_fail_is_in_the_table() {
    let sections = Sections::read();
    let table: BTreeSet<&str> = table::rows().iter().map(|row| row.function).collect();
    assert_eq!(
        sections.functions(),
        table,
        "left: in the source; right: in the table"
    );
    for function in table {
        let named = sections.named(function);
        assert!(!named.all.is_empty(), "{function} says nothing about errors");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sections_name_every_kind_that_is_returned_and_no_other() {
    let sections = Sections::read();
    let outcomes: Vec<_> = stream::iter(SCENES).map(play).buffer_unordered(4).collect().await;
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    for outcome in outcomes.into_iter().flatten() {
        let (function, scene, error) = (outcome.function, outcome.scene, outcome.seen);
        let kind = format!("{:?}", error.kind);
        if !sections.named(function).all.contains(&kind) {
            wrong.insert(format!(
                "{function} does not name {kind} ({scene:?}: {})",
                error.text
            ));
        }
        if error.name.is_none() && !is_nameless(function) {
            wrong.insert(format!(
                "{function} returns an error without a name ({scene:?}: {})",
                error.text
            ));
        }
        seen.entry(function).or_default().insert(kind);
    }
    let unproven: BTreeSet<(&str, &str)> = UNPROVEN
        .iter()
        .map(|(function, kind, _)| (*function, *kind))
        .collect();
    for function in sections.functions() {
        let kinds = seen.entry(function).or_default();
        for kind in sections.named(function).own {
            let (is_seen, is_excused) = (kinds.contains(&kind), unproven.contains(&(function, &*kind)));
            if !is_seen && !is_excused {
                wrong.insert(format!("{function} names {kind}, which is shown by no scene"));
            }
        }
    }
    for (function, kind) in unproven {
        if !sections.named(function).own.contains(kind) {
            wrong.insert(format!(
                "{function} does not name {kind}, which need not be proven"
            ));
        }
    }
    let lock = &seen["Mutex::lock"];
    for kind in sections.every_request.iter().filter(|kind| !lock.contains(*kind)) {
        wrong.insert(format!("no scene shows that every request can return {kind}"));
    }
    let wrong: Vec<_> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
