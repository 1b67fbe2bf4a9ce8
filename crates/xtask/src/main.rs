//! `cargo xtask`: what a developer of Latchwork does besides `cargo build`.
//!
//! This file reads the command line; each command has a file of its own. Exit codes: 0, 1 for a failure,
//! 2 when there is no server, 64 for a command line that makes no sense.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks"
)]

#[cfg(not(unix))]
compile_error!("cargo xtask is Unix only, as the servers that it starts are");

mod bench;
mod demo;
mod doctor;
mod fetch;
mod matrix;
mod scripts;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use latchwork_testkit::{Error, Version};
use lexopt::prelude::*;

const HELP: &str = "\
Usage: cargo xtask <command>

  demo                      let real processes take turns under a lock while one of them is killed
       [--no-lock]          without the lock: see what gets lost
       [--seconds N]        how long they work (12)
       [--workers N]        processes (4)
       [--tasks N]          tasks in each (8)
       [--json]             the result as JSON
  test [-- <arguments>]     run every test; arguments go to the test runner, and then doctests are left out
  test --matrix [-- ...]    the same on each server version that can be fetched
  bench [<options>]         measure Latchwork against bare scripts; `bench --help` lists the options
  bench --peers             and against other libraries
  doctor                    say which server the tests would use and what it can do
  fetch                     fetch a server into the target folder, installing nothing
  fetch --version <name>    fetch this one, such as valkey-8.1
  fetch --all               fetch every version there is, and start each once
  scripts <folder>          write the Lua scripts, as they are sent to servers, into this folder
";

const NO_SERVER: u8 = 2;
const USAGE: u8 = 64;

/// What can be asked for.
#[derive(Debug, PartialEq)]
enum Command {
    Help,
    Bench(bench::Options),
    Demo(demo::Options),
    Doctor,
    Fetch(Fetch),
    Scripts(PathBuf),
    Test {
        arguments: Vec<OsString>,
    },
    /// The same on each server version.
    Matrix {
        arguments: Vec<OsString>,
    },
}

/// Which servers to fetch.
#[derive(Debug, PartialEq)]
enum Fetch {
    Any,
    All,
    One(Version),
}

/// How a command ends when it does not end well.
#[derive(Debug)]
enum Failure {
    /// There is no server; the text lists every fix.
    NoServer(Error),
    /// What it was, in words.
    Other(String),
}

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(USAGE);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NoServer(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(NO_SERVER)
        }
        Err(Failure::Other(text)) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Help => {
            print!("{HELP}");
            Ok(())
        }
        Command::Bench(options) => bench::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Doctor => doctor::run(),
        Command::Fetch(which) => fetch::run(&which),
        Command::Scripts(folder) => scripts::run(&folder),
        Command::Test { arguments } => test::run(&arguments),
        Command::Matrix { arguments } => matrix::run(&arguments),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let name = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return Ok(Command::Help),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    match name.as_str() {
        "help" => no_more(parser, Command::Help),
        "bench" => parse_bench(parser),
        "demo" => parse_demo(parser),
        "doctor" => no_more(parser, Command::Doctor),
        "fetch" => parse_fetch(parser),
        "scripts" => {
            let folder = parser.value()?.into();
            no_more(parser, Command::Scripts(folder))
        }
        "test" => parse_test(parser),
        _ => Err(format!("there is no command {name:?}").into()),
    }
}

fn no_more(mut parser: lexopt::Parser, command: Command) -> Result<Command, lexopt::Error> {
    parser
        .next()?
        .map_or(Ok(command), |argument| Err(argument.unexpected()))
}

/// The benches read the rest.
fn parse_bench(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (peers, arguments): (Vec<_>, Vec<_>) = parser.raw_args()?.partition(|argument| argument == "--peers");
    Ok(Command::Bench(bench::Options {
        peers: !peers.is_empty(),
        arguments,
    }))
}

