//! A TCP proxy on loopback that stands between a client and a server and misbehaves on command.
//!
//! `pump.rs` moves the bytes, `faults.rs` knows what is broken at the moment, `count.rs` reads the requests that go
//! by. All are plain threads, so a proxy works from any runtime.

mod count;
mod faults;
mod pump;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use count::Counts;
use faults::Faults;
use pump::Connection;

/// How long closing a connection may take until [`Proxy::cut`] no longer waits for it.
const CUT_LIMIT: Duration = Duration::from_secs(5);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "there are two ways")]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Replies and messages.
    ToClient,
}

/// A connection through the proxy; they are numbered from 0 in the order of their coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "Redis knows these two")]
pub enum ConnKind {
    /// It has subscribed to something at some time.
    PubSub,
    /// Any other.
    Commands,
}

/// What becomes of a chunk of bytes; see [`Proxy::on_chunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It goes on.
    Pass,
    /// It is lost; what comes after it is not.
    Drop,
    /// This goes on in its place.
    Replace(&'static [u8]),
    /// It is lost, and the connection is closed on both sides.
    Cut,
    /// It and all after it in this direction of this connection wait for [`Proxy::release`].
    Hold,
}

/// A TCP proxy on 127.0.0.1. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    target: AtomicU16,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    connections: Mutex<BTreeMap<ConnId, Arc<Connection>>>,
    next_id: AtomicU64,
    refuse: AtomicBool,
    closed: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to 127.0.0.1:`target_port`; nothing has to listen there yet.
    ///
    /// # Errors
    /// There is no port to listen on.
    pub fn start(target_port: u16) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target_port),
            faults: Faults::default(),
            counts: Counts::default(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(0),
            refuse: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let acceptor = Arc::clone(&shared);
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || acceptor.accept(&listener))?;
        Ok(Self { port, shared })
    }

    /// From now on, new connections lead to this port; those that exist stay where they are.
    pub fn lead_to(&self, target_port: u16) {
        self.shared.target.store(target_port, Ordering::Relaxed);
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets nothing through in this direction, on no connection, ends of connections neither. Nothing is lost:
    /// it all goes on at [`unblock`](Self::unblock), as with a network that is away for a while.
    pub fn block(&self, direction: Direction) {
        self.shared.faults.set_blocked(direction, true);
    }

    /// Ends [`block`](Self::block).
    pub fn unblock(&self, direction: Direction) {
        self.shared.faults.set_blocked(direction, false);
    }

    /// Closes every connection on both sides with a reset, and returns when they are closed. New ones are welcome.
    ///
    /// Bytes on their way are lost, held and blocked ones too.
    pub fn cut(&self) {
        let connections: Vec<_> = self.shared.connections().values().map(Arc::clone).collect();
        for connection in &connections {
            connection.reset();
        }
        self.shared.faults.notify();
        // The sockets close with their last owner, which is one of the two pumps.
        let closing: Vec<Weak<Connection>> = connections.iter().map(Arc::downgrade).collect();
        drop(connections);
        let deadline = Instant::now() + CUT_LIMIT;
        let open = || closing.iter().any(|connection| connection.strong_count() > 0);
        while open() && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether new connections are closed with a reset as soon as they are there. Those that exist stay.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Delays every chunk of bytes by this long, in both directions, as a long line does: each from its own arrival,
    /// so a round trip takes twice this, however many are under way. Zero ends it.
    pub fn delay(&self, delay: Duration) {
        self.shared.faults.set_delay(delay);
    }

    /// Lets `bytes` more through in this direction, all connections together, then closes the one they ran out on.
    /// That happens once; 0 closes the connection of the next byte before it.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        self.shared.faults.set_budget(direction, Some(bytes));
    }

    /// Asks `hook` what to do with each chunk of bytes, before any other fault. It replaces the hook before.
    ///
    /// A chunk is what one read returned: mostly a whole request or reply, but TCP promises nothing, so let clients
    /// send one thing at a time where it matters. The hook may call the proxy, except for `on_chunk` and `no_hook`.
    pub fn on_chunk(&self, hook: impl FnMut(Direction, ConnId, &[u8]) -> Action + Send + 'static) {
        self.shared.faults.set_hook(Some(Box::new(hook)));
    }

    /// Ends [`on_chunk`](Self::on_chunk); what is held stays so.
    pub fn no_hook(&self) {
        self.shared.faults.set_hook(None);
    }

    /// Lets go everything that a hook holds.
    pub fn release(&self) {
        for connection in self.shared.connections().values() {
            connection.set_held(Direction::ToServer, false);
            connection.set_held(Direction::ToClient, false);
        }
        self.shared.faults.notify();
    }

    /// How many connections are open at the moment.
    pub fn open_connections(&self) -> usize {
        self.shared.connections().len()
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> u64 {
        self.shared.next_id.load(Ordering::SeqCst)
    }

    /// How many requests went to the server, counted at the socket: what was dropped, held or blocked did not.
    pub fn requests(&self) -> u64 {
        self.request_names().values().sum()
    }

    /// How many requests went to the server on connections of this kind.
    pub fn requests_of(&self, kind: ConnKind) -> u64 {
        let by_connection = self.shared.counts.by_connection();
        by_connection
            .values()
            .filter(|(of, _)| *of == kind)
            .flat_map(|(_, names)| names.values())
            .sum()
    }

    /// How often each command went to the server, by upper-case name.
    pub fn request_names(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (name, count) in self.requests_by_connection().into_values().flatten() {
            *all.entry(name).or_default() += count;
        }
        all
    }

    /// How often each command went to the server on each connection.
    pub fn requests_by_connection(&self) -> BTreeMap<ConnId, BTreeMap<String, u64>> {
        self.shared
            .counts
            .by_connection()
            .into_iter()
            .map(|(id, (_, names))| (id, names))
            .collect()
    }

    /// Starts counting from 0. Connections keep their kind.
    pub fn reset_counts(&self) {
        self.shared.counts.reset();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the port. If nobody accepts, it is closed already.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        self.cut();
    }
}

/// Whether `needle` is in `chunk`, for hooks.
pub fn contains(chunk: &[u8], needle: impl AsRef<[u8]>) -> bool {
    let needle = needle.as_ref();
    needle.is_empty() || chunk.windows(needle.len()).any(|window| window == needle)
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, BTreeMap<ConnId, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            if self.refuse.load(Ordering::SeqCst) || self.serve(&client).is_err() {
                pump::reset_on_close(&client);
            }
        }
    }

    /// Connects a client to the server and starts moving bytes.
    fn serve(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target.load(Ordering::Relaxed)))?;
        let id = ConnId(self.next_id.fetch_add(1, Ordering::SeqCst));
        let connection = Arc::new(Connection::new(id, client.try_clone()?, server)?);
        self.connections().insert(id, Arc::clone(&connection));
        // `cut` and `drop` see it from here on; one that came before has to be made up for.
        if self.closed.load(Ordering::SeqCst) {
            connection.reset();
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            let name = format!("proxy-{}-{direction:?}", id.0);
            thread::Builder::new()
                .name(name)
                .spawn(move || pump::run(&shared, &connection, direction))?;
        }
        Ok(())
    }

    /// The last pump of a connection is done: its sockets close when this returns.
    pub(crate) fn forget(&self, id: ConnId) {
        self.connections().remove(&id);
    }
}
