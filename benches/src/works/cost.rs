//! What a turn costs the server: each primitive free, contended, and with thousands in its queue.
//!
//! A turn is an acquisition and its release. Its cost is the time of its scripts and the number of
//! commands that they run.

use std::sync::Arc;

use latchwork::Client;
use tokio::task::JoinSet;

use super::{Bench, Findings, free};
use crate::Result;
use crate::contender::{Held, Lock};
use crate::kinds::Kind;
use crate::row::{Metric, Row};
use crate::sample::{count, median, minimum};
use crate::stage::Stage;
use crate::turns::Waiting;

pub(super) const WORK: &str = "cost";
const CLIENTS: usize = 8;
/// Waiters of one client.
const DEPTH: usize = 5000;

/// The bar of a contended turn, as a multiple of a contended turn of the mutex.
fn limit(kind: &str) -> Option<f64> {
    Some(match kind {
        "rwlock-writers" => 1.05,
        "fair" | "rwlock-one-write-in-ten" | "semaphore-1-of-1" | "semaphore-1-of-3" => 1.1,
        "fair-two-priorities" | "rwlock-upgradable" | "reentrant" | "semaphore-1-to-3-of-5" => 1.4,
        "semaphore-with-a-rate" => 1.5,
        _ => return None,
    })
}

/// The cost of one turn, window by window.
#[derive(Debug, Default)]
pub(super) struct Cost {
    micros: Vec<f64>,
    commands: Vec<f64>,
}

impl Cost {
    /// Adds the cost of `work`, which takes `turns` turns.
    pub(super) async fn note(
        &mut self,
        stage: &Stage,
        turns: usize,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let (scripts, commands) = (stage.scripts()?, stage.commands()?);
        work.await?;
        let turns = count(turns);
        self.micros.push(stage.scripts()?.since(scripts).micros / turns);
        self.commands.push(count(stage.commands()? - commands) / turns);
        Ok(())
    }

    /// Keeps the time of the round that others disturbed least.
    pub(super) fn keep_least(&mut self) {
        self.micros = minimum(&self.micros).into_iter().collect();
    }

    pub(super) fn micros(&mut self) -> Option<f64> {
        median(&mut self.micros)
    }

    pub(super) fn rows(&mut self, what: &str, n: usize) -> Vec<Row> {
        let commands = median(&mut self.commands);
        let row = |metric, value: Option<f64>| {
            Some(Row::new(WORK, format!("latchwork/{what}"), metric, value?).n(n))
        };
        let rows = [
            row(Metric::Server, self.micros()),
            row(Metric::Commands, commands),
        ];
        rows.into_iter().flatten().collect()
    }
}

/// Tasks that take turns, those of each client with handles of their own.
struct Crowd {
    clients: Vec<Client>,
    tasks: usize,
}

impl Crowd {
    async fn connect(stage: &Stage, clients: usize, tasks: usize) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..clients {
            all.push(Client::connect(&stage.url()).await?);
        }
        Ok(Self { clients: all, tasks })
    }

    fn len(&self) -> usize {
        self.clients.len() * self.tasks
    }

    /// Lets each task take `turns` turns.
    async fn take(&self, kind: Kind, name: &str, turns: usize) -> Result<()> {
        let mut tasks = JoinSet::<Result<()>>::new();
        for who in 0..self.len() {
            let client = &self.clients[who % self.clients.len()];
            let lock = kind.lock(client, name, u32::try_from(who)?)?;
            tasks.spawn(async move {
                for _ in 0..turns {
                    Arc::clone(&lock).hold().await?.release().await?;
                }
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    if !bench.has_ours() {
        return Ok(findings);
    }
    free::run(bench, &mut findings).await?;
    contended(bench, &mut findings).await?;
    if !bench.quick {
        crowded(bench, &mut findings).await?;
        deep(&mut findings).await?;
    }
    Ok(findings)
}

/// In turns with the mutex, so that all have the same weather.
async fn contended(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let crowd = Crowd::connect(&stage, CLIENTS, 1).await?;
    let turns = bench.pick(60, 250);
    let mut mutex = Cost::default();
    for kind in Kind::ALL {
        let mut cost = Cost::default();
        for _ in 0..5 {
            for (kind, cost) in [(Kind::MUTEX, &mut mutex), (kind, &mut cost)] {
                let taken = crowd.take(kind, kind.name, turns);
                cost.note(&stage, turns * crowd.len(), taken).await?;
            }
        }
        let floor = median(&mut mutex.micros.split_off(mutex.micros.len() - 5));
        let rows = cost.rows(&format!("{}/contended", kind.name), CLIENTS);
        findings
            .rows
            .extend(rows.into_iter().map(|row| match (row.metric, limit(kind.name)) {
                (Metric::Server, Some(limit)) => row.floor(floor).limit(limit),
                _ => row,
            }));
    }
    Ok(())
}

/// Many tasks of each client: the queue is long, and most hand-offs stay within a client.
async fn crowded(bench: &Bench, findings: &mut Findings) -> Result<()> {
    for kind in Kind::ALL {
        let stage = Stage::start()?;
        let mut floor = None;
        for tasks in [1, 64, 400] {
            let crowd = Crowd::connect(&stage, CLIENTS, tasks).await?;
            let turns = (bench.pick(500, 4000) / crowd.len()).max(2);
            let mut cost = Cost::default();
            for _ in 0..3 {
                let taken = crowd.take(kind, kind.name, turns);
                cost.note(&stage, turns * crowd.len(), taken).await?;
            }
            if tasks == 1 {
                floor = cost.micros();
                continue;
            }
            let rows = cost.rows(&format!("{}/crowded", kind.name), crowd.len());
            findings.rows.extend(rows.into_iter().map(|row| match row.metric {
                Metric::Server => row.floor(floor).limit(1.3),
                _ => row,
            }));
        }
    }
    Ok(())
}

/// Thousands come, while somebody has everything, and are served one after the other.
async fn deep(findings: &mut Findings) -> Result<()> {
    for kind in Kind::ALL {
        let stage = Stage::start()?;
        let client = Client::connect(&stage.url()).await?;
        let holder = kind.whole(&client, kind.name)?.hold().await?;
        let lock = |who: usize| kind.lock(&client, kind.name, u32::try_from(who)?);
        let mut waiting = Waiting::new();
        let mut waiters = JoinSet::<Option<Held>>::new();
        let locks: Vec<Arc<dyn Lock>> = (0..DEPTH).map(lock).collect::<Result<_>>()?;
        let (mut join, mut serve) = (Cost::default(), Cost::default());
        let come = async {
            for lock in locks {
                waiters.spawn(waiting.join(lock));
            }
            waiting.joined(DEPTH).await
        };
        join.note(&stage, DEPTH, come).await?;
        let go = async {
            holder.release().await?;
            while let Some(held) = waiters.join_next().await {
                held?.ok_or("a waiter failed")?.release().await?;
            }
            Ok(())
        };
        serve.note(&stage, DEPTH, go).await?;
        findings
            .rows
            .extend(join.rows(&format!("{}/join", kind.name), DEPTH));
        findings
            .rows
            .extend(serve.rows(&format!("{}/serve", kind.name), DEPTH));
    }
    Ok(())
}
