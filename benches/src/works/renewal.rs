//! Ten thousand guards of one client: what their renewal costs server and client.

use std::fs;
use std::time::{Duration, Instant};

use latchwork::{Client, Mutex, MutexGuard};

use super::{Bench, Findings};
use crate::Result;
use crate::row::{Metric, Row};
use crate::sample::{count, median};
use crate::stage::Stage;

const GUARDS: usize = 10_000;
/// Locks taken at a time.
const BATCH: usize = 100;
/// The default lease; a round of renewals is a third of it.
const LEASE: Duration = Duration::from_secs(10);
/// 5 % of a core.
const SHARE: f64 = 0.05;

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    if !bench.has_ours() {
        return Ok(Findings::default());
    }
    let stage = Stage::start()?;
    let proxy = stage.proxy()?;
    let client = Client::builder().url(proxy.url()).lease(LEASE).connect().await?;
    let mut guards = Vec::with_capacity(GUARDS);
    for batch in 0..GUARDS / BATCH {
        let locks = (0..BATCH).map(|at| {
            let mutex = Mutex::new(&client, format!("orders-{}", batch * BATCH + at));
            async { mutex?.lock().await }
        });
        guards.extend(futures_util::future::try_join_all(locks).await?);
    }
    // Taking them spread the first round; a whole one goes by before anything is counted.
    tokio::time::sleep(LEASE / 3).await;

    let asked = || proxy.request_names().get("EVALSHA").copied().unwrap_or(0);
    let rounds = bench.pick(3, 9);
    let mut watched = Watched::start(&guards);
    let (before, mut cpu) = (asked(), Vec::new());
    for _ in 0..rounds {
        let (from, until) = (client_cpu_micros(), Instant::now() + LEASE / 3);
        while Instant::now() < until {
            tokio::time::sleep(LEASE / 100).await;
            watched.look(&guards);
        }
        if let (Some(from), Some(to)) = (from, client_cpu_micros()) {
            cpu.push(to - from);
        }
    }
    let sent = asked() - before;
    if let Some(lost) = guards.iter().position(|guard| guard.is_lost()) {
        return Err(format!("guard {lost} was lost").into());
    }
    drop((guards, proxy));
    let per_guard = watched.renewals();
    let mut findings = Findings::default();
    let row = |metric, value| Row::new("renewal", "latchwork", metric, value).n(GUARDS);
    // Per 100 guards and round.
    let requests = count(sent) / (count(GUARDS) / 100.0 * per_guard);
    findings.rows.push(row(Metric::Requests, requests).limit(1.0));
    let round = (LEASE / 3).as_secs_f64();
    if let Some(spent) = median(&mut cpu) {
        findings
            .rows
            .push(row(Metric::P50, spent).limit((round * 1e6 * SHARE).round()));
        findings.notes.push(format!(
            "renewal: p50_us is the client's processor time in a round of {round:.2} s: {:.1} % of a core; {per_guard:.2} renewals of \
             each guard in {rounds} rounds",
            spent / round / 1e4
        ));
    } else {
        findings
            .notes
            .push("renewal: the processor time of threads is known on Linux only: left out".to_owned());
    }
    Ok(findings)
}

/// Every hundredth guard, looked at so often that no renewal is missed: each makes it valid for longer again.
struct Watched {
    left: Vec<Duration>,
    renewals: u64,
}

impl Watched {
    fn sample(guards: &[MutexGuard]) -> Vec<Duration> {
        guards
            .iter()
            .step_by(100)
            .map(|guard| guard.valid_for())
            .collect()
    }

    fn start(guards: &[MutexGuard]) -> Self {
        Self {
            left: Self::sample(guards),
            renewals: 0,
        }
    }

    fn look(&mut self, guards: &[MutexGuard]) {
        let now = Self::sample(guards);
        self.renewals += self
            .left
            .iter()
            .zip(&now)
            .filter(|(before, now)| now > before)
            .count() as u64;
        self.left = now;
    }

    /// How often each was renewed.
    fn renewals(&self) -> f64 {
        count(self.renewals) / count(self.left.len())
    }
}

/// What this process has used, without the proxy's threads, microseconds. Linux only.
pub(super) fn client_cpu_micros() -> Option<f64> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let path = task.path();
        // A thread may end while it is looked at.
        let (Ok(name), Ok(stat)) = (
            fs::read_to_string(path.join("comm")),
            fs::read_to_string(path.join("schedstat")),
        ) else {
            continue;
        };
        if !name.starts_with("proxy") {
            nanos += stat.split_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    Some(count(nanos) / 1000.0)
}
