//! The command line: its options, the run of the works, and the output. Used alone and with peers.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use lexopt::prelude::*;

use crate::Result;
use crate::blame::{Blamed, Failed};
use crate::contender::Library;
use crate::floor::Floor;
use crate::ours::{Handicapped, Latchwork};
use crate::page::{facts, publish};
use crate::row::{Row, table};
use crate::stage::pin_this_process;
use crate::works::{Bench, Findings, Named, WORKS};

const HELP: &str = "\
Usage: cargo xtask bench [options]

  --quick        fewer rounds: all works within four minutes
  --huge         50 000 of everything in the work `size`, too: takes minutes
  --only WORK    only this work; may be repeated
  --json FILE    also write a line of JSON for each result
  --plot         write results and charts into docs/performance.md and docs/performance/
  --peers        run the works that other libraries can do, side by side with them
  --as WHO       replace Latchwork with `floor`, which shows the noise, or `handicapped`, which has to miss its bars
";

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// Latchwork against the floor: every work.
    Alone,
    /// Latchwork, the floor and peers: the works that peers can do.
    Peers,
}

#[derive(Default)]
struct Options {
    quick: bool,
    huge: bool,
    plot: bool,
    json: Option<PathBuf>,
    only: Vec<String>,
    /// What takes Latchwork's place.
    instead: Option<Arc<dyn Library>>,
}

