//! Read locks beside other readers: does their number cost?

use std::sync::Arc;

use super::lanes::{Cycle, Lane, alternate, row_of};
use super::{Bench, Findings};
use crate::Result;
use crate::contender::{Library, Session};
use crate::row::Metric;
use crate::stage::Stage;

const READERS: usize = 1000;
const LIMIT: f64 = 2.0;

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let few = Cycle::pair(|session| session.reader("few"));
    let many = Cycle::pair(|session| session.reader("many"));
    let mut findings = Findings::default();
    for library in &bench.contenders {
        let result = one(bench, &**library, [few, many], &mut findings).await;
        findings.excuse("reads", &**library, result)?;
    }
    Ok(findings)
}

async fn one(
    bench: &Bench,
    library: &dyn Library,
    [few, many]: [Cycle; 2],
    findings: &mut Findings,
) -> Result<()> {
    let stage = Stage::start()?;
    let session: Arc<dyn Session> = library.connect(&stage.url()).await?.into();
    let (Some(_), Some(_)) = ((few.make)(&*session)?, (many.make)(&*session)?) else {
        return Ok(());
    };
    let mut standing = Vec::new();
    for (cycle, readers) in [(few, 1), (many, READERS)] {
        for _ in 0..readers {
            // A handle for each: with some libraries a handle is one owner.
            let lock = (cycle.make)(&*session)?.ok_or("there was a reader a moment ago")?;
            standing.push(lock.hold().await?);
        }
    }
    let lanes = (
        Lane::open(&stage, library, few).await?,
        Lane::open(&stage, library, many).await?,
    );
    let (Some(mut few), Some(mut many)) = lanes else {
        return Ok(());
    };
    alternate(&stage, &mut [&mut few, &mut many], bench.pick(100, 500), 40).await?;
    let ours = library.is_ours();
    let p50 = few.p50();
    let rows = [
        row_of("reads", library, Metric::P50, p50, None),
        row_of("reads", library, Metric::P50, many.p50(), p50)
            .map(|row| row.n(READERS).limit_if(ours, LIMIT)),
        row_of("reads", library, Metric::Server, few.server(), None),
        row_of("reads", library, Metric::Server, many.server(), few.server())
            .map(|row| row.n(READERS).limit_if(ours, LIMIT)),
    ];
    findings.rows.extend(rows.into_iter().flatten());
    drop(standing);
    Ok(())
}
