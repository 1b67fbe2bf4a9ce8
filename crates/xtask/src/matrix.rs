//! `cargo xtask test --matrix`: the test suite on each server version that is to be had.

use std::ffi::OsString;

use latchwork_testkit::{ServerBinary, Version, fetch_version};

use crate::{Failure, test};

/// What became of a version.
enum Outcome {
    Passed,
    Failed,
    /// It cannot be fetched here.
    Missing(String),
}

/// Runs the tests on each version; all of them, before it says that one has failed.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let mut outcomes = Vec::new();
    for version in Version::ALL {
        let outcome = match fetch_version(version) {
            Ok(binary) if !binary.version.is_supported() => continue, // it is there to be refused
            Ok(binary) => on(&binary, arguments),
            Err(error) => Outcome::Missing(error.to_string()),
        };
        outcomes.push((version.id(), outcome));
    }
    println!("\nserver versions:");
    for (name, outcome) in &outcomes {
        match outcome {
            Outcome::Passed => println!("  {name:<12}passed"),
            Outcome::Failed => println!("  {name:<12}FAILED"),
            Outcome::Missing(why) => println!("  {name:<12}LEFT OUT: {why}"),
        }
    }
    if outcomes
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Failed))
    {
        return Err(Failure::Other("tests failed".to_owned()));
    }
    if outcomes
        .iter()
        .all(|(_, outcome)| matches!(outcome, Outcome::Missing(_)))
    {
        return Err(Failure::Other("no server version can be had here".to_owned()));
    }
    Ok(())
}

fn on(binary: &ServerBinary, arguments: &[OsString]) -> Outcome {
    println!("\n=== {} ({})", binary.version, binary.path.display());
    match test::on(binary, arguments) {
        Ok(true) => Outcome::Passed,
        Ok(false) | Err(_) => Outcome::Failed,
    }
}
