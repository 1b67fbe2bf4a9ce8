//! A limiter: a call that is let through, by one task, against the textbook's script.
//!
//! GCRA has the bars. The sliding window stands beside it, against a log of calls: that does the same exactly, but has to
//! remember every call of the window, and so it is the slower the higher the rate. The ratio is about the rate of this
//! bench, and is no bar.

use latchwork::Algorithm;

use super::lanes::{Cycle, against_floor};
use super::{Bench, Findings};
use crate::Result;

/// So many that nobody is ever refused: a refusal writes nothing, and is cheaper.
pub(super) const PER_SECOND: u32 = 1_000_000;

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let rounds = bench.rounds(200, 1000); // of each, and a cycle is one request
    let gcra = Cycle::single(|session| session.limiter("calls", Algorithm::Gcra, PER_SECOND));
    let mut findings = against_floor(bench, "limiter", gcra, rounds).await?;
    let window = Cycle::single(|session| session.limiter("calls", Algorithm::SlidingWindow, PER_SECOND));
    let beside = against_floor(bench, "limiter", window, rounds).await?;
    findings
        .rows
        .extend(beside.rows.into_iter().map(|row| row.beside("window")));
    Ok(findings)
}
