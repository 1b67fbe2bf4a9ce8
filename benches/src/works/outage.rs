//! Calls of every kind while the server is away: what they cost, and what is left of them.

use std::fs;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use latchwork::{Client, CountdownLatch, Mutex, Rate, RateLimiter, RwLock, Semaphore};
use latchwork_testkit::Proxy;
use tokio::task::JoinSet;

use super::renewal::client_cpu_micros;
use super::{Bench, Findings};
use crate::Result;
use crate::row::{Metric, Row};
use crate::sample::count;
use crate::stage::Stage;

/// Calls per second.
const RATE: u32 = 1000;
/// The calls that begin together.
const GROUP: u32 = 10;
/// The time that each call has.
const PATIENCE: Duration = Duration::from_millis(20);
/// The names that they are about.
const NAMES: u32 = 100;
/// Less than this share of a core is nothing.
const NOTHING: f64 = 0.02;

/// The handles of one name.
struct Handles {
    mutex: Mutex,
    rwlock: RwLock,
    semaphore: Semaphore,
    limiter: RateLimiter,
    latch: CountdownLatch,
}

impl Handles {
    fn new(client: &Client, number: u32) -> Result<Self> {
        let name = |kind: &str| format!("{kind}-{number}");
        let many = NonZeroU32::new(1_000_000).ok_or("not zero")?;
        let rate = Rate::per_second(many).burst(many);
        Ok(Self {
            mutex: Mutex::new(client, name("mutex"))?,
            rwlock: RwLock::new(client, name("rwlock"))?,
            semaphore: Semaphore::new(client, name("semaphore"), 1000)?,
            limiter: RateLimiter::new(client, name("limiter"), rate)?,
            latch: CountdownLatch::new(client, name("latch"), 1)?,
        })
    }

    /// One call; whether it was served.
    async fn call(&self, kind: u32) -> bool {
        match kind % 5 {
            0 => self.mutex.try_lock_for(PATIENCE).await.is_ok(),
            1 => self.rwlock.try_read_for(PATIENCE).await.is_ok(),
            2 => self.semaphore.try_acquire_for(PATIENCE).await.is_ok(),
            3 => self.limiter.acquire_for(PATIENCE).await.is_ok(),
            _ => self.latch.try_wait_for(PATIENCE).await.is_ok(),
        }
    }
}

/// Calls for this long. Returns how many there were, and how many were served.
async fn calls(handles: &[Arc<Handles>], time: Duration) -> Result<(u32, u32)> {
    let mut pause = tokio::time::interval(Duration::from_secs(1) * GROUP / RATE);
    let (over, mut tasks, mut made, mut served) = (Instant::now() + time, JoinSet::new(), 0, 0);
    while Instant::now() < over {
        pause.tick().await;
        for _ in 0..GROUP {
            let at = usize::try_from(made % NAMES)?;
            let (handles, kind) = (Arc::clone(&handles[at]), made / NAMES);
            tasks.spawn(async move { handles.call(kind).await });
            made += 1;
        }
        while let Some(done) = tasks.try_join_next() {
            served += u32::from(done?);
        }
    }
    while let Some(done) = tasks.join_next().await {
        served += u32::from(done?);
    }
    Ok((made, served))
}

/// The memory of this process, KiB. Linux only.
fn resident_kib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How long it takes until next to no processor time is used any longer.
async fn until_idle() -> Duration {
    let (start, step) = (Instant::now(), Duration::from_millis(100));
    let (mut idle_since, mut before) = (start, client_cpu_micros());
    while start.elapsed() < Duration::from_secs(10) && idle_since.elapsed() < step * 5 {
        tokio::time::sleep(step).await;
        let now = client_cpu_micros();
        let spent = now.zip(before).map_or(0.0, |(now, before)| now - before);
        if spent > step.as_secs_f64() * 1e6 * NOTHING {
            idle_since = Instant::now();
        }
        before = now;
    }
    idle_since - start
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    if bench.has_ours() {
        for (by, lease) in [("latchwork", 10), ("latchwork/lease-of-an-hour", 3600)] {
            outage(bench, (by, Duration::from_secs(lease)), &mut findings).await?;
        }
    }
    Ok(findings)
}

async fn outage(bench: &Bench, (by, lease): (&str, Duration), findings: &mut Findings) -> Result<()> {
    let outage = Duration::from_secs(if bench.quick { 10 } else { 60 });
    let stage = Stage::start()?;
    let proxy: Proxy = stage.proxy()?;
    let client = Client::builder().url(proxy.url()).lease(lease).connect().await?;
    let handles = (0..NAMES).map(|number| Handles::new(&client, number).map(Arc::new));
    let handles = handles.collect::<Result<Vec<_>>>()?;

    calls(&handles, Duration::from_secs(1)).await?;
    let before = client_cpu_micros();
    let (served_calls, served) = calls(&handles, outage / 6).await?;
    let served_cpu = client_cpu_micros().zip(before).map(|(now, before)| now - before);
    // On a busy machine some come too late, but most are what they are compared with.
    if served * 2 < served_calls {
        return Err(format!("{served} of {served_calls} were served").into());
    }

    proxy.refuse(true);
    proxy.cut();
    calls(&handles, outage / 6).await?; // what grows to its size at first
    let (before, memory) = (client_cpu_micros(), resident_kib());
    let (away_calls, _) = calls(&handles, outage * 5 / 6).await?;
    let cpu = client_cpu_micros().zip(before).map(|(now, before)| now - before);
    let growth = resident_kib()
        .zip(memory)
        .map(|(now, before)| (now - before).max(0.0));
    let table = client.live();
    let idle = until_idle().await;

    proxy.reset_counts();
    proxy.refuse(false);
    let start = Instant::now();
    let lock = Mutex::new(&client, "recovery")?;
    let recovery = loop {
        match lock.lock().await {
            Ok(guard) => {
                let recovery = start.elapsed();
                guard.unlock().await?;
                break recovery;
            }
            Err(error) if start.elapsed() > Duration::from_secs(30) => return Err(error.into()),
            Err(_) => {}
        }
    };
    while client.live() > 0 && start.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (undone, requests) = (start.elapsed(), proxy.requests());

    let number = usize::try_from(away_calls)?;
    let row = |metric, value| Row::new("outage", by, metric, value).n(number);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    if let (Some(served), Some(away)) = (served_cpu, cpu) {
        let (served, away) = (served / count(served_calls), away / count(away_calls));
        let row = row(Metric::PerCall, away).floor(Some(served));
        findings.rows.push(row.limit(1.0));
    }
    if let Some(growth) = growth {
        findings.rows.push(row(Metric::Growth, growth).limit(2048.0));
    }
    // What was under way when the connection was cut: no more than a second's calls.
    findings
        .rows
        .push(row(Metric::Table, count(table)).limit(f64::from(RATE)));
    findings.rows.push(row(Metric::Idle, millis(idle)).limit(2000.0));
    findings
        .rows
        .push(row(Metric::Recovery, millis(recovery)).limit(2000.0));
    findings.notes.push(format!(
        "outage: {by}: everything was undone {undone:.1?} after the server's return, with {requests} requests",
    ));
    Ok(())
}
