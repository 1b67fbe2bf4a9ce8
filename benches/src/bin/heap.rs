//! Counts what is allocated: bytes that a guard keeps, allocations of a cycle of lock and unlock, next to the bare
//! scripts. A program of its own, because counting slows down; `latchwork-bench` runs it and reads what it prints.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::alloc::System;
use std::sync::Arc;

use latchwork_benches::Result;
use latchwork_benches::contender::{Library, Session};
use latchwork_benches::floor::Floor;
use latchwork_benches::ours::Latchwork;
use latchwork_benches::sample::count;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const GUARDS: usize = 10_000;
const CYCLES: usize = 2000;

fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or("the URL of a server is missing")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        println!("guard {GUARDS} {:.0}", guards(&url).await?);
        let floor = Floor::new().connect(&url).await?;
        let ours = Latchwork.connect(&url).await?;
        for (name, session) in [("floor", floor), ("latchwork", ours)] {
            let (allocations, bytes) = cycle(&*session).await?;
            println!("a cycle of {name} makes {allocations:.1} allocations of {bytes:.0} bytes together");
        }
        Ok(())
    })
}

/// What stays allocated for each guard: the handle is the caller's, so it is counted too.
async fn guards(url: &str) -> Result<f64> {
    let client = latchwork::Client::connect(url).await?;
    let lock = async |at: usize| {
        latchwork::Mutex::new(&client, format!("orders-{at}"))?
            .lock()
            .await
    };
    // Tables double; what was there for others is not of these guards.
    let mut guards = Vec::with_capacity(GUARDS);
    drop(lock(GUARDS).await?);
    let region = Region::new(COUNTING);
    for at in 0..GUARDS {
        guards.push(lock(at).await?);
    }
    let change = region.change();
    let kept = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    let inline = guards.len() * size_of::<latchwork::MutexGuard>();
    Ok(count(kept + inline) / count(guards.len()))
}

async fn cycle(session: &dyn Session) -> Result<(f64, f64)> {
    let lock = session.mutex("orders")?.ok_or("there is no mutex")?;
    Arc::clone(&lock).cycles(CYCLES).await?;
    let region = Region::new(COUNTING);
    lock.cycles(CYCLES).await?;
    let change = region.change();
    Ok((
        count(change.allocations + change.reallocations) / count(CYCLES),
        count(change.bytes_allocated) / count(CYCLES),
    ))
}
