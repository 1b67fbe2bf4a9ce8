//! Options of a client, and how its connections and tasks are started.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::base::clock::{Moment, until};
use crate::base::real;
use crate::connection::endpoint::Endpoint;
use crate::runtime::shared::{Life, Shared};
use crate::tasks::alarm;
use crate::tasks::client::Client;
use crate::tasks::inbox::receive;
use crate::tasks::keeper;
use crate::tasks::label::keep_label;
use crate::tasks::sender::Sender;
use crate::tasks::supervisor::{connect_first, supervise};
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::options::{Drift, Options};
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;

/// Options of a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "call `connect`"]
pub struct ClientBuilder {
    endpoint: Option<Result<Endpoint, Arc<Error>>>,
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    tls: Option<Tls>,
    options: Options,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            endpoint: None,
            #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
            tls: None,
            options: Options::default(),
        }
    }

    /// Connects to `redis://[user:password@]host[:port][/database]` (also `rediss://` with a TLS feature, `unix://`).
    ///
    /// With `tls-rustls`, connecting to a `rediss://` URL installs `ring` as the process's provider for rustls, unless the
    /// program has installed one before.
    pub fn url(mut self, url: impl AsRef<str>) -> Self {
        self.endpoint = Some(Endpoint::from_url(url.as_ref()).map_err(Arc::new));
        self
    }

    /// Connects as this `redis::Client` does. Its connections are not shared: ours have options of their own.
    pub fn redis(mut self, client: &redis::Client) -> Self {
        self.endpoint = Some(Endpoint::from_client(client).map_err(Arc::new));
        self
    }

    /// Connects with this connection info.
    pub fn connection_info(mut self, info: redis::ConnectionInfo) -> Self {
        self.endpoint = Some(Endpoint::from_info(info).map_err(Arc::new));
        self
    }

    /// Uses these certificates for a connection with TLS (a `rediss://` URL).
    ///
    /// They replace those of a `redis::Client` or its connection info. Defaults to [`Tls::new`]: trust whom the platform
    /// trusts.
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What all keys and channels start with: 1 to 64 of the characters from `!` to `~` in ASCII, except
    /// `{`, `}`, `*`, `?`, `[`, `]` and `\`. Defaults to `latchwork`.
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.options.prefix = prefix.as_ref().into();
        self
    }

    /// How long the server keeps a hold without hearing of it: 10 ms to 24 h. Defaults to 10 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// The deadline of one request, and of `close`. Defaults to 1 s; a third of the lease if that is shorter, but not less
    /// than a few round trips take. Connecting takes several round trips, and has as much time for each.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.options.operation_timeout = timeout;
        self
    }

    /// An acquire gives up with `Unavailable` when the server gave no usable answer for this long. Defaults to 10 s.
    pub fn unavailable_after(mut self, silence: Duration) -> Self {
        self.options.unavailable_after = silence;
        self
    }

    /// Lets calls fail at once while the server is down, from this long after its connection was lost: 0 to 24 h.
    ///
    /// Defaults to never: each call then waits for the server as long as it may, which is best for work that has to be
    /// done. A service that answers requests had better not let them pile up during an outage. With this option, acquires (those
    /// that wait within a second) and calls of no hold return the error of the lost connection: [`ErrorKind::Unavailable`],
    /// or another kind if more is known, such as [`ErrorKind::Denied`]. Renewals and releases go on trying, and the first
    /// call after the client has connected again is served.
    ///
    /// # Examples
    /// A request handler that does its work without the lock while the server is down, since work that is done twice is
    /// better here than none. Everything else that guards the work, such as a unique key in the database, must hold then.
    /// ```
    /// use std::time::Duration;
    ///
    /// use latchwork_core::{Client, ErrorKind, Result, dynamic::Lock};
    ///
    /// # async fn connect() -> Result<Client> {
    /// let second = Duration::from_secs(1);
    /// let client = Client::builder().url("redis://127.0.0.1").fail_fast_after(second).connect().await?;
    /// # Ok(client)
    /// # }
    /// async fn handle(lock: &dyn Lock) -> Result<&'static str> {
    ///     match lock.try_lock_for(Duration::from_millis(500)).await {
    ///         Ok(Some(guard)) => {
    ///             let done = work().await;
    ///             guard.unlock().await?;
    ///             Ok(done)
    ///         }
    ///         Ok(None) => Ok("busy: try again later"),
    ///         Err(error) if error.kind() == ErrorKind::Unavailable => Ok(work().await),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// # async fn work() -> &'static str { "done" }
    /// ```
    pub fn fail_fast_after(mut self, time: Duration) -> Self {
        self.options.fail_fast_after = Some(time);
        self
    }

    /// How long a hand-off is kept for a waiter that does not confirm it: 10 ms to 60 s, and at most the lease. Defaults to
    /// half of the lease, but at least 1 s and at most 10 s.
    ///
    /// A hold that was handed over and not confirmed yet survives a pause of its process, or an outage of the server, of
    /// more than half of this window. A critical section shorter than a quarter of it costs no confirmation. A process
    /// that is frozen when it is granted the lock holds up the others for one window. One that was killed does not, as
    /// soon as the server has noticed.
    pub fn claim_window(mut self, window: Duration) -> Self {
        self.options.claim_window = Some(window);
        self
    }

    /// How much earlier than the server a client believes a lease to end, in parts per million, for clocks that
    /// run at different rates; 2 ms are always added. Defaults to 10 000 (1 %).
    pub fn drift_margin(mut self, parts_per_million: u32) -> Self {
        self.options.drift = Drift { parts_per_million };
        self
    }

    /// How long the last fencing token is remembered after the last release: 1 s to 7 days. Defaults to 5 min.
    /// Longer protects better against a server's clock that is set back.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.options.retention = retention;
        self
    }

    /// The most waiters that a queue may have; the next one is refused with `QueueFull`. Defaults to 10 000.
    pub fn max_waiters(mut self, most: u32) -> Self {
        self.options.max_waiters = most;
        self
    }

    /// The first and the longest pause between tries to connect again. Defaults to 20 ms and 1 s.
    ///
    /// There is no pause before the first try if the connection that failed had lasted for more than a second.
    pub fn reconnect_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.options.reconnect_backoff = (first, longest);
        self
    }

    /// How long a connection may be silent before it is checked. Defaults to 3 s.
    ///
    /// A check is one request. Any answer of the server counts, so a busy connection is not checked. While the client
    /// holds and awaits nothing, the connections are checked after 15 times this pause only: then the next request that
    /// comes after a silence has them checked. If something in between cuts them as soon as they are idle, they are
    /// checked at this pause again.
    pub fn heartbeat(mut self, pause: Duration) -> Self {
        self.options.heartbeat = pause;
        self
    }

    /// What people who inspect a lock see of its holder. Defaults to `host:pid`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.options.label = label.into();
        self
    }

    /// Gives connections and keeper a thread of their own, which nothing of the application can block. Defaults to
    /// `false`: they run on the runtime that connects, and where that has several workers, a thread that mostly sleeps sees
    /// to it that one of them renews in time. Use it when tasks may block, when several runtimes share the
    /// client, or when the client is a `static`; a request then costs a hop between threads.
    pub fn keeper_thread(mut self, own: bool) -> Self {
        self.options.keeper_thread = own;
        self
    }

    /// Connects.
    ///
    /// # Paused clocks
    /// In a runtime whose clock is paused (`#[tokio::test(start_paused = true)]`), the client works: its time limits are in
    /// real time, as are leases, and it arms no timer of tokio. A timeout around a call, such as `tokio::time::timeout`, is
    /// tokio's, and may be over at once, because a paused clock does not wait for answers of a server.
    ///
    /// # Errors
    /// As [`Client::connect`]. `Invalid` also for options out of range, and outside a tokio runtime
    /// with a timer (unless `keeper_thread`). `Closed` if the runtime ends meanwhile.
    ///
    /// # Cancel safety
    /// Cancel safe: what was begun is given up.
    pub async fn connect(self) -> Result<Client> {
        let Self {
            endpoint,
            #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
            tls,
            options,
        } = self;
        options.check()?;
        let endpoint = match endpoint {
            Some(Ok(endpoint)) => endpoint,
            Some(Err(error)) => return Err(again(&error)),
            None => {
                return Err(Error::invalid(
                    "no server was named: call url, redis or connection_info",
                ));
            }
        };
        let (driver, thread) = if options.keeper_thread {
            start_thread()?
        } else {
            (
                Handle::try_current().map_err(|error| Error::invalid(NO_RUNTIME).caused_by(error))?,
                None,
            )
        };
        real::look();
        probe(&driver).await?;
        #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
        let endpoint = with_certificates(endpoint, tls, &driver).await?;
        let shared = Arc::new(Shared::new(options, driver.clone()));
        let first = {
            let (shared, endpoint) = (Arc::clone(&shared), endpoint.clone());
            driver.spawn(async move { connect_first(&shared, &endpoint).await })
        };
        AbortOnDrop(first).join().await??;
        let client = Client::new(Arc::clone(&shared));
        if !shared.same_thread && !shared.options.keeper_thread {
            alarm::start(&shared).map_err(no_thread)?;
        }
        // Connecting the inbox and subscribing, on a line of that length.
        let far = shared.commands.round_trip() * (endpoint.round_trips() + 2);
        start_tasks(&shared, endpoint, thread);
        // Grants are to arrive by message from the first attempt on; a refusal is a warning, not a failure.
        let mut tried = shared.inbox_tried.subscribe();
        let subscribed = async { tried.wait_for(|tried| *tried).await.is_ok() };
        let over = Moment::now() + shared.options.operation_timeout.max(far);
        until(over, Some(&driver), subscribed).await;
        Ok(client)
    }
}

