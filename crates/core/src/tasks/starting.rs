//! How a client's connections and tasks are started.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::connection::endpoint::Endpoint;
use crate::connection::sentinel::Sentinels;
use crate::connection::source::Source;
use crate::runtime::shared::{Life, Shared};
use crate::tasks::inbox::receive;
use crate::tasks::keeper;
use crate::tasks::label::keep_label;
use crate::tasks::sender::Sender;
use crate::tasks::sharded;
use crate::tasks::supervisor::supervise;
use crate::tasks::topology::Topology;
use crate::tasks::watch::watch;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::sentinel::Sentinel;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;

/// Where to connect, as the program gave it.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Server(Endpoint),
    Sentinel(Sentinel),
    Cluster(Vec<Endpoint>),
}

impl Target {
    pub(super) fn source(self) -> Result<Source> {
        Ok(match self {
            Self::Server(endpoint) => Source::Program(Box::new(endpoint)),
            Self::Sentinel(sentinel) => Source::Sentinels(Arc::new(Sentinels::new(&sentinel)?)),
            Self::Cluster(seeds) => Source::Cluster(seeds),
        })
    }

    /// The same with these certificates, or those that everybody trusts. Blocks: it reads files.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(super) fn source_with(self, tls: Option<&Tls>) -> Result<Source> {
        Ok(match self {
            Self::Server(endpoint) => Source::Program(Box::new(endpoint.with_tls(tls)?)),
            Self::Sentinel(sentinel) => {
                let sentinels = Sentinels::new(&sentinel)?;
                Source::Sentinels(Arc::new(sentinels.with_tls(tls, sentinel.tls.as_ref())?))
            }
            Self::Cluster(seeds) => {
                let seeds = seeds.into_iter().map(|seed| seed.with_tls(tls));
                Source::Cluster(seeds.collect::<Result<_>>()?)
            }
        })
    }

    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Server(endpoint) => !endpoint.is_tls(),
            Self::Sentinel(_) => false,
            Self::Cluster(seeds) => seeds.iter().all(|seed| !seed.is_tls()),
        }
    }
}

/// Reads the certificates, where that may block.
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub(super) async fn with_certificates(target: Target, tls: Option<Tls>, driver: &Handle) -> Result<Source> {
    if tls.is_none() && target.is_plain() {
        return target.source();
    }
    let reading = driver.spawn_blocking(move || target.source_with(tls.as_ref()));
    AbortOnDrop(reading).join().await?
}

/// The error that a setter noted, for a builder that may be used again.
pub(super) fn again(noted: &Error) -> Error {
    let error = Error::new(noted.kind(), noted.message().to_owned());
    match std::error::Error::source(noted) {
        Some(cause) => error.caused_by(cause.to_string()),
        None => error,
    }
}

pub(super) const NO_RUNTIME: &str =
    "the client needs a tokio runtime with its timer and I/O on (enable_all), or keeper_thread(true)";

const ENDED: &str = "the runtime that was to drive the client has ended";

pub(super) struct AbortOnDrop<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    pub(super) async fn join(mut self) -> Result<T> {
        (&mut self.0).await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Error::invalid(format!(
                "internal error: connecting panicked: {}",
                said_by(&*panic)
            )),
            Err(error) => Error::new(ErrorKind::Closed, ENDED).caused_by(error),
        })
    }
}

/// What a panic says.
fn said_by(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or("without a text", str::trim)
}

/// A runtime without a timer, or without I/O, cannot drive us; only trying tells, and by a panic.
pub(super) async fn probe(driver: &Handle) -> Result<()> {
    let trial = driver.spawn(async {
        tokio::time::sleep(Duration::ZERO).await;
        // A socket that is never used: whether the system lets us have one does not matter here.
        #[cfg(unix)]
        drop(tokio::net::UnixDatagram::unbound());
        #[cfg(not(unix))]
        drop(tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await);
    });
    trial.await.map_err(|error| {
        if error.is_panic() {
            Error::invalid(NO_RUNTIME).caused_by(error)
        } else {
            Error::new(ErrorKind::Closed, ENDED).caused_by(error)
        }
    })
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the keeper's thread cannot be started").caused_by(error)
}

