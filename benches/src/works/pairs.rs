//! Acquire and release by one task, against the bare pair of scripts.

use super::lanes::{Lane, Make, alternate, requests, row_of};
use super::{Bench, Findings};
use crate::Result;
use crate::row::Metric;
use crate::stage::Stage;

const P50: f64 = 1.10;
const SERVER: f64 = 2.1;
const REQUESTS: f64 = 2.0;

/// One permit of that many.
const PERMITS: u32 = 10;

pub(super) async fn mutex(bench: &Bench) -> Result<Findings> {
    run(bench, "uncontended", |session| session.mutex("orders")).await
}

pub(super) async fn semaphore(bench: &Bench) -> Result<Findings> {
    run(bench, "semaphore", |session| session.permit("calls", PERMITS)).await
}

async fn run(bench: &Bench, work: &'static str, make: Make) -> Result<Findings> {
    let stage = Stage::start()?;
    let Some(mut floor) = Lane::open(&stage, &*bench.floor, make).await? else {
        return Err("the floor has no such lock".into());
    };
    let mut lanes = Vec::new();
    for library in &bench.contenders {
        if let Some(lane) = Lane::open(&stage, &**library, make).await? {
            lanes.push((library, lane));
        }
    }
    let mut all: Vec<&mut Lane> = vec![&mut floor];
    all.extend(lanes.iter_mut().map(|(_, lane)| lane));
    alternate(&stage, &mut all, bench.rounds(300, 1500), 40).await?;

    let (p50, p99, server) = (floor.p50(), floor.p99(), floor.server());
    let mut findings = Findings::default();
    for (library, mut lane) in lanes {
        let ours = library.is_ours();
        let row = |metric, value, floor| row_of(work, &**library, metric, value, floor);
        let asked = requests(&stage, &**library, make).await?;
        let rows = [
            row(Metric::P50, lane.p50(), p50).map(|row| row.limit_if(ours, P50)),
            row(Metric::P99, lane.p99(), p99),
            row(Metric::Server, lane.server(), server).map(|row| row.limit_if(ours, SERVER)),
            row(Metric::Requests, asked, None).map(|row| row.limit_if(ours, REQUESTS)),
        ];
        findings.rows.extend(rows.into_iter().flatten());
    }
    Ok(findings)
}
