//! Whether the server stays responsive, whatever there are many of: waiters, holds, marks.
//!
//! Each operation has a server of its own, on which it first gathers `n` of something. Then it is
//! measured: the scripts' time for each of the `n` (or for each call), the longest script, how long
//! the operation took, holds that were lost, and the longest cycle of a bystander. Clients use the
//! public API; nothing is prepared by other means.
#![allow(
    clippy::significant_drop_tightening,
    reason = "what is held and who waits is what an operation is about"
)]

mod crowd;
mod dead;
mod deep;
mod let_in;
mod scene;
mod waits;

use std::time::Duration;

use tokio::runtime::Builder;

use self::scene::{LIMIT, Scene};
use super::{Bench, Findings};
use crate::Result;
use crate::contender::Work;
use crate::row::{Metric, Row};

const WORK: &str = "size";
/// How often an operation is done at most, if other processes make it miss its bar. A script's time
/// is that of the clock, and includes that of whoever takes the server's core from it.
const TRIES: usize = 3;

/// An operation, which may have several parts that are measured.
#[derive(Clone, Copy)]
struct Operation {
    name: &'static str,
    run: for<'a> fn(&'a mut Scene) -> Work<'a, ()>,
}

macro_rules! operation {
    ($name:literal, $run:path) => {
        Operation {
            name: $name,
            run: |scene| Box::pin($run(scene)),
        }
    };
}

const OPERATIONS: [Operation; 13] = [
    operation!("let-in-readers", let_in::readers),
    operation!("let-in-permits", let_in::permits),
    operation!("let-in-owner", let_in::owner),
    operation!("wait-one-lock", waits::on_one_lock),
    operation!("wait-n-locks", waits::on_n_locks),
    operation!("dead-waiters", dead::waiters),
    operation!("dead-readers", dead::readers),
    operation!("dead-holders", dead::holders),
    operation!("latch-zero", let_in::zero),
    operation!("latch-reset", let_in::reset),
    operation!("latch-marks", deep::marks),
    operation!("reentrant-holds", deep::holds),
    operation!("full-queue", deep::full_queue),
];

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    if !bench.has_ours() {
        return Ok(findings);
    }
    let sizes = [
        (100, true),
        (1000, true),
        (10_000, !bench.quick),
        (50_000, bench.huge),
    ];
    for operation in OPERATIONS {
        for (n, _) in sizes.into_iter().filter(|(_, is_asked)| *is_asked) {
            let found = tokio::task::spawn_blocking(move || one(operation, n)).await?;
            findings.rows.extend(found.rows);
            findings.notes.extend(found.notes);
        }
    }
    Ok(findings)
}

/// Measures an operation, again if other processes were in its way.
fn one(operation: Operation, n: usize) -> Findings {
    let mut best = Findings::default();
    for attempt in 0..TRIES {
        let (found, was_disturbed) = try_one(operation, n);
        if attempt == 0 || found.missed() < best.missed() {
            best = found;
        }
        if !was_disturbed {
            break;
        }
    }
    best
}

/// Runs an operation in a runtime of its own, so that nothing of it is left for the next one. What
/// fails is a result, too. Returns also whether it was disturbed.
fn try_one(operation: Operation, n: usize) -> (Findings, bool) {
    let run = || {
        let mut scene = Scene::start(n)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let result = runtime.block_on(async {
            // Gathering has limits of its own.
            let run = tokio::time::timeout(LIMIT * 5, (operation.run)(&mut scene));
            run.await.unwrap_or_else(|_| Err("it did not end".into()))
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok((scene, result))
    };
    let (mut findings, was_disturbed, result) = match run() {
        Ok((scene, result)) => {
            let was_disturbed = scene.was_disturbed;
            (scene.finish(), was_disturbed, result)
        }
        Err(error) => (Findings::default(), false, Err(error)),
    };
    if let Err(error) = result {
        let name = operation.name;
        let row = Row::new(WORK, format!("latchwork/{name}"), Metric::Wrong, 1.0);
        findings.rows.push(row.n(n).limit(0.0));
        findings.notes.push(format!("{WORK}: {name} with {n}: {error}"));
    }
    (findings, was_disturbed)
}

impl Findings {
    /// How many bars are missed.
    fn missed(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_ok()).count()
    }
}