/// Does what the command line of this process asks for.
///
/// A missed bar is a result. The run fails if an option is wrong, there is no server, or a work
/// fails.
#[allow(clippy::print_stderr, reason = "a command line tool talks")]
pub fn main(run: Run, peers: Vec<Arc<dyn Library>>) -> ExitCode {
    match try_main(run, peers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a command line tool talks")]
fn try_main(run: Run, peers: Vec<Arc<dyn Library>>) -> Result<()> {
    let options = parse(lexopt::Parser::from_env()).map_err(|error| format!("{error}\n\n{HELP}"))?;
    let Some(options) = options else {
        print!("{HELP}");
        return Ok(());
    };
    let start = Instant::now();
    let facts = facts(pin_this_process(), options.quick)?;
    println!("{facts}");
    let Findings { rows, notes } = measure(run, &options, peers)?;
    if let Some(path) = &options.json {
        let lines: String = rows.iter().map(|row| row.json() + "\n").collect();
        fs::write(path, lines).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("\n{}", table(&rows));
    for note in &notes {
        println!("{note}");
    }
    let barred = rows.iter().filter(|row| row.limit.is_some()).count();
    let met = rows
        .iter()
        .filter(|row| row.limit.is_some() && row.is_ok())
        .count();
    println!(
        "{met} of {barred} bars met, in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    if options.plot {
        publish(run, &facts, &rows, &notes)?;
        println!("written: docs/performance.md and the charts in docs/performance");
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a command line tool talks")]
fn measure(run: Run, options: &Options, peers: Vec<Arc<dyn Library>>) -> Result<Findings> {
    let ours = options.instead.clone().unwrap_or_else(|| Arc::new(Latchwork));
    let mut contenders = vec![ours];
    for peer in peers {
        contenders.push(Arc::new(Blamed(peer)));
    }
    let bench = Bench::new(Arc::new(Floor::new()), contenders, options.quick).huge(options.huge);
    // With one worker the library confirms each hand-off, which is another request. A program has
    // two or more.
    let workers = available_parallelism().map_or(2, |cores| cores.get().max(2));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(workers).enable_all().build()?;
    let mut all = Findings::default();
    for work in chosen(run, &options.only)? {
        let start = Instant::now();
        eprint!("{:<16}{:<56}", work.name, work.what);
        let found = runtime.block_on(without_the_failing(work, &bench));
        let mut found = found.map_err(|error| format!("{}: {error}", work.name))?;
        eprintln!("{:>6.1} s", start.elapsed().as_secs_f64());
        if run == Run::Peers {
            compare(&mut found.rows);
        }
        all.rows.append(&mut found.rows);
        all.notes.append(&mut found.notes);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(all)
}

/// Runs a work. A peer that fails gets a second chance, and is left out if it fails again.
async fn without_the_failing(work: &Named, bench: &Bench) -> Result<Findings> {
    let (mut bench, mut failures) = (bench.clone(), Vec::<(&str, String)>::new());
    loop {
        let error = match work.run(&bench).await {
            Ok(mut found) => {
                let note = |(name, error)| format!("{}: {name} failed: {error}", work.name);
                found.notes.extend(failures.into_iter().map(note));
                return Ok(found);
            }
            Err(error) => error.downcast::<Failed>()?,
        };
        if failures.iter().any(|(name, _)| *name == error.library) {
            bench.contenders.retain(|library| library.name() != error.library);
        }
        failures.push((error.library, error.to_string()));
    }
}

/// Makes our results the limits of the peers' rows.
fn compare(rows: &mut [Row]) {
    let ours: Vec<Row> = rows.iter().filter(|row| row.is_ours()).cloned().collect();
    for row in rows.iter_mut().filter(|row| !row.is_ours()) {
        if let Some(ours) = ours.iter().find(|ours| ours.subject() == row.subject()) {
            row.compare_with(ours);
        }
    }
}

fn chosen(run: Run, only: &[String]) -> Result<Vec<&'static Named>> {
    let possible = WORKS.iter().filter(|work| run == Run::Alone || work.with_peers);
    let possible: Vec<&Named> = possible.collect();
    let names: Vec<&str> = possible.iter().map(|work| work.name).collect();
    if let Some(name) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no work {name:?}; there are {}", names.join(", ")).into());
    }
    let is_chosen = |work: &&Named| only.is_empty() || only.iter().any(|name| name == work.name);
    Ok(possible.into_iter().filter(is_chosen).collect())
}

/// Returns `None` if help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("quick") => options.quick = true,
            Long("huge") => options.huge = true,
            Long("plot") => options.plot = true,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("as") => {
                options.instead = match parser.value()?.string()?.as_str() {
                    "latchwork" => None,
                    "floor" => Some(Arc::new(Floor::as_contender())),
                    "handicapped" => Some(Arc::new(Handicapped)),
                    other => return Err(format!("nobody is called {other:?}").into()),
                }
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Metric;

    #[test]
    fn options_are_read() {
        let parsed = |line: &str| parse(lexopt::Parser::from_args(line.split_whitespace()));
        let all = "--quick --huge --plot --json a.jsonl --only reads --only memory --as floor";
        let all = parsed(all).unwrap().unwrap();
        assert!(all.quick && all.huge && all.plot);
        assert_eq!(all.json, Some("a.jsonl".into()));
        let instead = all.instead.map(|library| library.name());
        assert_eq!((all.only.len(), instead), (2, Some("floor")));
        let none = parsed("").unwrap().unwrap();
        assert!(!none.quick && !none.huge && !none.plot && none.json.is_none() && none.only.is_empty());
        assert!(none.instead.is_none());
        assert!(parsed("--quick --help").unwrap().is_none());
        for line in ["quick", "--only", "--as nobody", "--fast"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn works_are_found_by_name() {
        let named = |run, name: &str| chosen(run, &[name.to_owned()]);
        assert_eq!(chosen(Run::Alone, &[]).unwrap().len(), WORKS.len());
        assert_eq!(named(Run::Alone, "renewal").unwrap().len(), 1);
        let error = named(Run::Alone, "latency").unwrap_err().to_string();
        assert!(error.contains("uncontended, throughput-1"), "{error}");
        assert!(named(Run::Peers, "renewal").is_err(), "peers cannot do it");
    }

    #[test]
    fn peers_are_compared_with_ours() {
        let row = |name: &str, value| Row::new("uncontended", name, Metric::P50, value).floor(Some(10.0));
        let mut rows = [row("latchwork", 11.0), row("slower", 12.0), row("faster", 10.0)];
        compare(&mut rows);
        let verdicts = rows.map(|row| (row.limit, row.is_ok()));
        assert_eq!(verdicts, [(None, true), (Some(1.1), true), (Some(1.1), false)]);
    }
}
