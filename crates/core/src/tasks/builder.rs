//! Options of a client.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::base::clock::{Moment, until};
use crate::base::real;
use crate::connection::address::AddressMap;
use crate::connection::endpoint::{Endpoint, cluster};
use crate::connection::sentinel::parse;
use crate::connection::wallet::Wallet;
use crate::runtime::shared::Shared;
use crate::tasks::alarm;
use crate::tasks::client::Client;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::tasks::starting::with_certificates;
use crate::tasks::starting::{
    AbortOnDrop, NO_RUNTIME, Target, again, no_thread, probe, start_tasks, start_thread,
};
use crate::tasks::topology::connect_first;
use crate::types::credentials::Credentials;
use crate::types::durability::Durability;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::inbox::Inbox;
use crate::types::options::{Drift, Options};
use crate::types::sentinel::Sentinel;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
use crate::types::tls::Tls;

/// Options of a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "call `connect`"]
pub struct ClientBuilder {
    target: Option<Result<Target, Arc<Error>>>,
    #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
    tls: Option<Tls>,
    wallet: Option<Wallet>,
    map: AddressMap,
    options: Options,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            target: None,
            #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
            tls: None,
            wallet: None,
            map: AddressMap::default(),
            options: Options::default(),
        }
    }

    /// Connects to `redis://[user:password@]host[:port][/database]` (also `rediss://` with a TLS
    /// feature, `unix://`), or to the primary of sentinels,
    /// `redis+sentinel://[user:password@]host[:port],host[:port]/name[/database]`
    /// (`rediss+sentinel://` with TLS): see [`Sentinel`].
    ///
    /// If the server is a node of a cluster, the client follows the cluster. With
    /// `redis+cluster://[user:password@]host[:port],host[:port]` (`rediss+cluster://` with TLS) it is
    /// enough if one of these nodes is there: see [`cluster`](Self::cluster).
    ///
    /// With `tls-rustls`, connecting to a `rediss://` URL installs `ring` as the process's provider for rustls, unless the
    /// program has installed one before.
    pub fn url(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref();
        let target = match (parse(url), cluster(url)) {
            (Some(sentinel), _) => sentinel.map(Target::Sentinel),
            (None, Some(urls)) => seeds(&urls),
            (None, None) => Endpoint::from_url(url).map(Target::Server),
        };
        self.target = Some(target.map_err(Arc::new));
        self
    }

    /// Connects to the primary that these sentinels name, and follows when they name another.
    pub fn sentinel(mut self, sentinel: Sentinel) -> Self {
        self.target = Some(Ok(Target::Sentinel(sentinel)));
        self
    }

    /// Connects to the cluster that these nodes belong to: 1 to 32 URLs, such as `redis://host:port`.
    ///
    /// The nodes say who has which slot, and the client connects to each master. User, password and
    /// certificates are those of the first URL. Its database must be 0, the only one of a cluster.
    /// Masters and replicas that the URLs do not name are found as well, so a few nodes are enough
    /// that are not all down when the program starts.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::Client;
    /// # async fn example() -> latchwork_core::Result<()> {
    /// let nodes = ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"];
    /// let client = Client::builder().cluster(nodes).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cluster<U: AsRef<str>>(mut self, nodes: impl IntoIterator<Item = U>) -> Self {
        let urls: Vec<String> = nodes.into_iter().map(|url| url.as_ref().to_owned()).collect();
        self.target = Some(seeds(&urls).map_err(Arc::new));
        self
    }

    /// Says where a server is whose address was announced by a node of a cluster or by a sentinel:
    /// for containers and networks in which addresses are translated.
    ///
    /// `map` gets host and port as they were announced, and returns host and port to connect to. It
    /// is called often, and must not block.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::Client;
    /// # async fn example() -> latchwork_core::Result<()> {
    /// // The ports of the containers are published on this machine.
    /// let client = Client::builder()
    ///     .url("redis://localhost:7000")
    ///     .address_map(|_, port| ("localhost".to_owned(), port))
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn address_map(mut self, map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static) -> Self {
        self.map = AddressMap::new(map);
        self
    }

    /// Connects as this `redis::Client` does. Its connections are not shared: ours have options of their own.
    pub fn redis(mut self, client: &redis::Client) -> Self {
        self.target = Some(
            Endpoint::from_client(client)
                .map(Target::Server)
                .map_err(Arc::new),
        );
        self
    }

    /// Connects with this connection info.
    pub fn connection_info(mut self, info: redis::ConnectionInfo) -> Self {
        self.target = Some(Endpoint::from_info(info).map(Target::Server).map_err(Arc::new));
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

    /// Asks `provider` for user and password before each connection, in place of those of the URL.
    /// Use it for passwords that change and for tokens that expire.
    ///
    /// If what it returns is good for a limited time ([`Credentials::good_for`]), the client asks
    /// again at half of that. It shows the new ones to the server on the connection for commands,
    /// and subscribes anew before it gives up the old subscription, so nothing is interrupted. If
    /// the provider fails then, the connections stay, and it is asked again, with growing pauses up
    /// to a minute. Its future runs on the runtime of the client's tasks, for at most 10 s.
    ///
    /// With [`sentinel`](Self::sentinel), they are for the primary, not for sentinels.
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use latchwork_core::{Client, Credentials};
    ///
    /// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn example() -> latchwork_core::Result<()> {
    /// let client = Client::builder()
    ///     .url("rediss://redis.internal")
    ///     .credentials(|| async {
    ///         let token = fetch_token().await?;
    ///         Ok::<_, std::io::Error>(Credentials::new("app", token).good_for(Duration::from_secs(900)))
    ///     })
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn credentials<F, E>(mut self, provider: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::result::Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.wallet = Some(Wallet::new(provider));
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

    /// The deadline of one request, and of `close`: 10 ms to 60 s. Defaults to 1 s.
    ///
    /// A request about a hold has a third of the lease if that is shorter, but not less than a few
    /// round trips take. Connecting takes several round trips, and has as much time for each.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.options.operation_timeout = timeout;
        self
    }

    /// An acquire gives up with `Unavailable` when the server gave no usable answer for this long:
    /// 10 ms to 24 h. Defaults to 10 s.
    pub fn unavailable_after(mut self, silence: Duration) -> Self {
        self.options.unavailable_after = silence;
        self
    }

    /// Lets calls fail at once while the server is down, from this long after its connection was lost: 0 to 24 h.
    ///
    /// Defaults to never: each call then waits for the server as long as it may, which is best for
    /// work that has to be done. A service that answers requests had better not let them pile up
    /// during an outage. With this option, acquires (those that wait within a second) and calls of
    /// no hold return the error of the lost connection: `Unavailable`, or another kind if more is
    /// known, such as `Denied`. Renewals and releases go on trying, and the first call after the
    /// client has connected again is served.
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

    /// How long a hand-off is kept for a waiter that does not confirm it: 10 ms to 60 s. Defaults
    /// to half of the lease, but at least 1 s and at most 10 s. A window is never longer than the
    /// lease, whatever is set here.
    ///
    /// A hold that was handed over and not confirmed yet survives a pause of its process, or an outage of the server, of
    /// more than half of this window. A critical section shorter than a quarter of it costs no confirmation. A process
    /// that is frozen when it is granted the lock holds up the others for one window. One that was killed does not, as
    /// soon as the server has noticed.
    pub fn claim_window(mut self, window: Duration) -> Self {
        self.options.claim_window = Some(window);
        self
    }

    /// How much earlier than the server a client believes a lease to end, in parts per million: 0
    /// to 100 000. Defaults to 10 000 (1 %). This is for clocks that run at different rates. 2 ms
    /// are always added.
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

    /// The most waiters that a queue may have: 1 to 1 000 000. The next one is refused with
    /// `QueueFull`. Defaults to 10 000.
    pub fn max_waiters(mut self, most: u32) -> Self {
        self.options.max_waiters = most;
        self
    }

    /// The first and the longest pause between tries to connect again: 1 ms to 60 s. Defaults to 20
    /// ms and 1 s.
    ///
    /// There is no pause before the first try if the connection that failed had lasted for more than a second.
    pub fn reconnect_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.options.reconnect_backoff = (first, longest);
        self
    }

    /// How long a connection may be silent before it is checked: 10 ms to 60 s. Defaults to 3 s.
    ///
    /// A check is one request. Any answer of the server counts, so a busy connection is not checked. While the client
    /// holds and awaits nothing, the connections are checked after 15 times this pause only: then the next request that
    /// comes after a silence has them checked. If something in between cuts them as soon as they are idle, they are
    /// checked at this pause again.
    pub fn heartbeat(mut self, pause: Duration) -> Self {
        self.options.heartbeat = pause;
        self
    }

    /// What people who inspect a lock see of its holder: at most 256 bytes. Defaults to `host:pid`.
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

    /// How far a grant has to get before its guard is handed out, for handles that do not say
    /// otherwise. Defaults to `Primary`.
    ///
    /// It is about locks and permits of semaphores. Latches, rate limiters and fences have no holds,
    /// and are never waited for.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # use latchwork_core::{Client, Durability};
    /// # async fn example() -> latchwork_core::Result<()> {
    /// let client = Client::builder()
    ///     .url("redis+sentinel://s1,s2,s3/main")
    ///     .durability(Durability::Replicas { n: 1, within: Duration::from_millis(500) })
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// How messages reach this client in a cluster. Defaults to `Classic`. Has no effect on one
    /// server, or with sentinels.
    ///
    /// With [`Sharded`](Inbox::Sharded), `connect` returns
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if a master is older than Redis 7.0.
    pub fn inbox(mut self, inbox: Inbox) -> Self {
        self.options.inbox = inbox;
        self
    }

    /// Acquires nothing from a server that may have forgotten holds, until those are over. Defaults
    /// to `false`.
    ///
    /// A server without an append-only file forgets all locks when it restarts, and a replica that
    /// is promoted may lack the last ones. Their holders go on until they hear of it, or until their
    /// lease is over. With this option, the client sends no acquire to such a server until the
    /// longest lease that it has used (the [`lease`](Self::lease) at least) has passed since the
    /// start of the server, or since the client has noticed the promotion. To callers this is an
    /// outage: they wait as long as they may, and the error says why and for how long. Renewals,
    /// releases and tickets go on, and so do latches and rate limiters.
    ///
    /// Set the same `lease` in all clients, or in each the longest that any of them uses. A
    /// promotion is only noticed by clients that were connected to the server before. A restart is
    /// noticed by all, by the server's `INFO`; a server that does not show it counts as new at each
    /// connection.
    pub fn start_delay(mut self, delay: bool) -> Self {
        self.options.start_delay = delay;
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
    /// with a timer (unless `keeper_thread`). `Credentials` if their provider failed. `Closed` if
    /// the runtime ends meanwhile.
    ///
    /// # Cancel safety
    /// Cancel safe: what was begun is given up.
    pub async fn connect(self) -> Result<Client> {
        let Self {
            target,
            #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
            tls,
            wallet,
            map,
            mut options,
        } = self;
        options.check()?;
        let target = match target {
            Some(Ok(target)) => target,
            Some(Err(error)) => return Err(again(&error)),
            None => {
                return Err(Error::invalid(
                    "no server was named: call url, sentinel, redis or connection_info",
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
        #[cfg(not(any(feature = "tls-rustls", feature = "tls-native-tls")))]
        let source = target.source()?.with_wallet(wallet).with_map(&map);
        #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
        let source = with_certificates(target, tls, &driver).await?;
        #[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
        let source = source.with_wallet(wallet).with_map(&map);
        options.database = source.database();
        let shared = Arc::new(Shared::new(options, driver.clone()));
        let first = {
            let (shared, source) = (Arc::clone(&shared), source.clone());
            driver.spawn(async move { connect_first(&shared, &source, map).await })
        };
        let topology = AbortOnDrop(first).join().await??;
        let is_cluster = topology.is_some();
        let client = Client::new(Arc::clone(&shared));
        if !shared.same_thread && !shared.options.keeper_thread {
            alarm::start(&shared).map_err(no_thread)?;
        }
        // Connecting the inbox and subscribing, on a line of that length.
        let trips = source.round_trips() + 2;
        start_tasks(&shared, (source, topology), thread);
        if is_cluster {
            let over = Moment::now() + shared.options.operation_timeout * trips;
            shared.route.wait_until_all_up(over).await;
            if !shared.route.is_up() {
                return Err(shared.route.why_silent());
            }
            check_inbox(&shared)?;
        }
        let far = shared.route.round_trip() * trips;
        // Grants are to arrive by message from the first attempt on; a refusal is a warning, not a failure.
        let mut tried = shared.inbox_tried.subscribe();
        let subscribed = async { tried.wait_for(|tried| *tried).await.is_ok() };
        let over = Moment::now() + shared.options.operation_timeout.max(far);
        until(over, Some(&driver), subscribed).await;
        Ok(client)
    }
}

/// `Unsupported` if a master does not know the messages that were asked for.
fn check_inbox(shared: &Shared) -> Result<()> {
    if shared.channels().is_none() {
        return Ok(());
    }
    for server in shared.route.all().iter().filter_map(|node| node.server()) {
        let major = server
            .version
            .split('.')
            .next()
            .and_then(|it| it.parse::<u32>().ok());
        if major.is_some_and(|major| major < 7) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "`Inbox::Sharded` needs Redis 7.0 or later, and {} is {} {}: use `Inbox::Classic`",
                    server.address, server.flavour, server.version
                ),
            ));
        }
    }
    Ok(())
}

/// The most nodes of a cluster that can be named.
const SEEDS: usize = 32;

/// Nodes of a cluster.
fn seeds(urls: &[String]) -> Result<Target> {
    if urls.is_empty() || urls.len() > SEEDS {
        return Err(Error::invalid(format!("name 1 to {SEEDS} nodes of the cluster")));
    }
    let seeds: Vec<Endpoint> = urls
        .iter()
        .map(|url| Endpoint::from_url(url))
        .collect::<Result<_>>()?;
    if seeds.iter().any(|seed| seed.database() != 0) {
        return Err(Error::invalid(
            "a cluster has only database 0: leave it out of the URL",
        ));
    }
    if seeds.iter().any(|seed| seed.port() == 0) {
        return Err(Error::invalid(
            "a node of a cluster is named by host and port: redis://host:port",
        ));
    }
    Ok(Target::Cluster(seeds))
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    all::<ClientBuilder>();
}
