//! Where an operation takes place, and the one way in which it is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use latchwork::{Client, ClientBuilder};
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;

use super::{Findings, WORK};
use crate::Result;
use crate::floor::connect;
use crate::row::{Metric, Row};
use crate::sample::count;
use crate::stage::Stage;

/// Nothing that is measured takes longer: then it is given up.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// A lease that is not renewed while anything is measured.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// The bar of the longest script, ms.
const LONGEST: f64 = 5.0;

/// A server, and what was found on it.
pub(super) struct Scene {
    pub(super) stage: Stage,
    /// How many there are of what there are many of.
    pub(super) n: usize,
    findings: Findings,
    /// A script would have met its bar, but for the time that the server waited for its core.
    pub(super) was_disturbed: bool,
}

/// What came of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    took: Duration,
    lost: usize,
    wrong: usize,
}

impl Done {
    pub(super) fn after(took: Duration) -> Self {
        Self {
            took,
            lost: 0,
            wrong: 0,
        }
    }

    pub(super) fn lost(self, lost: usize) -> Self {
        Self { lost, ..self }
    }

    pub(super) fn wrong(self, wrong: usize) -> Self {
        Self { wrong, ..self }
    }

    /// One call, which was answered right or not.
    pub(super) fn call(start: Instant, is_right: bool) -> Self {
        Self::after(start.elapsed()).wrong(usize::from(!is_right))
    }
}

impl Scene {
    pub(super) fn start(n: usize) -> Result<Self> {
        Ok(Self {
            stage: Stage::start()?,
            n,
            findings: Findings::default(),
            was_disturbed: false,
        })
    }

    pub(super) fn finish(self) -> Findings {
        self.findings
    }

    /// Options of a client with room for a crowd.
    pub(super) fn builder(&self, url: String) -> Result<ClientBuilder> {
        let room = u32::try_from(2 * self.n + 100)?;
        Ok(Client::builder().url(url).max_waiters(room))
    }

    pub(super) async fn client(&self) -> Result<Client> {
        Ok(self.builder(self.stage.url())?.connect().await?)
    }

    /// Measures `operation`, whose cost is divided among `each`.
    pub(super) async fn measure(
        &mut self,
        what: &'static str,
        each: usize,
        operation: impl Future<Output = Result<Done>>,
    ) -> Result<()> {
        let bystander = Bystander::start(&self.stage).await?;
        self.stage.note_slow_scripts()?;
        let (before, waited) = (self.stage.scripts()?, self.stage.waited());
        let done = tokio::time::timeout(LIMIT, operation).await;
        let done = done.unwrap_or_else(|_| Err("it did not end within a minute".into()));
        let spent = self.stage.scripts()?.since(before);
        let longest = millis(self.stage.slowest_script()?);
        let waited = millis(self.stage.waited().saturating_sub(waited));
        self.was_disturbed |= longest > LONGEST && longest - waited <= LONGEST;
        let seen = bystander.stop().await?;
        let mut row = |metric, value| {
            let row = Row::new(WORK, format!("latchwork/{what}"), metric, value).n(self.n);
            self.findings.rows.push(match metric {
                Metric::Longest => row.limit(LONGEST),
                _ => row.limit_if(matches!(metric, Metric::Lost | Metric::Wrong), 0.0),
            });
        };
        row(Metric::Server, spent.micros / count(each));
        row(Metric::Longest, longest);
        row(Metric::Bystander, millis(seen));
        match done {
            Ok(done) => {
                row(Metric::Took, millis(done.took));
                row(Metric::Lost, count(done.lost));
                row(Metric::Wrong, count(done.wrong));
            }
            Err(error) => {
                row(Metric::Wrong, 1.0);
                let note = format!("{WORK}: {what} with {}: {error}", self.n);
                self.findings.notes.push(note);
            }
        }
        Ok(())
    }

