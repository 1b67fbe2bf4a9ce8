//! A thousand waiters of ten clients, and nothing happens: what they ask meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use latchwork_testkit::Proxy;
use tokio::task::JoinSet;

use super::{Bench, Findings};
use crate::Result;
use crate::contender::{Held, Library, Session};
use crate::row::{Metric, Row};
use crate::sample::count;
use crate::stage::Stage;
use crate::turns::Waiting;

const CLIENTS: usize = 10;
const WAITERS: usize = 1000;
const WINDOW: Duration = Duration::from_secs(10);
const ENOUGH: Duration = Duration::from_secs(5);
/// One request per client and second, ticks included.
const LIMIT: f64 = 1.0;

/// Ten clients, each behind a proxy of its own, whose waiters wait for `names` locks that somebody else holds.
struct Scene {
    names: usize,
    proxies: Vec<Proxy>,

    _waiters: JoinSet<Option<Held>>,
    _sessions: Vec<Box<dyn Session>>,
    _held: Vec<Held>,
    _stage: Stage,
}

impl Scene {
    async fn set(library: &dyn Library, names: usize) -> Result<Option<Self>> {
        let stage = Stage::start()?;
        let holder = library.connect(&stage.url()).await?;
        let name = |waiter: usize| format!("orders-{}", waiter % names);
        let mut held = Vec::new();
        for at in 0..names {
            let Some(lock) = holder.mutex(&name(at))? else {
                return Ok(None);
            };
            held.push(lock.hold().await?);
        }
        let proxies = (0..CLIENTS).map(|_| stage.proxy()).collect::<Result<Vec<_>>>()?;
        let mut sessions = vec![holder];
        let mut waiters = JoinSet::new();
        let mut waiting = Waiting::new();
        for (at, proxy) in proxies.iter().enumerate() {
            let session = library.connect(&proxy.url()).await?;
            for waiter in (at..WAITERS).step_by(CLIENTS) {
                let lock = session.mutex(&name(waiter))?;
                waiters.spawn(waiting.join(lock.ok_or("there was a mutex a moment ago")?));
            }
            sessions.push(session);
        }
        if library.is_ours() {
            waiting.joined(WAITERS).await?;
        } else {
            // One that asks from a task of its own is not seen to wait: it has had time to.
            tokio::time::timeout(ENOUGH, waiting.joined(WAITERS))
                .await
                .unwrap_or(Ok(()))?;
        }
        Ok(Some(Self {
            names,
            proxies,
            _waiters: waiters,
            _sessions: sessions,
            _held: held,
            _stage: stage,
        }))
    }

    /// What the client that asked most has asked since the last reset, on both of its connections.
    fn most(&self) -> Option<BTreeMap<String, u64>> {
        let asked = self.proxies.iter().map(Proxy::request_names);
        asked.max_by_key(|names| names.values().sum::<u64>())
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    for library in &bench.contenders {
        if library.name() != bench.floor.name() {
            let result = one(&**library, &mut findings).await;
            findings.excuse("waiting", &**library, result)?;
        }
    }
    Ok(findings)
}

async fn one(library: &dyn Library, findings: &mut Findings) -> Result<()> {
    let mut scenes = Vec::new();
    for names in [1, WAITERS] {
        scenes.extend(Scene::set(library, names).await?);
    }
    // Both at the same time: all that is done is to wait.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for proxy in scenes.iter().flat_map(|scene| &scene.proxies) {
        proxy.reset_counts();
    }
    tokio::time::sleep(WINDOW).await;
    for scene in &scenes {
        let Some(asked) = scene.most() else { continue };
        let rate = count(asked.values().sum::<u64>()) / WINDOW.as_secs_f64();
        let row = Row::new("waiting", library.name(), Metric::Requests, rate).n(scene.names);
        findings.rows.push(row.limit_if(library.is_ours(), LIMIT));
        findings.notes.push(format!(
            "waiting: on {} locks the client of {} that asked most sent {asked:?}",
            scene.names,
            library.name()
        ));
    }
    Ok(())
}