/// A thread with a runtime that lives until the sender is dropped.
pub(super) fn start_thread() -> Result<(Handle, Option<oneshot::Sender<()>>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_thread)?;
    let handle = runtime.handle().clone();
    let (alive, gone) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("latchwork-keeper".into())
        .spawn(move || {
            // Resolves with an error when the sender is dropped: that is the signal.
            let _dropped = runtime.block_on(gone).is_err();
            runtime.shutdown_background();
        });
    thread.map_err(no_thread)?;
    Ok((handle, Some(alive)))
}

/// Tells everybody when the runtime of the tasks ends before the client does.
struct Orphan(Arc<Shared>);

impl Drop for Orphan {
    fn drop(&mut self) {
        self.0.shut(Life::Orphaned);
    }
}

pub(super) fn start_tasks(
    shared: &Arc<Shared>,
    (source, topology): (Source, Option<Topology>),
    thread: Option<oneshot::Sender<()>>,
) {
    let driver = &shared.driver;
    let mut tasks = Vec::new();
    if let Source::Sentinels(sentinels) = &source {
        for at in 0..sentinels.all().len() {
            let (shared, sentinels) = (Arc::clone(shared), Arc::clone(sentinels));
            tasks.push(driver.spawn(async move {
                let sentinel = &sentinels.all()[at];
                watch(&shared, shared.route.server(), &sentinels, sentinel).await
            }));
        }
    }
    let supervisor = {
        let shared = Arc::clone(shared);
        driver.spawn(async move {
            match topology {
                Some(topology) => topology.follow(&shared).await,
                None => supervise(&shared, shared.route.server(), source).await,
            }
        })
    };
    let inbox = {
        let shared = Arc::clone(shared);
        driver.spawn(async move {
            match (shared.route.cluster(), shared.channels()) {
                (Some(cluster), Some(channels)) => sharded::receive(&shared, cluster, channels).await,
                _ => receive(&shared).await,
            }
        })
    };
    let label = {
        let shared = Arc::clone(shared);
        driver.spawn(async move { keep_label(&shared).await })
    };
    let batches = {
        let sender = Sender::new(shared);
        driver.spawn(sender.run())
    };
    let looking = {
        let orphan = Orphan(Arc::clone(shared));
        driver.spawn(async move { keeper::look(&orphan.0).await })
    };
    tasks.extend([supervisor, inbox, label, batches, looking]);
    let orphan = Orphan(Arc::clone(shared));
    drop(driver.spawn(async move {
        let orphan = orphan;
        keeper::run(&orphan.0).await;
        orphan.0.shut(Life::Closed); // wakes those who still wait for an answer
        for task in tasks {
            task.abort();
        }
        drop(thread);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_as_what_it_was() {
        let join = |task| async { AbortOnDrop::<()>(task).join().await.expect_err("it panicked") };
        let with_text = join(Handle::current().spawn(async { panic!("no {}", "provider") })).await;
        let constant = join(Handle::current().spawn(async { panic!("nothing") })).await;
        let other = join(Handle::current().spawn(async { std::panic::panic_any(7) })).await;
        for (error, text) in [
            (with_text, "connecting panicked: no provider"),
            (constant, "connecting panicked: nothing"),
            (other, "connecting panicked: without a text"),
        ] {
            assert!(error.to_string().contains(text), "{error}");
            assert!(!error.to_string().contains("runtime"), "{error}");
        }
    }

    #[test]
    fn a_runtime_that_lacks_something_is_found_before_connecting() {
        let mut without_timer = tokio::runtime::Builder::new_current_thread();
        let mut without_io = tokio::runtime::Builder::new_current_thread();
        for builder in [without_timer.enable_io(), without_io.enable_time()] {
            let runtime = builder.build().expect("a runtime");
            let error = runtime
                .block_on(probe(runtime.handle()))
                .expect_err("it lacks one");
            assert_eq!(error.message(), NO_RUNTIME, "the remedy");
        }
    }
}
