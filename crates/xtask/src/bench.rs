//! `cargo xtask bench`: builds the benches with optimizations and runs them.
//!
//! They are a package of their own, and those with peers a workspace of its own: what they need is not built for the demo.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use latchwork_testkit::find_server;

use crate::{Failure, workspace_root};

/// What to run, and what is passed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Latchwork and other libraries side by side.
    pub(crate) peers: bool,
    /// For the benches, which read the rest of the command line.
    pub(crate) arguments: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    // Before minutes of building, and where fetching a server says so.
    find_server().map_err(Failure::NoServer)?;
    let root = workspace_root();
    let manifest = if options.peers {
        root.join("benches/peers/Cargo.toml")
    } else {
        root.join("benches/Cargo.toml")
    };
    // Where cargo would build this workspace: for peers not below their own folder.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let cargo = || {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.env("CARGO_TARGET_DIR", &target);
        cargo
    };
    // All programs: the one that measures starts the one that counts allocations.
    let mut build = cargo();
    build
        .args(["build", "--release", "--locked", "--bins", "--manifest-path"])
        .arg(&manifest);
    finish(build, "building the benches")?;
    let mut bench = cargo();
    bench
        .args(["run", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(&manifest);
    bench.arg("--").args(&options.arguments);
    finish(bench, "the benches")
}

fn finish(mut command: Command, what: &str) -> Result<(), Failure> {
    let status = command
        .status()
        .map_err(|error| Failure::Other(format!("cargo does not start: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Other(format!("{what} failed")))
    }
}
