//! What a hand-off costs the server when the queue is long.
//!
//! One hand-off at a time: a waiter is added, then the server's statistics are read before and after the release alone.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Bench, Findings};
use crate::Result;
use crate::contender::{Held, Library, Lock, Session};
use crate::ours::Latchwork;
use crate::row::{Metric, Row};
use crate::sample::{count, minimum};
use crate::stage::Stage;
use crate::turns::Waiting;

/// How many wait, and how many times the cost with one waiter is good enough.
const DEPTHS: [(usize, Option<f64>); 4] = [(1, None), (100, Some(1.7)), (1000, None), (5000, Some(1.2))];
const SAMPLES: usize = 50;

/// A lock that is held, with a queue of which one place is free.
struct Queue {
    lock: Arc<dyn Lock>,
    held: Option<Held>,
    waiting: Waiting,
    /// Each ends with what it was granted.
    waiters: JoinSet<Option<Held>>,
    means: Vec<f64>,
}

impl Queue {
    async fn fill(session: &dyn Session, depth: usize) -> Result<Self> {
        let lock = session
            .mutex(&format!("queue-{depth}"))?
            .ok_or("there is no mutex")?;
        let mut queue = Self {
            held: Some(Arc::clone(&lock).hold().await?),
            lock,
            waiting: Waiting::new(),
            waiters: JoinSet::new(),
            means: Vec::new(),
        };
        for _ in 1..depth {
            queue.join();
        }
        queue.waiting.joined(depth - 1).await?;
        Ok(queue)
    }

    fn join(&mut self) {
        self.waiters.spawn(self.waiting.join(Arc::clone(&self.lock)));
    }

    /// The mean of `SAMPLES` hand-offs.
    async fn window(&mut self, stage: &Stage) -> Result<()> {
        let (mut micros, mut samples) = (0.0, 0);
        while samples < SAMPLES {
            self.join();
            self.waiting.joined(1).await?;
            let held = self.held.take().ok_or("nobody holds")?;
            let before = stage.scripts()?;
            held.release().await?;
            self.held = self.waiters.join_next().await.ok_or("nobody waited")??;
            let spent = stage.scripts()?.since(before);
            // Anything else that ran meanwhile, such as a tick, is not what is asked for.
            if spent.calls == 1 {
                micros += spent.micros;
                samples += 1;
            }
        }
        self.means.push(micros / count(samples));
        Ok(())
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    if !bench.has_ours() {
        return Ok(Findings::default());
    }
    let stage = Stage::start()?;
    let session = Latchwork.connect(&stage.url()).await?;
    let mut queues = Vec::new();
    for (depth, _) in DEPTHS {
        queues.push(Queue::fill(&*session, depth).await?);
    }
    for _ in 0..bench.pick(20, 60) {
        for queue in &mut queues {
            queue.window(&stage).await?;
        }
    }
    let alone = queues.first().and_then(|queue| minimum(&queue.means));
    let mut findings = Findings::default();
    for ((depth, limit), queue) in DEPTHS.into_iter().zip(&queues) {
        if let Some(value) = minimum(&queue.means) {
            let row = Row::new("deep-queue", Latchwork.name(), Metric::Server, value).n(depth);
            let row = row.floor(alone.filter(|_| depth > 1));
            findings.rows.push(match limit {
                Some(limit) => row.limit(limit),
                None => row,
            });
        }
    }
    Ok(findings)
}
