//! A process's client: connections, inbox, keeper.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Moment, sleep_until, until};
use crate::connection::failure::Failure;
use crate::runtime::shared::{Life, Shared};
use crate::runtime::worker;
use crate::tasks::builder::ClientBuilder;
use crate::types::error::{ErrorKind, Result};
use crate::types::server::{ServerInfo, Warning};
use crate::wire::command::Request;
use crate::wire::value::Answer;

/// One process's connection to a Redis or Valkey server, with the tasks that keep its locks.
///
/// Cheap to clone. It lives as long as any clone, primitive, guard or future of it; make one per process and server.
/// Connect after `fork`, not before: a connection cannot be shared by two processes.
#[derive(Clone)]
pub struct Client(Arc<ClientHandle>);

/// Dropped with the last clone, primitive, guard and future.
struct ClientHandle {
    shared: Arc<Shared>,
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        // What was dropped before is still sent; the tasks end after that.
        self.shared.shut(Life::Closing);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server())
            .field("prefix", &self.shared().options.prefix)
            .field("life", &self.shared().life())
            .finish_non_exhaustive()
    }
}

/// What [`Client::close`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Holds and waiters that the server has given up.
    pub released: usize,
    /// Those of which it did not hear in time, and that it may or may not have: what it has ends with its lease.
    pub unsent: usize,
}

