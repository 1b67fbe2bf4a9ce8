//! Lanes: locks that are measured side by side, in rounds that alternate.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, Findings, in_task};
use crate::Result;
use crate::contender::{Library, Lock, Session};
use crate::row::{Metric, Row};
use crate::sample::{count, median, micros, minimum, quantile};
use crate::stage::Stage;

/// The bars of a cycle that nobody else is in the way of.
const P50: f64 = 1.10;
const SERVER: f64 = 2.1;

/// How a work makes its lock: `None` if this library has no such thing.
pub(super) type Make = fn(&dyn Session) -> Result<Option<Arc<dyn Lock>>>;

/// What is measured in cycles.
#[derive(Clone, Copy)]
pub(super) struct Cycle {
    pub(super) make: Make,
    /// What a cycle asks of the server if it does nothing but what it has to.
    pub(super) requests: u8,
}

impl Cycle {
    /// Acquire and release.
    pub(super) const fn pair(make: Make) -> Self {
        Self { make, requests: 2 }
    }

    /// One request.
    pub(super) const fn single(make: Make) -> Self {
        Self { make, requests: 1 }
    }
}

/// One lock, and what was found about it.
pub(super) struct Lane {
    lock: Arc<dyn Lock>,
    requests: u8,
    _session: Arc<dyn Session>,
    laps: Vec<f64>,
    /// Script time per cycle, of each round in which scripts were all there was.
    server: Vec<f64>,
}

impl Lane {
    /// A lock of a client of its own; `None` if the library has no such thing.
    pub(super) async fn open(stage: &Stage, library: &dyn Library, cycle: Cycle) -> Result<Option<Self>> {
        let session: Arc<dyn Session> = library.connect(&stage.url()).await?.into();
        let lock = (cycle.make)(&*session)?;
        Ok(lock.map(|lock| Self {
            lock,
            requests: cycle.requests,
            _session: session,
            laps: Vec::new(),
            server: Vec::new(),
        }))
    }

    async fn round(&mut self, stage: &Stage, cycles: usize) -> Result<()> {
        in_task(Arc::clone(&self.lock).prepare(cycles)).await?;
        let before = stage.scripts()?;
        let laps = in_task(Arc::clone(&self.lock).cycles(cycles)).await?;
        let spent = stage.scripts()?.since(before);
        self.laps.extend(laps.into_iter().map(micros));
        // What sends plain commands, too, is not seen whole here.
        if spent.calls >= u64::from(self.requests) * cycles as u64 {
            self.server.push(spent.micros / count(cycles));
        }
        Ok(())
    }

    pub(super) fn p50(&mut self) -> Option<f64> {
        median(&mut self.laps)
    }

    pub(super) fn p99(&mut self) -> Option<f64> {
        quantile(&mut self.laps, 0.99)
    }

    pub(super) fn server(&self) -> Option<f64> {
        minimum(&self.server)
    }
}

/// Rounds of `cycles` cycles on each lane in turn, forwards and backwards, and each time from another one on, so that none has
/// a place of its own in the machine's moods: who is at the end of one round and the beginning of the next finds its own caches.
pub(super) async fn alternate(
    stage: &Stage,
    lanes: &mut [&mut Lane],
    rounds: usize,
    cycles: usize,
) -> Result<()> {
    for lane in &mut *lanes {
        in_task(Arc::clone(&lane.lock).prepare(cycles)).await?;
        in_task(Arc::clone(&lane.lock).cycles(cycles)).await?; // warm: scripts, connections, caches
    }
    let count = lanes.len();
    for round in 0..rounds {
        for next in 0..count {
            let at = (next + round / 2) % count;
            let at = if round % 2 == 0 { at } else { count - 1 - at };
            lanes[at].round(stage, cycles).await?;
        }
    }
    Ok(())
}

