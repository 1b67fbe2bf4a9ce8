//! A Redis or Valkey server of a test's own: start, kill, freeze, restart.
//!
//! Questions to a running server are in `admin.rs`, the process itself in `keeper.rs`.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::builder::Builder;
use crate::clock::{self, Clock};
use crate::error::Error;
use crate::find::{ServerBinary, ServerVersion};
use crate::keeper::{Keeper, NotReady};
use crate::places::note_used;
use crate::ports::Port;
use crate::resp::RespClient;

/// How long a restart may find its port taken.
const RESTART_LIMIT: Duration = Duration::from_secs(5);
/// What [`TestServer::restart_empty`] leaves in the folder.
const NO_DATA: [&str; 3] = ["nodes.conf", "server.conf", clock::FILE];

/// A running server on 127.0.0.1 with a port and a folder of its own. Dropping it kills it.
///
/// It also dies with the test process, however that ends. All methods take `&self`, so that one thread
/// can break what another one uses.
#[derive(Debug)]
pub struct TestServer {
    pub(crate) binary: ServerBinary,
    pub(crate) ports: Ports,
    pub(crate) args: Vec<String>,
    /// Of the default user.
    pub(crate) password: Option<String>,
    pub(crate) keeper: Mutex<Keeper>,
    pub(crate) client: Mutex<Option<RespClient>>,
    pub(crate) frozen: AtomicBool,
    pub(crate) clock: Option<Clock>,
    /// After the keeper, which removes it too and has to end first.
    pub(crate) dir: TempDir,
}

/// The ports of a server.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) plain: Port,
    pub(crate) tls: Option<Port>,
    /// Of a cluster node, where the other nodes connect.
    pub(crate) bus: Option<Port>,
}