/// Reads the certificates, where that may block.
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
async fn with_certificates(endpoint: Endpoint, tls: Option<Tls>, driver: &Handle) -> Result<Endpoint> {
    if tls.is_none() && !endpoint.is_tls() {
        return Ok(endpoint);
    }
    let reading = driver.spawn_blocking(move || endpoint.with_tls(tls.as_ref()));
    AbortOnDrop(reading).join().await?
}

/// The error that a setter noted, for a builder that may be used again.
fn again(noted: &Error) -> Error {
    let error = Error::new(noted.kind(), noted.message().to_owned());
    match std::error::Error::source(noted) {
        Some(cause) => error.caused_by(cause.to_string()),
        None => error,
    }
}

const NO_RUNTIME: &str =
    "the client needs a tokio runtime with its timer and I/O on (enable_all), or keeper_thread(true)";

const ENDED: &str = "the runtime that was to drive the client has ended";

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T> {
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
async fn probe(driver: &Handle) -> Result<()> {
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

fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the keeper's thread cannot be started").caused_by(error)
}

/// A thread with a runtime that lives until the sender is dropped.
fn start_thread() -> Result<(Handle, Option<oneshot::Sender<()>>)> {
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

fn start_tasks(shared: &Arc<Shared>, endpoint: Endpoint, thread: Option<oneshot::Sender<()>>) {
    let driver = &shared.driver;
    let supervisor = {
        let (shared, endpoint) = (Arc::clone(shared), endpoint.clone());
        driver.spawn(async move { supervise(&shared, &endpoint).await })
    };
    let inbox = {
        let shared = Arc::clone(shared);
        driver.spawn(async move { receive(&shared, &endpoint).await })
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
    let orphan = Orphan(Arc::clone(shared));
    drop(driver.spawn(async move {
        let orphan = orphan;
        keeper::run(&orphan.0).await;
        orphan.0.shut(Life::Closed); // wakes those who still wait for an answer
        for task in [supervisor, inbox, label, batches, looking] {
            task.abort();
        }
        drop(thread);
    }));
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    all::<ClientBuilder>();
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