    /// Compares the scripts' time of one operation with that of another.
    pub(super) fn compare(&mut self, what: &str, floor: &str) {
        let server = |what: &str| {
            let mut rows = self.findings.rows.iter();
            rows.position(|row| row.subject().1 == what && row.metric == Metric::Server)
        };
        if let (Some(what), Some(floor)) = (server(what), server(floor)) {
            let rows = &mut self.findings.rows;
            rows[what].floor = Some(rows[floor].value);
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Somebody else, who takes and frees a lock of its own all the time, on a thread of its own.
///
/// It does so without a script, so that the scripts that are measured are those of the operation.
struct Bystander {
    stop: Arc<AtomicBool>,
    longest: oneshot::Receiver<Result<Duration>>,
}

impl Bystander {
    /// A bystander who has begun.
    async fn start(stage: &Stage) -> Result<Self> {
        let (begun, has_begun) = oneshot::channel();
        let (done, longest) = oneshot::channel();
        let (stop, url) = (Arc::<AtomicBool>::default(), stage.url());
        let is_over = Arc::clone(&stop);
        thread::Builder::new()
            .name("bystander".to_owned())
            .spawn(move || done.send(stand_by(&url, begun, &is_over)))?;
        // If it fails, `stop` returns the error.
        let _has_failed = has_begun.await.is_err();
        Ok(Self { stop, longest })
    }

    /// Ends it, and returns its longest cycle.
    async fn stop(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let longest = tokio::time::timeout(LIMIT, self.longest).await;
        longest.map_err(|_| "the bystander got no answer for a minute")??
    }
}

fn stand_by(url: &str, begun: oneshot::Sender<()>, is_over: &AtomicBool) -> Result<Duration> {
    /// Otherwise it would take a third of the server.
    const PAUSE: Duration = Duration::from_micros(200);
    let (mut take, mut free) = (Cmd::new(), Cmd::new());
    take.arg("SET").arg("bystander").arg("it");
    take.arg("NX").arg("PX").arg(10_000);
    free.arg("DEL").arg("bystander");
    let cycle = async |connection: &mut MultiplexedConnection| {
        let start = Instant::now();
        connection.send_packed_command(&take).await?;
        connection.send_packed_command(&free).await?;
        Result::<_>::Ok(start.elapsed())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut connection = connect(url).await?;
        cycle(&mut connection).await?;
        let _nobody_waits = begun.send(()).is_err();
        let mut longest = Duration::ZERO;
        while !is_over.load(Ordering::Relaxed) {
            longest = longest.max(cycle(&mut connection).await?);
            thread::sleep(PAUSE);
        }
        Ok(longest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_script_a_stall_a_loss_and_a_failure_are_seen() {
        let mut scene = Scene::start(7).unwrap();
        let port = scene.stage.server.port();
        let busy = async {
            let mut admin = latchwork_testkit::RespClient::connect(port)?;
            let script = "for i = 1, 20000000 do local _ = i end";
            admin.call(&["EVAL", script, "0"])?;
            Ok(Done::after(Duration::ZERO).lost(2))
        };
        scene.measure("busy", 1, busy).await.unwrap();
        let failing = async { Err("it failed".into()) };
        scene.measure("failing", 1, failing).await.unwrap();
        let found = scene.finish();
        let value = |what: &str, of: Metric| {
            let is_it = |row: &&Row| row.subject() == (WORK, what, 7, of);
            found.rows.iter().find(is_it).map(|row| (row.value, row.is_ok()))
        };
        let (longest, is_ok) = value("busy", Metric::Longest).unwrap();
        assert!(longest > LONGEST && !is_ok, "{longest}");
        let (seen, _) = value("busy", Metric::Bystander).unwrap();
        assert!(seen > longest / 2.0, "{seen} of {longest}");
        assert_eq!(value("busy", Metric::Lost), Some((2.0, false)));
        assert_eq!(value("busy", Metric::Wrong), Some((0.0, true)));
        assert_eq!(value("failing", Metric::Wrong), Some((1.0, false)));
        assert_eq!(value("failing", Metric::Longest), Some((0.5, true)));
        assert_eq!(found.notes, ["size: failing with 7: it failed"]);
    }
}
