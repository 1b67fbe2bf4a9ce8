//! Many tasks, each on a name of its own, through one client: how deep pipelines fare.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Bench, Findings};
use crate::Result;
use crate::contender::{Library, Lock, Session};
use crate::row::{Metric, Row};
use crate::sample::{count, median, minimum};
use crate::stage::Stage;

/// Cycles of all tasks together in a window of 20 to 100 ms: short, so that a window is either disturbed or not.
const WINDOW: usize = 4096;
/// One task has no pipeline to be deep in.
const ALONE: usize = 256;

/// One client with its locks.
struct Crowd {
    locks: Vec<Arc<dyn Lock>>,
    _session: Arc<dyn Session>,
    per_second: Vec<f64>,
    /// The server's whole time per cycle, system calls included.
    server: Vec<f64>,
}

impl Crowd {
    async fn gather(stage: &Stage, library: &dyn Library, tasks: usize) -> Result<Option<Self>> {
        let session: Arc<dyn Session> = library.connect(&stage.url()).await?.into();
        let mut locks = Vec::new();
        for task in 0..tasks {
            match session.mutex(&format!("orders-{task}"))? {
                Some(lock) => locks.push(lock),
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            locks,
            _session: session,
            per_second: Vec::new(),
            server: Vec::new(),
        }))
    }

    async fn window(&mut self, stage: &Stage) -> Result<()> {
        let each = (WINDOW / self.locks.len()).clamp(8, ALONE);
        let cycles = count(each * self.locks.len());
        let cpu = stage.cpu_micros()?;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for lock in &self.locks {
            tasks.spawn(Arc::clone(lock).cycles(each));
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let took = start.elapsed();
        self.per_second.push(cycles / took.as_secs_f64());
        self.server.push((stage.cpu_micros()? - cpu) / cycles);
        Ok(())
    }
}

pub(super) async fn run(bench: &Bench, work: &'static str, tasks: usize) -> Result<Findings> {
    let limit = match tasks {
        1 => 0.90,
        64 => 0.75,
        _ => 0.60,
    };
    let stage = Stage::start()?;
    let Some(mut floor) = Crowd::gather(&stage, &*bench.floor, tasks).await? else {
        return Err("the floor has no mutex".into());
    };
    let mut crowds = Vec::new();
    for library in &bench.contenders {
        if let Some(crowd) = Crowd::gather(&stage, &**library, tasks).await? {
            crowds.push((library, crowd));
        }
    }
    let rounds = if tasks == 1 {
        bench.rounds(50, 300)
    } else {
        bench.rounds(30, 160)
    };
    for round in 0..=rounds {
        if round % 2 == 0 {
            floor.window(&stage).await?;
            for (_, crowd) in &mut crowds {
                crowd.window(&stage).await?;
            }
        } else {
            for (_, crowd) in crowds.iter_mut().rev() {
                crowd.window(&stage).await?;
            }
            floor.window(&stage).await?;
        }
        if round == 0 {
            // The first was to get warm.
            for crowd in crowds.iter_mut().map(|(_, crowd)| crowd).chain([&mut floor]) {
                crowd.per_second.clear();
                crowd.server.clear();
            }
        }
    }
    let (rate, server) = (median(&mut floor.per_second), minimum(&floor.server));
    let mut findings = Findings::default();
    for (library, mut crowd) in crowds {
        let name = library.name();
        if let Some(value) = median(&mut crowd.per_second) {
            let row = Row::new(work, name, Metric::PerSecond, value)
                .n(tasks)
                .floor(rate);
            findings.rows.push(row.limit_if(library.is_ours(), limit));
        }
        if let Some(value) = minimum(&crowd.server) {
            findings
                .rows
                .push(Row::new(work, name, Metric::Server, value).n(tasks).floor(server));
        }
    }
    Ok(findings)
}
