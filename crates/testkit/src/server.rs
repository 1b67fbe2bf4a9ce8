//! A Redis or Valkey server of a test's own: start, kill, freeze, restart.
//!
//! Questions to a running server are in `admin.rs`, the process itself in `keeper.rs`.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::error::Error;
use crate::find::{ServerBinary, ServerVersion, find_server};
use crate::keeper::{Keeper, NotReady};
use crate::places::note_used;
use crate::resp::RespClient;
use crate::tls::TlsFiles;

/// Ports are taken from below the range that the system gives to outgoing connections: a port of ours
/// stays ours while its server is down. 6379 is somebody's real server and not in it.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
const PORT_ATTEMPTS: usize = 50;
/// How long a restart may find its port taken.
const RESTART_LIMIT: Duration = Duration::from_secs(5);
/// How long a single cluster node may take until it serves; 1.7 s is usual.
const CLUSTER_LIMIT: Duration = Duration::from_secs(20);

/// A running server on 127.0.0.1 with a port and a folder of its own. Dropping it kills it.
///
/// It also dies with the test process, however that ends. All methods take `&self`, so that one thread
/// can break what another one uses.
#[derive(Debug)]
pub struct TestServer {
    binary: ServerBinary,
    port: u16,
    tls_port: Option<u16>,
    args: Vec<String>,
    keeper: Mutex<Keeper>,
    pub(crate) client: Mutex<Option<RespClient>>,
    /// After the keeper, which removes it too and has to end first.
    dir: TempDir,
}

/// How to start a [`TestServer`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing until `start`"]
pub struct Builder {
    binary: Option<ServerBinary>,
    args: Vec<String>,
    tls: Option<TlsFiles>,
    persist: bool,
    cluster: bool,
}

impl TestServer {
    /// Starts the server that [`find_server`] finds, without persistence.
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

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port; the same for the server's whole life, restarts included.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on which it speaks TLS, with [`Builder::tls`].
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
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
        let mut client = RespClient::connect(self.port)?;
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
        let mut keeper = self.keeper();
        keeper.kill()?;
        keeper.end(true)?;
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
                        self.port
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
        self.keeper().signal(Signal::CONT)
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a single cluster node to serve all slots.
    fn form_cluster(&self) -> Result<(), Error> {
        let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
        let mut request = vec!["CLUSTER", "ADDSLOTS"]; // ADDSLOTSRANGE is from 7.0 on
        request.extend(slots.iter().map(String::as_str));
        self.admin(&request)?;
        let deadline = Instant::now() + CLUSTER_LIMIT;
        while !self
            .admin(&["CLUSTER", "INFO"])?
            .text()
            .unwrap_or_default()
            .contains("cluster_state:ok")
        {
            if Instant::now() >= deadline {
                return Err(Error::new("the cluster node does not get ready"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Builder {
    /// The server to start. Defaults to what [`find_server`] finds.
    pub fn binary(mut self, binary: ServerBinary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// An option and its value, as in `.arg("--maxmemory", "1mb")`.
    pub fn arg(mut self, option: &str, value: &str) -> Self {
        self.args.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// Gives a command another name, `hidden-<command>`, as operators do to keep it from clients.
    pub fn rename(mut self, command: &str) -> Self {
        let hidden = format!("hidden-{command}");
        self.args
            .extend(["--rename-command".to_owned(), command.to_owned(), hidden]);
        self
    }

    /// Lets it speak TLS as well, on a port of its own; clients need no certificate. Not every build can:
    /// [`find_tls_server`](crate::find_tls_server).
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Whether data survives a kill and [`TestServer::restart`] (AOF, everysec). Defaults to `false`.
    pub fn persist(mut self, persist: bool) -> Self {
        self.persist = persist;
        self
    }

    /// Whether it is a cluster of one node with every slot, enough to see CROSSSLOT; 2 s. Defaults to `false`.
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster;
        self
    }

    /// Starts it and returns when it accepts connections.
    ///
    /// # Errors
    /// There is no server, or it does not get ready; the error has its log.
    pub fn start(self) -> Result<TestServer, Error> {
        let binary = self.binary.clone().map_or_else(find_server, Ok)?;
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            let dir = tempfile::Builder::new().prefix("latchwork-").tempdir()?;
            let mut args = Vec::new();
            let tls_port = self.tls.as_ref().map(|_| free_port()).transpose()?;
            if let (Some(tls_port), Some(files)) = (tls_port, &self.tls) {
                args.extend(tls_options(tls_port, files));
            }
            args.extend(self.command_line(port, dir.path())); // what the test sets comes last, and counts
            match Keeper::launch(&binary, dir.path(), &args) {
                Ok(keeper) => {
                    note_used(&binary)?;
                    let (keeper, client) = (Mutex::new(keeper), Mutex::new(None));
                    let server = TestServer {
                        binary,
                        port,
                        tls_port,
                        args,
                        keeper,
                        client,
                        dir,
                    };
                    if self.cluster {
                        server.form_cluster()?;
                    }
                    return Ok(server);
                }
                Err(NotReady::PortTaken) => {}
                Err(NotReady::Failed(error)) => return Err(error),
            }
        }
        Err(Error::new("no free port for a server"))
    }

    fn command_line(&self, port: u16, dir: &Path) -> Vec<String> {
        let (port, dir) = (port.to_string(), dir.display().to_string());
        let mut line = vec![
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            &dir,
            "--save",
            "",
            "--daemonize",
            "no",
        ];
        if self.persist {
            line.extend([
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--auto-aof-rewrite-percentage",
                "0",
            ]);
        } else {
            line.extend(["--appendonly", "no"]);
        }
        if self.cluster {
            line.extend(["--cluster-enabled", "yes"]);
        }
        line.into_iter()
            .map(str::to_owned)
            .chain(self.args.iter().cloned())
            .collect()
    }
}

fn tls_options(port: u16, files: &TlsFiles) -> [String; 10] {
    let path = |path: &Path| path.display().to_string();
    [
        "--tls-port".to_owned(),
        port.to_string(),
        "--tls-cert-file".to_owned(),
        path(&files.certificate),
        "--tls-key-file".to_owned(),
        path(&files.key),
        "--tls-ca-cert-file".to_owned(),
        path(&files.authority),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
    ]
}

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

/// A port that was free a moment ago. The server itself finds out if it no longer is.
fn free_port() -> Result<u16, Error> {
    for _ in 0..PORT_ATTEMPTS {
        let random = RandomState::new().build_hasher().finish();
        let span = u64::from(PORTS.end - PORTS.start);
        let Ok(offset) = u16::try_from(random % span) else {
            continue;
        };
        let port = PORTS.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new("no free port between 10000 and 32000"))
}
