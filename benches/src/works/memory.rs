//! Bytes: in Redis for each thing that is kept there, in the client for each guard.

use std::process::Command;
use std::sync::Arc;

use latchwork::Algorithm;
use tokio::task::JoinSet;

use super::limiter::PER_SECOND;
use super::{Bench, Findings};
use crate::Result;
use crate::contender::Library;
use crate::ours::Latchwork;
use crate::row::{Metric, Row};
use crate::sample::count;
use crate::stage::Stage;
use crate::turns::Waiting;

const WAITERS: usize = 5000;
const PERMITS: u32 = 1000;
/// The program that counts allocations, beside this one.
const HEAP: &str = "latchwork-bench-heap";

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    for library in bench
        .contenders
        .iter()
        .filter(|library| library.name() != bench.floor.name())
    {
        let result = held(&**library, &mut findings).await;
        findings.excuse("memory", &**library, result)?;
    }
    if bench.has_ours() {
        waiters(&mut findings).await?;
        permits(&mut findings).await?;
        limiters(&mut findings).await?;
        guards(&mut findings)?;
    }
    Ok(findings)
}

fn row(of: &str, bytes: f64) -> Row {
    Row::new("memory", of, Metric::Bytes, bytes)
}

/// All keys with this in their names, together.
fn usage(stage: &Stage, name: &str) -> Result<u64> {
    let mut sum = 0;
    for key in stage.server.keys("")?.iter().filter(|key| key.contains(name)) {
        let reply = stage.server.admin(&["MEMORY", "USAGE", key, "SAMPLES", "0"])?;
        sum += reply
            .int()
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(0);
    }
    Ok(sum)
}

async fn held(library: &dyn Library, findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let session = library.connect(&stage.url()).await?;
    let Some(lock) = session.mutex("orders")? else {
        return Ok(());
    };
    let (name, ours) = (library.name(), library.is_ours());
    let held = lock.hold().await?;
    let bytes = count(usage(&stage, "orders")?);
    findings
        .rows
        .push(row(&format!("{name}/held"), bytes).limit_if(ours, 160.0));
    held.release().await?;
    let bytes = count(usage(&stage, "orders")?);
    findings
        .rows
        .push(row(&format!("{name}/released"), bytes).limit_if(ours, 110.0));
    Ok(())
}

async fn waiters(findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let session = Latchwork.connect(&stage.url()).await?;
    let lock = session.mutex("orders")?.ok_or("there is no mutex")?;
    let _held = Arc::clone(&lock).hold().await?;
    let alone = usage(&stage, "orders")?;
    let (mut waiters, mut waiting) = (JoinSet::new(), Waiting::new());
    for _ in 0..WAITERS {
        waiters.spawn(waiting.join(Arc::clone(&lock)));
    }
    waiting.joined(WAITERS).await?;
    let each = count(usage(&stage, "orders")?.saturating_sub(alone)) / count(WAITERS);
    findings
        .rows
        .push(row("latchwork/waiter", each).n(WAITERS).limit(145.0));
    Ok(())
}

async fn permits(findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let session = Latchwork.connect(&stage.url()).await?;
    let lock = session.permit("calls", PERMITS)?.ok_or("there is no semaphore")?;
    let mut held = Vec::new();
    for _ in 0..PERMITS {
        held.push(Arc::clone(&lock).hold().await?);
    }
    let each = count(usage(&stage, "calls")?) / f64::from(PERMITS);
    findings
        .rows
        .push(row("latchwork/permit", each).n(held.len()).limit(145.0));
    Ok(())
}

async fn limiters(findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let session = Latchwork.connect(&stage.url()).await?;
    for (name, by, limit) in [
        ("gcra", Algorithm::Gcra, 200.0),
        ("window", Algorithm::SlidingWindow, 1024.0),
    ] {
        let limiter = session.limiter(name, by, PER_SECOND)?;
        limiter.ok_or("there is no limiter")?.cycles(10).await?;
        let bytes = count(usage(&stage, name)?);
        findings
            .rows
            .push(row(&format!("latchwork/{name}"), bytes).limit(limit));
    }
    Ok(())
}

/// In a program of its own: counting every allocation would slow down what is timed here.
fn guards(findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let program = std::env::current_exe()?.with_file_name(HEAP);
    if !program.exists() {
        findings.notes.push(format!(
            "memory: {HEAP} is not built: bytes per guard are left out"
        ));
        return Ok(());
    }
    let output = Command::new(program).arg(stage.url()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["guard", number, bytes] => {
                let row = row("latchwork/guard", bytes.parse()?).n(number.parse()?);
                findings.rows.push(row.limit(1024.0));
            }
            _ => findings.notes.push(format!("memory: {line}")),
        }
    }
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{HEAP}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
