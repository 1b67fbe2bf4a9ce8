//! Reads the command line, runs the works, shows what came of them. The same for our own works and for those with peers.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lexopt::prelude::*;

use crate::Result;
use crate::blame::{Blamed, Failed};
use crate::contender::Library;
use crate::floor::Floor;
use crate::ours::{Handicapped, Latchwork};
use crate::page::{Facts, publish};
use crate::row::{Row, table};
use crate::stage::pin_this_process;
use crate::works::{Bench, Findings, Named, WORKS};

/// What can be asked for.
const HELP: &str = "\
Usage: cargo xtask bench [options]

  --quick        fewer rounds: all of it within three minutes
  --only WORK    this work alone; may be given more than once
  --json FILE    a line of JSON for each result, too
  --plot         write the results and charts into docs/performance.md and docs/performance/
  --peers        the works that other libraries can do, with them side by side
  --as WHO       in Latchwork's place: `floor`, which shows what is noise, or `handicapped`, which has to miss its bars
";

/// Whom the works are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// Latchwork against the floor: every work.
    Alone,
    /// Latchwork, the floor and peers: the works that peers can do.
    Peers,
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    quick: bool,
    plot: bool,
    json: Option<PathBuf>,
    only: Vec<String>,
    place: Place,
}

/// Who is in Latchwork's place.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Latchwork,
    Floor,
    Handicapped,
}