impl Client {
    /// Connects with default options.
    ///
    /// # Errors
    /// `Invalid` for a URL that is not understood, or a database that the server or cluster does not
    /// have.
    /// `Unavailable` if there is no server, or its name cannot be resolved. `Denied` for a wrong
    /// password. `Tls` for a certificate that one side does not accept, or if only one side uses
    /// TLS. `Unsupported` for a server that is too old, a sentinel without the name of a primary, or a
    /// `redis+cluster://` URL that leads to no cluster. `Protocol` if what answers is not Redis or
    /// Valkey. Each is returned at once, with the cause in its text.
    ///
    /// # Cancel safety
    /// Cancel safe: what was begun is given up.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Client};
    /// # async fn example() -> latchwork_core::Result<()> {
    /// let client = Client::connect("redis://127.0.0.1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self> {
        Self::builder().url(url.as_ref()).connect().await
    }

    /// A client with options.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # use latchwork_core::{Client};
    /// # async fn example() -> latchwork_core::Result<()> {
    /// let client = Client::builder()
    ///     .url("redis://127.0.0.1")
    ///     .prefix("billing")
    ///     .lease(Duration::from_secs(30))
    ///     .keeper_thread(true)
    ///     .connect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// The handle whose drop, with its last clone, ends the tasks.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(ClientHandle { shared }))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The same, for tasks that it begins.
    pub(crate) fn shared_with_tasks(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Stops: new attempts and those that wait answer `Closed`, live holds are released (their
    /// guards read [`Loss::Closed`](crate::Loss::Closed)), and all that is sent within the
    /// operation timeout. Says what was not. Idempotent. Returns a tenth of a second after the
    /// operation timeout at the latest.
    ///
    /// It comes last: the body of a `run` method that is still alive is dropped, and the method returns that loss. To let
    /// such bodies finish first, call [`drain`](Self::drain).
    ///
    /// # Cancel safety
    /// Once polled, it goes on without its future.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Client};
    /// # async fn example(client: Client) -> latchwork_core::Result<()> {
    /// let closed = client.close().await;
    /// if closed.unsent > 0 {
    ///     eprintln!("{} locks stay taken until their leases end", closed.unsent);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) -> Closed {
        let shared = self.shared();
        let before = shared.table.len();
        shared.shut(Life::Closing);
        let mut life = shared.life.subscribe();
        let ended = async { life.wait_for(|life| life.is_over()).await.is_ok() };
        let over = Moment::now() + shared.options.operation_timeout + Duration::from_millis(100);
        until(over, Some(&shared.driver), ended).await;
        let unsent = shared.table.len();
        Closed {
            released: before.saturating_sub(unsent),
            unsent,
        }
    }

    /// What could cost locks or speed: found at connect, or later.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Client};
    /// # async fn example(client: Client) -> latchwork_core::Result<()> {
    /// for warning in client.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn warnings(&self) -> Vec<Warning> {
        self.shared().warnings()
    }

    /// What the server is. In a cluster: one of its masters; see [`servers`](Self::servers).
    pub fn server(&self) -> Option<ServerInfo> {
        self.shared().route.any(0).server()
    }

    /// What the servers are: in a cluster its masters that were reached so far, in no order.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::Client;
    /// # async fn example(client: Client) -> latchwork_core::Result<()> {
    /// for server in client.servers() {
    ///     println!("{} {} at {}", server.flavour, server.version, server.address);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn servers(&self) -> Vec<ServerInfo> {
        let nodes = self.shared().route.all();
        nodes.iter().filter_map(|node| node.server()).collect()
    }

    /// Whether grants arrive by message; otherwise waiting falls back to polling for the time being.
    pub fn is_listening(&self) -> bool {
        self.shared().schedule.is_listening()
    }

    /// The worst lateness of a renewal so far, also of one that its hold did not survive. Near a sixth of a lease something
    /// blocks the keeper's runtime: see [`ClientBuilder::keeper_thread`].
    pub fn keeper_lateness(&self) -> Duration {
        self.shared().schedule.lateness()
    }

    /// Holds, waiters and what is being ended.
    #[doc(hidden)]
    pub fn live(&self) -> usize {
        self.shared().table.len() + self.shared().refunds.len()
    }

    /// How often the scripts were loaded.
    #[doc(hidden)]
    pub fn script_loads(&self) -> u64 {
        self.shared().route.loads()
    }

    /// The round trip of a `PING`.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` after the operation
    /// timeout.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ping(&self) -> Result<Duration> {
        let shared = self.shared();
        shared.check_open()?;
        let deadline = Moment::now() + shared.options.operation_timeout;
        let node = shared.route.any(0);
        node.ping(deadline).await.map_err(|failure| failure.error)
    }

    /// Runs a script that may run twice, with tries until the operation timeout.
    pub(crate) async fn call(&self, request: &Request) -> Result<Answer> {
        let over = Moment::now() + self.shared().options.operation_timeout;
        self.try_call(request, true, over).await
    }

    /// The same for one that must not run twice: no further try once it may have run, nor after `over`. It is handed over to
    /// a connection that lives.
    pub(crate) async fn call_once(&self, request: &Request, over: Moment) -> Result<Answer> {
        let shared = self.shared();
        shared.check_open()?;
        let timeout = shared.options.operation_timeout;
        let ready = shared
            .route
            .ready_once(request.key(), timeout, (over, over + timeout));
        let over = ready.await.map_err(|failure| failure.error)?;
        self.try_call(request, false, over).await
    }

    /// Runs a script with tries until `deadline`: no further one once it may have run, unless it may run `twice`.
    pub(crate) async fn try_call(&self, request: &Request, twice: bool, deadline: Moment) -> Result<Answer> {
        let shared = self.shared();
        shared.check_open()?;
        worker::calls();
        // Why it did not work so far, if that is known: more than that the last try took too long.
        let mut known = None;
        loop {
            match shared.route.call(request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Failure {
                    error,
                    passing,
                    unknown,
                    ..
                }) if !passing || (unknown && !twice) || Moment::now() >= deadline => {
                    let is_known = error.kind() != ErrorKind::Unavailable || (unknown && !twice);
                    return Err(known.filter(|_| !is_known).unwrap_or(error));
                }
                Err(failure) => {
                    if failure.error.kind() != ErrorKind::Unavailable {
                        known = Some(failure.error);
                    }
                    let pause = Moment::now() + Duration::from_millis(10);
                    sleep_until(pause.min(deadline), Some(&shared.driver)).await;
                }
            }
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Clone + fmt::Debug + Send + Sync + Unpin + 'static>() {}
    all::<Client>();
}
