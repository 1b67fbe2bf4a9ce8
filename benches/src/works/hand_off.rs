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
use crate::floor::{connect, load, next_message, subscribe};
use crate::row::{Metric, Row};
use crate::sample::{median, micros, quantile};
use crate::stage::Stage;
use crate::turns::watch;

const P50: f64 = 1.25;
const ENOUGH: Duration = Duration::from_millis(300);
/// About as long as a grant's.
const MESSAGE: &str = "g 1:1:10000:1000 1700000000000000 1700000000000000 1000";
/// What a hand-off cannot do without, if queue and holder are one record: the time, who is first, the holder out, the first
/// in, and the message. No token, no check of anything.
const LEAST: &str = "local t = redis.call('TIME')
local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], t[1] .. '000', first)
return redis.call('PUBLISH', ARGV[2], ARGV[3])";
const KEY: &str = "floor:lock:{orders}";
/// Ids, as long as a client's.
const A: &str = "0123456789abcdefghijkA.1:1:10000:1000";
const B: &str = "0123456789abcdefghijkB.1:1:10000:1000";

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
    /// What A sends before, and what sends the message.
    before: Cmd,
    publish: Cmd,
    came: mpsc::Receiver<Instant>,
    times: Vec<f64>,
    _listener: JoinSet<()>,
}

impl Messenger {
    /// A sends it as a command.
    async fn plain(stage: &Stage) -> Result<Self> {
        let (mut before, mut publish) = (Cmd::new(), Cmd::new());
        before.arg("PING");
        publish.arg("PUBLISH").arg("floor:plain").arg(MESSAGE);
        Self::start(stage, "floor:plain", before, publish).await
    }

    /// A script sends it, that does the least that a hand-off needs.
    async fn least(stage: &Stage) -> Result<Self> {
        let (mut before, mut publish) = (Cmd::new(), Cmd::new());
        before.arg("ZADD").arg(KEY).arg(-1).arg(B).arg(1).arg(A);
        let hash = load(&mut connect(&stage.url()).await?, LEAST).await?;
        publish.arg("EVALSHA").arg(hash).arg(1).arg(KEY);
        publish.arg(A).arg("floor:least").arg(MESSAGE);
        Self::start(stage, "floor:least", before, publish).await
    }

    async fn start(stage: &Stage, channel: &str, before: Cmd, publish: Cmd) -> Result<Self> {
        let mut stream = subscribe(&stage.url(), channel).await?;
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
            before,
            publish,
            came,
            times: Vec::new(),
            _listener: listener,
        })
    }

    async fn message(&mut self) -> Result<Duration> {
        self.a.send_packed_command(&self.before).await?;
        let (waits, waiting) = oneshot::channel();
        let mut tasks = JoinSet::<Result<redis::Value>>::new();
        let mut b = self.b.clone();
        tasks.spawn(async move {
            let mut ping = Cmd::new();
            ping.arg("PING");
            let answer = b.send_packed_command(&ping).await;
            waits.send(()).map_err(|()| "A is gone")?;
            Ok(answer?)
        });
        waiting.await?;
        let start = Instant::now();
        let answer = self.a.send_packed_command(&self.publish).await?;
        if answer != redis::Value::Int(1) {
            return Err(format!("a message that nobody gets: {answer:?}").into());
        }
        let came = self.came.recv().await.ok_or("the listener is gone")?;
        tasks.join_next().await.ok_or("B is gone")???;
        Ok(came.saturating_duration_since(start))
    }

    /// A few in a row, of which those of the first round do not count: they were to get warm.
    async fn round(mut self, counts: bool) -> Result<Self> {
        in_task(Box::pin(async move {
            for _ in 0..EACH {
                let time = micros(self.message().await?);
                if counts {
                    self.times.push(time);
                }
            }
            Ok(self)
        }))
        .await
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let stage = Stage::start()?;
    let mut plain = Messenger::plain(&stage).await?;
    let mut least = Messenger::least(&stage).await?;
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
    let mut late = Vec::new();
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
        plain = plain.round(round > 0).await?;
        least = least.round(round > 0).await?;
    }
    let mut floor = |share| quantile(&mut plain.times, share);
    let floor = [floor(0.5), floor(0.99)];
    let mut findings = Findings::default();
    for library in &late {
        findings.notes.push(format!(
            "hand-off: {library} took more than {} s for {EACH} hand-offs: not asked again",
            LIMIT.as_secs()
        ));
    }
    if let Some(value) = median(&mut least.times).filter(|_| pairs.len() == 1) {
        let row = Row::new("hand-off", "least", Metric::P50, value).floor(floor[0]);
        findings.rows.push(row);
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
