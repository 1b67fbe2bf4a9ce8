//! Lanes: locks that are measured side by side, in rounds that alternate.

use std::sync::Arc;
use std::time::Duration;

use super::in_task;
use crate::Result;
use crate::contender::{Library, Lock, Session};
use crate::row::{Metric, Row};
use crate::sample::{count, median, micros, minimum, quantile};
use crate::stage::Stage;

/// How a work makes its lock: `None` if this library has no such thing.
pub(super) type Make = fn(&dyn Session) -> Result<Option<Arc<dyn Lock>>>;

/// One lock, and what was found about it.
pub(super) struct Lane {
    lock: Arc<dyn Lock>,
    _session: Arc<dyn Session>,
    laps: Vec<f64>,
    /// Script time per cycle, of each round in which scripts were all there was.
    server: Vec<f64>,
}

impl Lane {
    /// A lock of a client of its own; `None` if the library has no such thing.
    pub(super) async fn open(stage: &Stage, library: &dyn Library, make: Make) -> Result<Option<Self>> {
        let session: Arc<dyn Session> = library.connect(&stage.url()).await?.into();
        let lock = make(&*session)?;
        Ok(lock.map(|lock| Self {
            lock,
            _session: session,
            laps: Vec::new(),
            server: Vec::new(),
        }))
    }

    async fn round(&mut self, stage: &Stage, cycles: usize) -> Result<()> {
        let before = stage.scripts()?;
        let laps = in_task(Arc::clone(&self.lock).cycles(cycles)).await?;
        let spent = stage.scripts()?.since(before);
        self.laps.extend(laps.into_iter().map(micros));
        // What sends plain commands, too, is not seen whole here.
        if spent.calls >= 2 * cycles as u64 {
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

/// Rounds of `cycles` cycles on each lane in turn, forwards and backwards, so that none has a place of its own in the
/// machine's moods.
pub(super) async fn alternate(
    stage: &Stage,
    lanes: &mut [&mut Lane],
    rounds: usize,
    cycles: usize,
) -> Result<()> {
    for lane in &mut *lanes {
        in_task(Arc::clone(&lane.lock).cycles(cycles)).await?; // warm: scripts, connections, caches
    }
    for round in 0..rounds {
        if round % 2 == 0 {
            for lane in &mut *lanes {
                lane.round(stage, cycles).await?;
            }
        } else {
            for lane in lanes.iter_mut().rev() {
                lane.round(stage, cycles).await?;
            }
        }
    }
    Ok(())
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
    in_task(Arc::clone(&lock).cycles(CYCLES)).await?;
    tokio::time::sleep(Duration::from_millis(50)).await; // what a client does once after connecting
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
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
