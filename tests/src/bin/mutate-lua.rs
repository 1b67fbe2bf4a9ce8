//! Changes lines of the scripts, one at a time, and says which changes no test notices.
//!
//! `cargo run -p latchwork-tests --bin mutate-lua -- [how many] [seed]`: so many random ones (otherwise all: hours). Each is
//! one run of the scripts' tests, without a build, with `LATCHWORK_SCRIPT_CASES=1000` unless that is set. A mutant is
//! `file:line:kind`; `LATCHWORK_MUTANT` with that name, before any test of the scripts, repeats one.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::env;
use std::process::{Command, Stdio};

use latchwork_testkit::{RespClient, TestServer};
use latchwork_tests::mutants;

/// Which tests look at a file.
fn tests_of(mutant: &str) -> &'static [&'static str] {
    let limits = ["gcra", "window", "limiter"];
    if limits.iter().any(|name| mutant.starts_with(name)) {
        return &["--test", "limiter"];
    }
    &["--test", "scripts"]
}

/// A script with a mistake that the server finds is not worth a run.
fn loads(client: &mut RespClient, mutant: &str) -> bool {
    let file = mutant.split(':').next();
    let scripts = mutants::with(mutant).unwrap_or_default();
    let mut touched = scripts
        .iter()
        .filter(|script| script.parts.iter().any(|(name, _)| Some(*name) == file));
    touched.all(|script| client.call(&["SCRIPT", "LOAD", &script.text]).is_ok())
}

fn is_noticed(mutant: &str) -> Result<bool, Box<dyn std::error::Error>> {
    let cases = env::var("LATCHWORK_SCRIPT_CASES").unwrap_or_else(|_| "1000".to_owned());
    let status = Command::new("cargo")
        .args(["test", "-q", "-p", "latchwork-tests"])
        .args(tests_of(mutant))
        .env("LATCHWORK_SCRIPT_CASES", cases)
        .env("LATCHWORK_MUTANT", mutant)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(!status.success())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let many = args.next().map_or(Ok(usize::MAX), |text| text.parse())?;
    let mut state = args.next().map_or(Ok(1), |text| text.parse::<u64>())?;
    let server = TestServer::start()?;
    let mut client = RespClient::connect(server.port())?;
    let mut left = mutants::all();
    left.retain(|mutant| !mutant.starts_with("guarded") && !mutant.starts_with("many"));
    let (mut tried, mut survived) = (0, Vec::new());
    while tried < many && !left.is_empty() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33)? % left.len();
        let mutant = left.swap_remove(at);
        if !loads(&mut client, &mutant) {
            continue;
        }
        tried += 1;
        let noticed = is_noticed(&mutant)?;
        println!("{} {mutant}", if noticed { "noticed " } else { "SURVIVED" });
        if !noticed {
            survived.push(mutant);
        }
    }
    println!("{tried} tried, {} survived: {survived:?}", survived.len());
    Ok(())
}
