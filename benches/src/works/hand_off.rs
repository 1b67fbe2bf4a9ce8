//! From one client's release to the other's hold, against a bare message from one client to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Cmd;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Bench, Findings, in_task};
use crate::Result;
use crate::contender::{Held, Library, Lock, Session};
use crate::floor::{connect, next_message, subscribe};
use crate::row::{Metric, Row};
use crate::sample::{median, micros, quantile};
use crate::stage::Stage;
use crate::turns::watch;

const P50: f64 = 1.25;
const ENOUGH: Duration = Duration::from_millis(300);
const CHANNEL: &str = "floor:channel";
/// About as long as a grant's.
const MESSAGE: &str = "g 1:1:10000:1000 1700000000000000 1700000000000000 1000";
/// Hand-offs in a row.
const EACH: usize = 5;
/// Nobody takes longer for these, unless it waits for a lease to end.
const LIMIT: Duration = Duration::from_secs(20);

/// A and B, clients of one library.
#[derive(Clone)]
struct Two {
    ours: bool,
    turn: Arc<AtomicU64>,
    a: Arc<dyn Lock>,
    b: Arc<dyn Lock>,
    _sessions: Arc<[Box<dyn Session>; 2]>,
}

impl Two {
    async fn meet(stage: &Stage, library: &dyn Library) -> Result<Option<Self>> {
        let sessions = [
            library.connect(&stage.url()).await?,
            library.connect(&stage.url()).await?,
        ];
        let (Some(a), Some(b)) = (sessions[0].mutex("orders")?, sessions[1].mutex("orders")?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            ours: library.is_ours(),
            turn: Arc::default(),
            a,
            b,
            _sessions: Arc::new(sessions),
        }))
    }

    /// One hand-off: from before A's release to when B's task goes on.
    async fn hand_off(&self) -> Result<Duration> {
        let held = Arc::clone(&self.a).hold().await?;
        let (waits, waiting) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let b = Arc::clone(&self.b);
        tasks.spawn(async move {
            let (held, turn) = watch(b.hold(), || waits.send(())).await;
            held.map(|held: Held| (held, turn))
        });
        if self.ours && waiting.await.is_err() {
            return Err("B did not have to wait".into());
        }
        if !self.ours {
            // Not all are seen to wait from outside, so B gets the time to. The pause differs each time, or it would hit the
            // same moment between two polls.
            let turn = self.turn.fetch_add(37, Ordering::Relaxed) % 100;
            tokio::time::sleep(ENOUGH + Duration::from_millis(turn)).await;
        }
        let start = Instant::now();
        held.release().await?;
        let (held, turn) = tasks.join_next().await.ok_or("B is gone")???;
        held.release().await?;
        Ok(turn.had.saturating_duration_since(start))
    }
}

/// A bare message from A to B, after what B and A do before a hand-off.
struct Messenger {
    a: MultiplexedConnection,
    b: MultiplexedConnection,
    came: mpsc::Receiver<Instant>,
    _listener: JoinSet<()>,
}

impl Messenger {
    async fn start(stage: &Stage) -> Result<Self> {
        let mut stream = subscribe(&stage.url(), CHANNEL).await?;
        let (note, came) = mpsc::channel(1);
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            while next_message(&mut stream).await.is_ok() {
                if note.send(Instant::now()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            a: connect(&stage.url()).await?,
            b: connect(&stage.url()).await?,
            came,
            _listener: listener,
        })
    }

    async fn message(&mut self) -> Result<Duration> {
        let mut ping = Cmd::new();
        ping.arg("PING");
        let mut publish = Cmd::new();
        publish.arg("PUBLISH").arg(CHANNEL).arg(MESSAGE);
        self.a.send_packed_command(&ping).await?;
        let (waits, waiting) = oneshot::channel();
        let mut tasks = JoinSet::<Result<redis::Value>>::new();
        let mut b = self.b.clone();
        tasks.spawn(async move {
            let answer = b.send_packed_command(&ping).await;
            waits.send(()).map_err(|()| "A is gone")?;
            Ok(answer?)
        });
        waiting.await?;
        let start = Instant::now();
        self.a.send_packed_command(&publish).await?;
        let came = self.came.recv().await.ok_or("the listener is gone")?;
        tasks.join_next().await.ok_or("B is gone")???;
        Ok(came.saturating_duration_since(start))
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let stage = Stage::start()?;
    let mut messenger = Some(Messenger::start(&stage).await?);
    let mut pairs = Vec::new();
    for library in bench
        .contenders
        .iter()
        .filter(|library| library.name() != bench.floor.name())
    {
        if let Some(two) = Two::meet(&stage, &**library).await? {
            pairs.push((library, two, Vec::new()));
        }
    }
    let (mut bare, mut late) = (Vec::new(), Vec::new());
    // Those that poll take as long as their pauses: with them fewer rounds tell enough.
    let rounds = if pairs.len() > 1 {
        bench.pick(4, 20)
    } else {
        bench.pick(160, 800)
    };
    for round in 0..=rounds {
        for (library, two, samples) in &mut pairs {
            if late.contains(&library.name()) {
                continue;
            }
            let two = two.clone();
            let each = in_task(Box::pin(async move {
                let mut times = Vec::with_capacity(EACH);
                for _ in 0..EACH {
                    times.push(micros(two.hand_off().await?));
                }
                Ok(times)
            }));
            match tokio::time::timeout(LIMIT, each).await {
                Ok(times) => samples.extend(times?.into_iter().filter(|_| round > 0)), // the first was to get warm
                Err(_) => late.push(library.name()),
            }
        }
        let Some(mut with) = messenger.take() else { break };
        let (with_back, times) = in_task(Box::pin(async move {
            let mut times = Vec::with_capacity(EACH);
            for _ in 0..EACH {
                times.push(micros(with.message().await?));
            }
            Ok((with, times))
        }))
        .await?;
        messenger = Some(with_back);
        bare.extend(times.into_iter().filter(|_| round > 0));
    }
    let floor = [median(&mut bare), quantile(&mut bare, 0.99)];
    let mut findings = Findings::default();
    for library in &late {
        findings.notes.push(format!(
            "hand-off: {library} took more than {} s for {EACH} hand-offs: not asked again",
            LIMIT.as_secs()
        ));
    }
    for (library, _, mut samples) in pairs {
        for (metric, share, floor) in [(Metric::P50, 0.5, floor[0]), (Metric::P99, 0.99, floor[1])] {
            if let Some(value) = quantile(&mut samples, share) {
                let row = Row::new("hand-off", library.name(), metric, value).floor(floor);
                findings
                    .rows
                    .push(row.limit_if(library.is_ours() && metric == Metric::P50, P50));
            }
        }
    }
    Ok(findings)
}
