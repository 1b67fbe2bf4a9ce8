//! `cargo xtask test`: the whole test suite, with a real server or not at all.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use latchwork_testkit::{ServerBinary, find_server, find_tls_server, forget_used_servers, used_servers};

use crate::{Failure, workspace_root};

pub(crate) fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let found = find_server().map_err(Failure::NoServer)?;
    println!(
        "server: {} ({}, {})",
        found.version,
        found.source,
        found.path.display()
    );
    // Not every server speaks TLS. Who picks tests knows which.
    let without_tls = if arguments.is_empty() {
        find_tls_server().err()
    } else {
        None
    };
    forget_used_servers().map_err(|error| Failure::Other(error.to_string()))?;

    let nextest = has_nextest();
    let runner: &[&str] = if nextest {
        &["nextest", "run"]
    } else {
        &["test", "--no-fail-fast"]
    };
    // With TLS's tests in one build, the library would have its features in all tests.
    let others = [runner, &["--workspace", "--exclude", TLS_TESTS]].concat();
    let mut passed = cargo(&others, arguments)?;
    if arguments.is_empty() && without_tls.is_none() {
        passed &= cargo(&[runner, &["--package", TLS_TESTS]].concat(), &[])?;
    }
    // `cargo test` runs doctests by itself, nextest cannot. Who picks tests does not want them all.
    if nextest && arguments.is_empty() {
        passed &= cargo(&["test", "--workspace", "--doc"], &[])?;
    }
    report_used();
    if let Some(why) = without_tls {
        println!("\nLEFT OUT: the tests of {TLS_TESTS} (tls, platform, provider): {why}");
    }
    if passed {
        Ok(())
    } else {
        Err(Failure::Other("tests failed".to_owned()))
    }
}

/// The same on this server, which need not speak TLS. Returns whether all tests have passed.
pub(crate) fn on(server: &ServerBinary, arguments: &[OsString]) -> Result<bool, Failure> {
    let runner = ["nextest", "run", "--no-fail-fast"];
    let runner: &[&str] = if has_nextest() {
        &runner
    } else {
        &["test", "--no-fail-fast"]
    };
    let subcommand = [runner, &["--workspace", "--exclude", TLS_TESTS]].concat();
    let status = command(&subcommand)
        .args(arguments)
        .env("REDIS_SERVER_BIN", &server.path)
        .status();
    let status = status.map_err(|error| Failure::Other(format!("cargo does not start: {error}")))?;
    Ok(status.success())
}

/// The package whose tests need a server with TLS.
const TLS_TESTS: &str = "latchwork-tests-tls";

/// Runs cargo where the workspace is, its output going where ours goes.
fn cargo(subcommand: &[&str], arguments: &[OsString]) -> Result<bool, Failure> {
    let shown: Vec<_> = arguments
        .iter()
        .map(|argument| argument.to_string_lossy())
        .collect();
    println!("running: cargo {} {}", subcommand.join(" "), shown.join(" "));
    let status = command(subcommand).args(arguments).status();
    let status = status.map_err(|error| Failure::Other(format!("cargo does not start: {error}")))?;
    Ok(status.success())
}

fn has_nextest() -> bool {
    let mut command = command(&["nextest", "--version"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn command(arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace_root());
    command
}

fn report_used() {
    let used = used_servers();
    println!("\nservers that the tests really used:");
    for line in &used {
        println!("  {line}");
    }
    if used.is_empty() {
        println!("  none");
    }
}
