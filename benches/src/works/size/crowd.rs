//! Many tasks of one client, and a client that dies with all of them.

use latchwork::{Client, ClientBuilder, Guard};
use latchwork_testkit::Proxy;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

use super::scene::Scene;
use crate::Result;
use crate::turns::Waiting;

/// Tasks whose first requests are under way at a time: a program that starts thousands in one
/// moment is not what is measured.
const WAVE: usize = 1000;

/// Tasks that ask for something and keep what they get.
pub(super) struct Crowd<T> {
    tasks: JoinSet<Option<T>>,
    waiting: Waiting,
    runtime: Handle,
}

impl<T: Send + 'static> Crowd<T> {
    /// A crowd of this runtime.
    pub(super) fn here() -> Self {
        Self::on(Handle::current())
    }

    fn on(runtime: Handle) -> Self {
        Self {
            tasks: JoinSet::new(),
            waiting: Waiting::new(),
            runtime,
        }
    }

    fn ask<F>(&mut self, asked: F)
    where
        F: Future<Output = latchwork::Result<T>> + Send + 'static,
    {
        let asked = self.waiting.watch(async { Ok(asked.await?) });
        self.tasks.spawn_on(asked, &self.runtime);
    }

    /// Lets `n` more ask, and returns when all of them are known to wait.
    pub(super) async fn wait<F>(&mut self, n: usize, ask: impl Fn(usize) -> F) -> Result<()>
    where
        F: Future<Output = latchwork::Result<T>> + Send + 'static,
    {
        for wave in waves(n) {
            let size = wave.len();
            wave.for_each(|at| self.ask(ask(at)));
            self.waiting.joined(size).await?;
        }
        Ok(())
    }

    /// Lets `n` ask for what they get at once, and returns it.
    pub(super) async fn take<F>(&mut self, n: usize, ask: impl Fn(usize) -> F) -> Result<Vec<T>>
    where
        F: Future<Output = latchwork::Result<T>> + Send + 'static,
    {
        let mut all = Vec::new();
        for wave in waves(n) {
            wave.for_each(|at| self.ask(ask(at)));
            all.extend(self.all().await?);
        }
        Ok(all)
    }

    /// Returns what all got, when they have got it.
    pub(super) async fn all(&mut self) -> Result<Vec<T>> {
        let mut all = Vec::with_capacity(self.tasks.len());
        while let Some(got) = self.tasks.join_next().await {
            all.push(got?.ok_or_else(|| self.waiting.failure())?);
        }
        Ok(all)
    }

    /// How many no longer wait.
    pub(super) fn gone(&mut self) -> usize {
        std::iter::from_fn(|| self.tasks.try_join_next()).count()
    }
}

fn waves(n: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..n).step_by(WAVE).map(move |from| from..n.min(from + WAVE))
}

/// How many of these holds were lost.
pub(super) fn lost<G: Guard>(guards: &[G]) -> usize {
    guards.iter().filter(|guard| guard.is_lost()).count()
}

/// A client with a runtime of its own, behind a proxy, so that it can die as a process that is
/// killed.
pub(super) struct Doomed {
    pub(super) client: Client,
    proxy: Proxy,
    runtime: Option<Runtime>,
}

impl Doomed {
    pub(super) async fn start(
        scene: &Scene,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self> {
        let proxy = scene.stage.proxy()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let builder = options(scene.builder(proxy.url())?);
        let client = runtime.spawn(builder.connect()).await??;
        Ok(Self {
            client,
            proxy,
            runtime: Some(runtime),
        })
    }

    pub(super) fn crowd<T: Send + 'static>(&self) -> Result<Crowd<T>> {
        let runtime = self.runtime.as_ref().ok_or("it is dead")?;
        Ok(Crowd::on(runtime.handle().clone()))
    }

    /// Ends its connections, and all that it does. Nothing of what it had is released.
    pub(super) fn die(&mut self) {
        self.proxy.refuse(true);
        self.proxy.cut();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.die();
    }
}
