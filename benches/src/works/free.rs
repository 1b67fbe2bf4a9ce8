//! What a turn costs the server where nobody else is: the part of `cost` that needs no crowd.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchwork::{Algorithm, Client, CountdownLatch};
use redis::Cmd;
use redis::aio::MultiplexedConnection;

use super::cost::{Cost, WORK};
use super::limiter::PER_SECOND;
use super::{Bench, Findings, in_task};
use crate::contender::{Held, Library, Lock, NOT_PREPARED, Work, fresh};
use crate::floor::{Floor, UNLOCK, connect, load};
use crate::kinds::Kind;
use crate::ours::Latchwork;
use crate::row::{Metric, Row};
use crate::sample::{count, minimum};
use crate::stage::Stage;
use crate::{Result, cycles};

/// The bar of a turn with a rate, as a multiple of one without.
const WITH_RATE: f64 = 1.5;
/// The bar of a mutex, as a multiple of bare scripts.
const MUTEX: f64 = 1.6;

/// Turns in a round: so few that a round is either disturbed or not.
const TURNS: usize = 40;

/// Something that takes turns, and what they cost.
struct Lane {
    name: &'static str,
    lock: Arc<dyn Lock>,
    cost: Cost,
}

impl Lane {
    fn new(name: &'static str, lock: Arc<dyn Lock>) -> Self {
        Self {
            name,
            lock,
            cost: Cost::default(),
        }
    }

    async fn prepare(&self) -> Result<()> {
        in_task(Arc::clone(&self.lock).prepare(TURNS)).await
    }

    fn turns(&self) -> impl Future<Output = Result<()>> + use<> {
        let lock = Arc::clone(&self.lock);
        async move { in_task(lock.cycles(TURNS)).await.map(drop) }
    }
}

/// A latch that is counted down while nobody waits: another one in each round, so that there are
/// as many marks as in a latch of so many parties.
struct CountDown {
    client: Client,
    latch: Mutex<Option<CountdownLatch>>,
}

impl CountDown {
    fn latch(&self) -> MutexGuard<'_, Option<CountdownLatch>> {
        self.latch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lock for CountDown {
    fn prepare(self: Arc<Self>, turns: usize) -> Work<'static, ()> {
        Box::pin(async move {
            let count = u32::try_from(turns)? + 2;
            let latch = CountdownLatch::new(&self.client, fresh("loaded"), count)?;
            latch.count_down().await?; // makes it
            *self.latch() = Some(latch);
            Ok(())
        })
    }

    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        let latch = self.latch().take();
        cycles!(count, {
            latch.as_ref().ok_or(NOT_PREPARED)?.count_down().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async { Err(NOTHING_HELD.into()) })
    }
}

/// A wait for a latch that is at zero.
struct Passed(CountdownLatch);

impl Passed {
    async fn new(client: &Client) -> Result<Self> {
        let latch = CountdownLatch::new(client, "passed", 1)?;
        latch.count_down().await?;
        Ok(Self(latch))
    }
}

impl Lock for Passed {
    fn cycles(self: Arc<Self>, count: usize) -> Work<'static, Vec<Duration>> {
        cycles!(count, {
            self.0.wait().await?;
        })
    }

    fn hold(self: Arc<Self>) -> Work<'static, Held> {
        Box::pin(async { Err(NOTHING_HELD.into()) })
    }
}

const NOTHING_HELD: &str = "a latch is not held";

/// `SET NX PX` as a plain command, and a script that compares and deletes.
struct Plain {
    connection: MultiplexedConnection,
    set: Cmd,
    unlock: Cmd,
    micros: Vec<f64>,
}

impl Plain {
    async fn connect(stage: &Stage) -> Result<Self> {
        const KEY: &str = "floor:plain";
        const OWNER: &str = "owner-of-22-characters.1";
        let mut connection = connect(&stage.url()).await?;
        let hash = load(&mut connection, UNLOCK).await?;
        let (mut set, mut unlock) = (Cmd::new(), Cmd::new());
        set.arg("SET").arg(KEY).arg(OWNER);
        set.arg("NX").arg("PX").arg(10_000);
        unlock.arg("EVALSHA").arg(hash).arg(1).arg(KEY).arg(OWNER);
        Ok(Self {
            connection,
            set,
            unlock,
            micros: Vec::new(),
        })
    }

    async fn window(&mut self, stage: &Stage) -> Result<()> {
        // No other `SET` runs meanwhile, nor one in the script.
        let commands = ["set", "evalsha"];
        let before = stage.spent_on(&commands)?;
        for _ in 0..TURNS {
            for command in [&self.set, &self.unlock] {
                self.connection.send_packed_command(command).await?;
            }
        }
        let spent = stage.spent_on(&commands)?.since(before);
        self.micros.push(spent.micros / count(TURNS));
        Ok(())
    }
}

/// All take turns, so that all have the same weather.
pub(super) async fn run(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let stage = Stage::start()?;
    let client = Client::connect(&stage.url()).await?;
    let (session, floor) = (
        Latchwork.connect(&stage.url()).await?,
        Floor::new().connect(&stage.url()).await?,
    );
    let mut lanes = Vec::new();
    for kind in Kind::ALL {
        lanes.push(Lane::new(kind.name, kind.lock(&client, kind.name, 0)?));
    }
    let limiter = session.limiter("calls", Algorithm::Gcra, PER_SECOND)?;
    lanes.push(Lane::new("limiter", limiter.ok_or("there is no limiter")?));
    let counted = CountDown {
        client: client.clone(),
        latch: Mutex::default(),
    };
    lanes.push(Lane::new("latch-count-down", Arc::new(counted)));
    lanes.push(Lane::new("latch-wait", Arc::new(Passed::new(&client).await?)));
    let bare = floor.mutex("orders")?.ok_or("the floor has no mutex")?;
    let mut bare = Lane::new("floor", bare);
    let mut plain = Plain::connect(&stage).await?;

    for round in 0..bench.pick(15, 90) {
        for lane in lanes.iter_mut().chain([&mut bare]) {
            if round == 0 {
                lane.prepare().await?;
                lane.turns().await?; // warm
            }
            lane.prepare().await?;
            let taken = lane.turns();
            lane.cost.note(&stage, TURNS, taken).await?;
        }
        plain.window(&stage).await?;
    }
    bare.cost.keep_least();
    let bare = bare.cost.micros();
    for mut lane in lanes {
        lane.cost.keep_least();
        let floor = match lane.name {
            "mutex" => bare,
            "semaphore-with-a-rate" => findings.server("semaphore-1-of-3/free"),
            _ => None,
        };
        let limit = if lane.name == "mutex" { MUTEX } else { WITH_RATE };
        let rows = lane.cost.rows(&format!("{}/free", lane.name), 1);
        findings.rows.extend(rows.into_iter().map(|row| match row.metric {
            Metric::Server if floor.is_some() => row.floor(floor).limit(limit),
            _ => row,
        }));
    }
    if let Some(mutex) = findings.server("mutex/free") {
        let row = Row::new(WORK, "latchwork/mutex/free-plain-set", Metric::Server, mutex);
        findings.rows.push(row.floor(minimum(&plain.micros)));
    }
    Ok(())
}

impl Findings {
    /// The scripts' time in a row of `cost`.
    fn server(&self, what: &str) -> Option<f64> {
        let is_it = |row: &&Row| row.subject() == (WORK, what, 1, Metric::Server);
        self.rows.iter().find(is_it).map(|row| row.value)
    }
}