/// Runs what the command line of this process asks for, with these peers. A bar that is missed is a result; it fails if the
/// command line makes no sense, there is no server, or a work fails.
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
    let Some(options) = parse(lexopt::Parser::from_env()).map_err(|error| format!("{error}\n\n{HELP}"))?
    else {
        print!("{HELP}");
        return Ok(());
    };
    let cores = pin_this_process();
    let facts = Facts::gather(cores, options.quick)?;
    println!("{facts}");
    let (rows, notes) = measure(run, &options, peers)?;
    write_json(&options, &rows)?;
    println!("\n{}", table(&rows));
    for note in &notes {
        println!("{note}");
    }
    let barred = rows.iter().filter(|row| row.limit.is_some()).count();
    let missed = rows.iter().filter(|row| !row.is_ok()).count();
    println!(
        "{} of {barred} bars met, in {:.0} s",
        barred - missed,
        facts.elapsed().as_secs_f64()
    );
    if options.plot {
        for path in publish(run, &facts, &rows, &notes)? {
            println!("written: {}", path.display());
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a command line tool talks")]
fn measure(run: Run, options: &Options, peers: Vec<Arc<dyn Library>>) -> Result<(Vec<Row>, Vec<String>)> {
    let place: Arc<dyn Library> = match options.place {
        Place::Latchwork => Arc::new(Latchwork),
        Place::Floor => Arc::new(Floor::as_contender()),
        Place::Handicapped => Arc::new(Handicapped),
    };
    let mut contenders = vec![place];
    contenders.extend(
        peers
            .into_iter()
            .map(|peer| -> Arc<dyn Library> { Arc::new(Blamed(peer)) }),
    );
    let bench = Bench::new(Arc::new(Floor::new()), contenders, options.quick);
    // With one worker the library confirms what it was handed, which is one request more; two is what a program has.
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for work in chosen(run, &options.only)? {
        let start = Instant::now();
        eprint!("{:<16}{:<56}", work.name, work.what);
        let mut found = runtime
            .block_on(without_the_failing(work, &bench))
            .map_err(|error| format!("{}: {error}", work.name))?;
        eprintln!("{:>6.1} s", start.elapsed().as_secs_f64());
        if run == Run::Peers {
            compare(&mut found);
        }
        rows.append(&mut found.rows);
        notes.append(&mut found.notes);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok((rows, notes))
}

/// Does a work; again if a peer failed, and then without that one: what others do under load is no reason to know nothing.
async fn without_the_failing(work: &Named, bench: &Bench) -> Result<Findings> {
    let (mut bench, mut failures) = (bench.clone(), Vec::<(&str, String)>::new());
    loop {
        let error = match work.run(&bench).await {
            Ok(mut found) => {
                found.notes.extend(failures.into_iter().map(|(library, error)| {
                    format!(
                        "{}: {library} failed, and was tried again or left out: {error}",
                        work.name
                    )
                }));
                return Ok(found);
            }
            Err(error) => error,
        };
        let Some(failed) = error.downcast_ref::<Failed>() else {
            return Err(error);
        };
        if failures.iter().any(|(library, _)| *library == failed.library) {
            bench
                .contenders
                .retain(|library| library.name() != failed.library);
        }
        failures.push((failed.library, failed.to_string()));
    }
}

/// Gives each peer's row the figure of ours as its limit: it is `ok` if ours is at least as good.
fn compare(found: &mut Findings) {
    let ours: Vec<Row> = found.rows.iter().filter(|row| row.is_ours()).cloned().collect();
    for row in found.rows.iter_mut().filter(|row| !row.is_ours()) {
        if let Some(ours) = ours.iter().find(|ours| ours.is_about_the_same(row)) {
            row.compare_with(ours);
        }
    }
}

fn chosen(run: Run, only: &[String]) -> Result<Vec<&'static Named>> {
    let possible: Vec<&Named> = WORKS
        .iter()
        .filter(|work| run == Run::Alone || work.with_peers)
        .collect();
    if only.is_empty() {
        return Ok(possible);
    }
    let find = |name: &String| {
        possible
            .iter()
            .copied()
            .find(|work| work.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = possible.iter().map(|work| work.name).collect();
                format!("there is no work {name:?}; there are {}", names.join(", ")).into()
            })
    };
    only.iter().map(find).collect()
}

fn write_json(options: &Options, rows: &[Row]) -> Result<()> {
    let Some(path) = &options.json else { return Ok(()) };
    let mut file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for row in rows {
        writeln!(file, "{}", row.json())?;
    }
    Ok(())
}

/// `None`: help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("quick") => options.quick = true,
            Long("plot") => options.plot = true,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("as") => {
                options.place = match parser.value()?.string()?.as_str() {
                    "latchwork" => Place::Latchwork,
                    "floor" => Place::Floor,
                    "handicapped" => Place::Handicapped,
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

    fn parsed(line: &str) -> Option<Options> {
        parse(lexopt::Parser::from_args(line.split_whitespace())).unwrap()
    }

    #[test]
    fn reads_options() {
        assert_eq!(parsed(""), Some(Options::default()));
        assert_eq!(parsed("--quick --help"), None);
        let all = Options {
            quick: true,
            plot: true,
            json: Some("a.jsonl".into()),
            only: vec!["reads".to_owned(), "memory".to_owned()],
            place: Place::Floor,
        };
        assert_eq!(
            parsed("--quick --plot --json a.jsonl --only reads --only memory --as floor"),
            Some(all)
        );
        for line in ["quick", "--only", "--as nobody", "--fast"] {
            assert!(
                parse(lexopt::Parser::from_args(line.split_whitespace())).is_err(),
                "{line}"
            );
        }
    }

    #[test]
    fn works_are_found_by_name() {
        assert_eq!(chosen(Run::Alone, &[]).unwrap().len(), WORKS.len());
        assert_eq!(chosen(Run::Alone, &["renewal".to_owned()]).unwrap().len(), 1);
        let error = chosen(Run::Alone, &["latency".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("uncontended, throughput-1"), "{error}");
        assert!(
            chosen(Run::Peers, &["renewal".to_owned()]).is_err(),
            "peers are not asked"
        );
    }

    #[test]
    fn peers_are_compared_with_ours() {
        let row = |name: &str, value| Row::new("uncontended", name, Metric::P50, value).floor(Some(10.0));
        let rows = vec![row("latchwork", 11.0), row("slower", 12.0), row("faster", 10.0)];
        let mut found = Findings {
            rows,
            ..Findings::default()
        };
        compare(&mut found);
        let verdicts: Vec<_> = found.rows.iter().map(|row| (row.limit, row.is_ok())).collect();
        assert_eq!(verdicts, [(None, true), (Some(1.1), true), (Some(1.1), false)]);
    }
}