/// Cycles by one task, of the floor and of everybody who can do them, side by side.
pub(super) async fn against_floor(
    bench: &Bench,
    work: &'static str,
    cycle: Cycle,
    rounds: usize,
) -> Result<Findings> {
    let stage = Stage::start()?;
    let Some(mut floor) = Lane::open(&stage, &*bench.floor, cycle).await? else {
        return Err("the floor has no such lock".into());
    };
    let mut lanes = Vec::new();
    for library in &bench.contenders {
        if let Some(lane) = Lane::open(&stage, &**library, cycle).await? {
            lanes.push((library, lane));
        }
    }
    let mut all: Vec<&mut Lane> = vec![&mut floor];
    all.extend(lanes.iter_mut().map(|(_, lane)| lane));
    alternate(&stage, &mut all, rounds, 40).await?;

    let (p50, p99, server) = (floor.p50(), floor.p99(), floor.server());
    let mut findings = Findings::default();
    for (library, mut lane) in lanes {
        let ours = library.is_ours();
        let row = |metric, value, floor| row_of(work, &**library, metric, value, floor);
        let asked = requests(&stage, &**library, cycle.make).await?;
        let rows = [
            row(Metric::P50, lane.p50(), p50).map(|row| row.limit_if(ours, P50)),
            row(Metric::P99, lane.p99(), p99),
            row(Metric::Server, lane.server(), server).map(|row| row.limit_if(ours, SERVER)),
            row(Metric::Requests, asked, None).map(|row| row.limit_if(ours, f64::from(cycle.requests))),
        ];
        findings.rows.extend(rows.into_iter().flatten());
    }
    Ok(findings)
}

/// Requests per cycle, counted at the socket: the median of windows, because a heartbeat may fall into one.
pub(super) async fn requests(stage: &Stage, library: &dyn Library, make: Make) -> Result<Option<f64>> {
    const WINDOWS: usize = 21;
    const CYCLES: usize = 20;
    let proxy = stage.proxy()?;
    let session = library.connect(&proxy.url()).await?;
    let Some(lock) = make(&*session)? else {
        return Ok(None);
    };
    in_task(Arc::clone(&lock).prepare(CYCLES)).await?;
    in_task(Arc::clone(&lock).cycles(CYCLES)).await?;
    tokio::time::sleep(Duration::from_millis(50)).await; // what a client does once after connecting
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
        in_task(Arc::clone(&lock).prepare(CYCLES)).await?;
        let before = proxy.requests();
        in_task(Arc::clone(&lock).cycles(CYCLES)).await?;
        windows.push(count(proxy.requests() - before) / count(CYCLES));
    }
    Ok(median(&mut windows))
}

/// A row of a figure that is there.
pub(super) fn row_of(
    work: &'static str,
    library: &dyn Library,
    metric: Metric,
    value: Option<f64>,
    floor: Option<f64>,
) -> Option<Row> {
    Some(Row::new(work, library.name(), metric, value?).floor(floor))
}

#[cfg(test)]
mod tests {
    use latchwork::Algorithm;

    use super::*;
    use crate::floor::Floor;
    use crate::ours::Latchwork;
    use crate::works::limiter::PER_SECOND;

    fn both() -> [&'static dyn Library; 2] {
        const { [&Floor::new(), &Latchwork] }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cycle_asks_for_what_it_needs_and_no_more() {
        let stage = Stage::start().unwrap();
        let cycles = [
            Cycle::pair(|session| session.mutex("orders")),
            Cycle::pair(|session| session.permit("calls", 10)),
            Cycle::pair(|session| session.latch("loaded")),
            Cycle::single(|session| session.limiter("gcra", Algorithm::Gcra, PER_SECOND)),
            Cycle::single(|session| session.limiter("window", Algorithm::SlidingWindow, PER_SECOND)),
        ];
        for cycle in cycles {
            for library in both() {
                let asked = requests(&stage, library, cycle.make).await.unwrap();
                assert_eq!(asked, Some(f64::from(cycle.requests)), "{}", library.name());
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_cycle_has_a_latch_of_its_own() {
        let stage = Stage::start().unwrap();
        for library in both() {
            let session = library.connect(&stage.url()).await.unwrap();
            let latch = session.latch("loaded").unwrap().unwrap();
            Arc::clone(&latch).prepare(3).await.unwrap();
            Arc::clone(&latch).cycles(2).await.unwrap();
            Arc::clone(&latch).hold().await.unwrap().release().await.unwrap();
            let error = latch.cycles(1).await.unwrap_err();
            assert_eq!(error.to_string(), crate::contender::NOT_PREPARED);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_limiter_limits() {
        let stage = Stage::start().unwrap();
        for by in [Algorithm::Gcra, Algorithm::SlidingWindow] {
            for library in both() {
                let session = library.connect(&stage.url()).await.unwrap();
                let limiter = session.limiter(&format!("{by:?}"), by, 1).unwrap().unwrap();
                Arc::clone(&limiter).cycles(1).await.unwrap();
                // A hundred more than one a second: somebody is refused, however slow this machine is.
                let refused = limiter.cycles(100).await.is_err();
                assert!(refused, "{} by {by:?}", library.name());
            }
        }
    }
}