fn parse_demo(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = demo::Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("no-lock") => options.lock = false,
            Long("json") => options.json = true,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("tasks") => options.tasks = parser.value()?.parse()?,
            Long("worker") => options.worker = Some((parser.value()?.string()?, parser.value()?.parse()?)),
            other => return Err(other.unexpected()),
        }
    }
    if options.seconds == 0 || options.workers < 2 || options.tasks == 0 {
        return Err("the demo needs at least 1 second, 2 workers and 1 task".into());
    }
    Ok(Command::Demo(options))
}

fn parse_fetch(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut which = Fetch::Any;
    while let Some(argument) = parser.next()? {
        which = match argument {
            Long("all") => Fetch::All,
            Long("version") => Fetch::One(parser.value()?.parse()?),
            other => return Err(other.unexpected()),
        };
    }
    Ok(Command::Fetch(which))
}

/// Everything after `test --` is the runner's.
fn parse_test(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut arguments = parser.raw_args()?.peekable();
    let is_matrix = arguments.next_if(|argument| argument == "--matrix").is_some();
    match arguments.next() {
        Some(other) if other != "--" => {
            return Err(format!("`{}` has to come after `--`", other.display()).into());
        }
        _ => {}
    }
    let arguments = arguments.collect();
    Ok(if is_matrix {
        Command::Matrix { arguments }
    } else {
        Command::Test { arguments }
    })
}

/// The folder of the workspace, where cargo is to be run.
fn workspace_root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, lexopt::Error> {
        parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn reads_commands() {
        assert_eq!(parsed("").unwrap(), Command::Help);
        assert_eq!(parsed("--help").unwrap(), Command::Help);
        assert_eq!(parsed("doctor").unwrap(), Command::Doctor);
        assert_eq!(parsed("fetch").unwrap(), Command::Fetch(Fetch::Any));
        assert_eq!(parsed("scripts a/b").unwrap(), Command::Scripts("a/b".into()));
        assert_eq!(parsed("fetch --all").unwrap(), Command::Fetch(Fetch::All));
        let one = Command::Fetch(Fetch::One(Version::Valkey8_1));
        assert_eq!(parsed("fetch --version valkey-8.1").unwrap(), one);
        assert_eq!(
            parsed("test").unwrap(),
            Command::Test {
                arguments: Vec::new()
            }
        );
        assert_eq!(
            parsed("test --matrix").unwrap(),
            Command::Matrix {
                arguments: Vec::new()
            }
        );
        let arguments = ["-p", "x", "--", "name"].map(OsString::from).to_vec();
        assert_eq!(
            parsed("test -- -p x -- name").unwrap(),
            Command::Test { arguments }
        );
    }

    #[test]
    fn leaves_the_options_of_benches_to_them() {
        assert_eq!(
            parsed("bench").unwrap(),
            Command::Bench(bench::Options::default())
        );
        let options = bench::Options {
            peers: true,
            arguments: ["--quick", "--json", "a"].map(OsString::from).to_vec(),
        };
        assert_eq!(
            parsed("bench --quick --peers --json a").unwrap(),
            Command::Bench(options)
        );
    }

    #[test]
    fn reads_the_demo() {
        let defaults = demo::Options::default();
        assert_eq!(parsed("demo").unwrap(), Command::Demo(defaults));
        let options = demo::Options {
            lock: false,
            json: true,
            seconds: 3,
            workers: 2,
            tasks: 1,
            worker: None,
        };
        assert_eq!(
            parsed("demo --no-lock --json --seconds 3 --workers=2 --tasks 1").unwrap(),
            Command::Demo(options)
        );
        let worker = demo::Options {
            worker: Some(("prefix-1".to_owned(), 3)),
            ..demo::Options::default()
        };
        assert_eq!(parsed("demo --worker prefix-1 3").unwrap(), Command::Demo(worker));
    }

    #[test]
    fn refuses_the_rest() {
        for line in [
            "tset",
            "demo --seconds 0",
            "demo --workers 1",
            "demo now",
            "doctor now",
            "fetch --version valkey-1",
            "fetch it",
            "scripts",
            "test name",
            "--verbose",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_workspace_is_where_its_manifest_is() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
