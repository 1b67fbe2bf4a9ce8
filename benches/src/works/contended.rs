//! Eight clients of eight tasks, which do nothing but take turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchwork_testkit::Proxy;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Bench, Findings};
use crate::Result;
use crate::contender::{Library, Session};
use crate::row::{Metric, Row};
use crate::sample::{count, median, micros, quantile};
use crate::stage::Stage;
use crate::turns::{Turn, Turns, inversions, watch};

const CLIENTS: usize = 8;
const TASKS: usize = 8;
/// A lock that lets waiters starve may take forever.
const LIMIT: Duration = Duration::from_secs(60);

/// What one window has shown.
struct Window {
    turns: Vec<Turn>,
    took: Duration,
}

async fn connect(library: &dyn Library, urls: &[String]) -> Result<Vec<Box<dyn Session>>> {
    let mut sessions = Vec::new();
    for url in urls {
        sessions.push(library.connect(url).await?);
    }
    Ok(sessions)
}

/// Everybody locks `turns` times. `None`: this library has no mutex.
async fn window(sessions: &[Box<dyn Session>], turns: usize) -> Result<Option<Window>> {
    let (log, barrier) = (
        Arc::new(Turns::default()),
        Arc::new(Barrier::new(CLIENTS * TASKS)),
    );
    let start = Instant::now();
    let mut tasks = JoinSet::<Result<()>>::new();
    for session in sessions {
        for _ in 0..TASKS {
            let Some(lock) = session.mutex("orders")? else {
                return Ok(None);
            };
            let (log, barrier) = (Arc::clone(&log), Arc::clone(&barrier));
            tasks.spawn(async move {
                barrier.wait().await;
                for _ in 0..turns {
                    let (held, turn) = watch(Arc::clone(&lock).hold(), || ()).await;
                    let held = held?;
                    log.note(turn);
                    held.release().await?;
                }
                Ok(())
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let (turns, took) = (log.take(), start.elapsed());
    Ok(Some(Window { turns, took }))
}

/// Requests and messages per acquisition, counted at the sockets, and how often somebody was overtaken.
async fn counted(library: &dyn Library, turns: usize) -> Result<Option<(f64, f64, usize)>> {
    let stage = Stage::start()?;
    let proxies = (0..CLIENTS).map(|_| stage.proxy()).collect::<Result<Vec<_>>>()?;
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let sessions = connect(library, &urls).await?;
    tokio::time::sleep(Duration::from_millis(50)).await; // what a client does once after connecting
    let requests = || proxies.iter().map(Proxy::requests).sum::<u64>();
    let (connected, published) = (requests(), stage.calls_of("publish")?);
    let Some(window) = window(&sessions, turns).await? else {
        return Ok(None);
    };
    let acquisitions = count(window.turns.len());
    let (sent, messages) = (requests() - connected, stage.calls_of("publish")? - published);
    Ok(Some((
        count(sent) / acquisitions,
        count(messages) / acquisitions,
        inversions(&window.turns),
    )))
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    for library in bench
        .contenders
        .iter()
        .filter(|library| library.name() != bench.floor.name())
    {
        let measured = tokio::time::timeout(LIMIT, one(bench, &**library, &mut findings)).await;
        let result = match measured {
            Ok(result) => result,
            Err(_) => Err(format!("it did not finish within {} s", LIMIT.as_secs()).into()),
        };
        findings.excuse("contended", &**library, result)?;
    }
    Ok(findings)
}

async fn one(bench: &Bench, library: &dyn Library, findings: &mut Findings) -> Result<()> {
    // Those that poll take long over a turn: with them fewer tell enough.
    let (windows, turns) = match bench.contenders.len() {
        1 => (bench.pick(5, 9), bench.pick(20, 40)),
        _ => (2, bench.pick(4, 20)),
    };
    let (mut requests, mut messages, mut rates, mut waits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut overtaken, mut seen) = (0, false);
    for _ in 0..windows {
        let Some((sent, published, inverted)) = counted(library, turns).await? else {
            return Ok(());
        };
        requests.push(sent);
        messages.push(published);
        overtaken += inverted;
        // Times are taken without the proxies.
        let stage = Stage::start()?;
        let sessions = connect(library, &vec![stage.url(); CLIENTS]).await?;
        let Some(window) = window(&sessions, turns).await? else {
            return Ok(());
        };
        overtaken += inversions(&window.turns);
        // One that asks from a task of its own is never seen to wait: then nothing is known of its order.
        seen |= window.turns.iter().any(|turn| turn.waiting.is_some());
        rates.push(count(window.turns.len()) / window.took.as_secs_f64());
        waits.extend(window.turns.iter().map(|turn| micros(turn.wait())));
    }
    let (name, ours, n) = (library.name(), library.is_ours(), CLIENTS * TASKS);
    let row = |metric, value: Option<f64>| value.map(|value| Row::new("contended", name, metric, value).n(n));
    let longest = quantile(&mut waits, 1.0);
    let rows = [
        row(Metric::Requests, median(&mut requests)).map(|row| row.limit_if(ours, 2.0)),
        row(Metric::Messages, median(&mut messages)).map(|row| row.limit_if(ours, 1.0)),
        row(Metric::Inversions, seen.then(|| count(overtaken))).map(|row| row.limit_if(ours, 0.0)),
        row(Metric::PerSecond, median(&mut rates)),
        row(Metric::P50, median(&mut waits)),
        row(Metric::P99, quantile(&mut waits, 0.99)),
    ];
    findings.rows.extend(rows.into_iter().flatten());
    if let Some(longest) = longest {
        findings.notes.push(format!(
            "contended: longest wait with {name}: {:.1} ms",
            longest / 1000.0
        ));
    }
    Ok(())
}