impl TestServer {
    /// Starts the server that [`find_server`](crate::find_server) finds, without persistence.
    ///
    /// # Errors
    /// There is no server, or it does not get ready; the error has its log.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// For everything that [`start`](Self::start) does not offer.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `redis://127.0.0.1:<port>`, with the password of [`Builder::password`] if there is one.
    pub fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.credentials(), self.port())
    }

    /// `rediss://<host>:<port>`, as [`url`](Self::url); `None` without [`Builder::tls`].
    pub fn tls_url(&self, host: &str) -> Option<String> {
        let port = self.tls_port()?;
        Some(format!("rediss://{}{host}:{port}", self.credentials()))
    }

    fn credentials(&self) -> String {
        let password = self.password.as_ref();
        password.map_or_else(String::new, |password| format!(":{password}@"))
    }

    /// The port; the same for the server's whole life, restarts included.
    pub fn port(&self) -> u16 {
        self.ports.plain.number()
    }

    /// The port on which it speaks TLS, with [`Builder::tls`].
    pub fn tls_port(&self) -> Option<u16> {
        self.ports.tls.as_ref().map(Port::number)
    }

    /// The folder it works in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process id of the latest start.
    pub fn pid(&self) -> i32 {
        self.keeper().pid()
    }

    /// What the server says it is.
    pub fn version(&self) -> &ServerVersion {
        &self.binary.version
    }

    /// The last lines of the log since the latest start.
    pub fn log(&self) -> String {
        self.keeper().log_tail()
    }

    /// Whether the process has not ended; a frozen one has not.
    pub fn is_running(&self) -> bool {
        self.keeper().is_alive()
    }

    /// Whether it stands still because of [`freeze`](Self::freeze).
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst) && self.is_running()
    }

    /// A new connection to it, logged in as the default user.
    ///
    /// # Errors
    /// Nothing listens there, or the password has been changed.
    pub fn connect(&self) -> Result<RespClient, Error> {
        let mut client = RespClient::connect(self.port())?;
        if let Some(password) = &self.password {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// Steps its wall clock, to `offset_ms` ahead of the system's; negative means behind. Its
    /// monotonic clock is left alone, as when an administrator sets the time.
    ///
    /// # Errors
    /// It was started without [`Builder::clock_offset`].
    pub fn set_clock_offset(&self, offset_ms: i64) -> Result<(), Error> {
        let missing = || Error::new("the server was started without a clock of its own");
        self.clock.as_ref().ok_or_else(missing)?.step(offset_ms)
    }

    /// SIGKILL; returns when the process is gone. Nothing to do if it is already.
    ///
    /// # Errors
    /// It does not go away.
    pub fn kill(&self) -> Result<(), Error> {
        self.keeper().kill()
    }

    /// `SHUTDOWN NOSAVE`; returns when the process is gone. Clients see an orderly end.
    ///
    /// # Errors
    /// It does not answer or does not go away.
    pub fn shutdown(&self) -> Result<(), Error> {
        let mut client = self.connect()?;
        client.send(&["SHUTDOWN", "NOSAVE"])?;
        self.keeper().wait_for_end()
    }

    /// Starts it again on the same port and in the same folder, after killing it if it still runs.
    ///
    /// Without [`Builder::persist`] it comes back empty, like a failover that lost everything.
    ///
    /// # Errors
    /// It does not get ready, or another process has taken the port.
    pub fn restart(&self) -> Result<(), Error> {
        self.start_again(|_| Ok(()))
    }

    /// The same, without any data that [`Builder::persist`] has saved. A cluster node stays the
    /// same node.
    ///
    /// # Errors
    /// As [`restart`](Self::restart), or the data cannot be removed.
    pub fn restart_empty(&self) -> Result<(), Error> {
        self.start_again(|dir| {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else if !NO_DATA.iter().any(|name| entry.file_name() == *name) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
    }

    fn start_again(&self, meanwhile: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
        let mut keeper = self.keeper();
        keeper.kill()?;
        keeper.end(true)?;
        meanwhile(self.dir.path())?;
        self.frozen.store(false, Ordering::SeqCst);
        let deadline = Instant::now() + RESTART_LIMIT;
        *keeper = loop {
            match Keeper::launch(&self.binary, self.dir.path(), &self.args) {
                Ok(keeper) => break keeper,
                Err(NotReady::PortTaken) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(NotReady::PortTaken) => {
                    return Err(Error::new(format!(
                        "port {} was taken by another process",
                        self.port()
                    )));
                }
                Err(NotReady::Failed(error)) => return Err(error),
            }
        };
        drop(keeper);
        note_used(&self.binary)
    }

    /// SIGSTOP: connections stay open and silent. Returns when it really stands still (Linux; elsewhere at once).
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self) -> Result<(), Error> {
        let keeper = self.keeper();
        keeper.signal(Signal::STOP)?;
        self.frozen.store(true, Ordering::SeqCst);
        let stat = format!("/proc/{}/stat", keeper.pid());
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Ok(stat) = fs::read_to_string(&stat) {
            if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")) {
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::new("the server does not stop"));
            }
            thread::yield_now();
        }
        drop(keeper);
        Ok(())
    }

    /// SIGCONT: goes on after [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self) -> Result<(), Error> {
        let keeper = self.keeper();
        keeper.signal(Signal::CONT)?;
        self.frozen.store(false, Ordering::SeqCst);
        drop(keeper);
        Ok(())
    }

    pub(crate) fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ports are one server's, and nobody else's while it exists.
impl PartialEq for TestServer {
    fn eq(&self, other: &Self) -> bool {
        self.port() == other.port()
    }
}

impl Eq for TestServer {}

/// One server for the whole test process, started at the first call and ended with the process.
///
/// Only for tests that stay within keys of their own and leave the server itself alone.
///
/// # Panics
/// There is no server: a test must not pass without one.
pub fn shared_server() -> &'static TestServer {
    static SHARED: OnceLock<TestServer> = OnceLock::new();
    SHARED.get_or_init(|| match TestServer::start() {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    })
}
