//! `cargo xtask fetch`: servers for this workspace alone, of any version.

use latchwork_testkit::{Error, ServerBinary, TestServer, Version, fetch_any, fetch_version};

use crate::{Failure, Fetch};

pub(crate) fn run(which: &Fetch) -> Result<(), Failure> {
    match which {
        Fetch::Any => report("any", fetch_any()).map_err(Failure::NoServer),
        Fetch::One(version) => report(version.id(), fetch_version(*version)).map_err(Failure::NoServer),
        Fetch::All => all(),
    }
}

/// Tries every version before it says that one is missing.
fn all() -> Result<(), Failure> {
    let mut missing = Vec::new();
    for version in Version::ALL {
        if let Err(error) = report(version.id(), fetch_version(version)) {
            println!("{:<12}{error}", version.id());
            missing.push(version.id());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "not to be had here: {}",
        missing.join(", ")
    )))
}

/// Starts what was fetched once: a binary that only answers `--version` is no server yet.
fn report(name: &str, fetched: Result<ServerBinary, Error>) -> Result<(), Error> {
    let binary = fetched?;
    TestServer::builder().binary(binary.clone()).start()?;
    println!(
        "{name:<12}{:<14}{}",
        binary.version.to_string(),
        binary.path.display()
    );
    Ok(())
}
