//! How to start a [`TestServer`]: alone, or as a part of a topology.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::clock::{self, Clock};
use crate::cluster::form_alone;
use crate::error::Error;
use crate::find::{ServerBinary, find_server};
use crate::keeper::{Keeper, NotReady};
use crate::places::note_used;
use crate::ports::Port;
use crate::server::{Ports, TestServer};
use crate::tls::TlsFiles;

/// How often another port is tried, after a program that reserves none has taken one.
const PORT_ATTEMPTS: usize = 50;
/// Servers have 2 s for it as a constant.
const NODE_DELAY_MS: i64 = 2_100;
/// The user by which the servers of a topology log in to each other.
pub(crate) const REPLICA_USER: &str = "latchwork-replica";
pub(crate) const REPLICA_PASSWORD: &str = "latchwork";

/// How to start a [`TestServer`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing until `start`"]
pub struct Builder {
    binary: Option<ServerBinary>,
    args: Vec<String>,
    tls: Option<TlsFiles>,
    persist: bool,
    cluster: bool,
    password: Option<String>,
    clock: Option<i64>,
    part: Part,
}

/// What the server is a part of.
#[derive(Clone, Debug, Default)]
enum Part {
    /// It is alone.
    #[default]
    Nothing,
    /// Of a cluster.
    Cluster,
    /// Of what sentinels watch: a master, or a replica of the server on this port.
    Watched { master: Option<u16> },
    /// A sentinel, with these lines in its file.
    Sentinel { lines: String },
}

impl Builder {
    /// The server to start. Defaults to what [`find_server`] finds.
    pub fn binary(mut self, binary: ServerBinary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// An option and its value, as in `.arg("--maxmemory", "1mb")`.
    pub fn arg(self, option: &str, value: &str) -> Self {
        self.args(option, &[value])
    }

    pub(crate) fn args(mut self, option: &str, values: &[&str]) -> Self {
        self.args.push(option.to_owned());
        self.args.extend(values.iter().map(|&value| value.to_owned()));
        self
    }

    /// Gives a command another name, `hidden-<command>`, as operators do to keep it from clients.
    pub fn rename(self, command: &str) -> Self {
        self.args("--rename-command", &[command, &format!("hidden-{command}")])
    }

    /// Lets it speak TLS as well, on a port of its own; clients need no certificate. Not every
    /// build can: [`find_tls_server`](crate::find_tls_server).
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// The password of the default user. It is part of [`TestServer::url`], so let it have letters
    /// and digits only. Defaults to none.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A user with these ACL rules, as in `.user("worker", &["on", ">secret", "~*", "+@all"])`.
    pub fn user(self, name: &str, rules: &[&str]) -> Self {
        self.args("--user", &[&[name], rules].concat())
    }

    /// Gives it a wall clock of its own, this many milliseconds ahead of the system's; negative
    /// means behind. [`TestServer::set_clock_offset`] steps it later. Linux only; needs the C
    /// compiler `cc`.
    pub fn clock_offset(mut self, offset_ms: i64) -> Self {
        self.clock = Some(offset_ms);
        self
    }

    /// Whether data survives a kill and [`TestServer::restart`] (AOF, everysec). Defaults to
    /// `false`.
    pub fn persist(mut self, persist: bool) -> Self {
        self.persist = persist;
        self
    }

    /// Whether it is a cluster of one node with every slot, enough to see CROSSSLOT. Defaults to
    /// `false`. [`TestCluster`](crate::TestCluster) is more.
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster;
        self
    }

    /// As a node of a cluster, which knows no other yet.
    ///
    /// A node waits for 2 s of its wall clock before it serves as a master. So its clock is late
    /// when it starts, if it can be, and [`node_clock`](Self::node_clock) is set before it knows
    /// anybody.
    pub(crate) fn node(mut self) -> Self {
        let late = self.node_clock() - NODE_DELAY_MS;
        if clock::library().is_ok() {
            self.clock = Some(late);
        }
        self.part = Part::Cluster;
        self
    }

    /// The offset that the test wants, before [`node`](Self::node).
    pub(crate) fn node_clock(&self) -> i64 {
        self.clock.unwrap_or(0)
    }

    /// As a master that sentinels will watch, or as a replica of the one on this port.
    pub(crate) fn watched(mut self, master: Option<u16>) -> Self {
        self.part = Part::Watched { master };
        self
    }

    /// As a sentinel, with these lines in its file.
    pub(crate) fn sentinel(mut self, lines: String) -> Self {
        self.part = Part::Sentinel { lines };
        self
    }

    /// Starts it and returns when it accepts connections.
    ///
    /// # Errors
    /// There is no server, or it does not get ready; the error has its log.
    pub fn start(self) -> Result<TestServer, Error> {
        if self.cluster && !matches!(self.part, Part::Cluster) {
            return form_alone(self);
        }
        for _ in 0..PORT_ATTEMPTS {
            let ports = self.ports()?;
            match self.start_on(ports) {
                Ok(server) => return Ok(server),
                Err(NotReady::PortTaken) => {}
                Err(NotReady::Failed(error)) => return Err(error),
            }
        }
        Err(Error::new("no free port for a server"))
    }

    /// Ports for such a server.
    pub(crate) fn ports(&self) -> Result<Ports, Error> {
        let tls = self.tls.is_some();
        if !matches!(self.part, Part::Cluster) {
            return Ok(Ports {
                plain: Port::free()?,
                tls: tls.then(Port::free).transpose()?,
                bus: None,
            });
        }
        let [main, bus] = Port::free_with_bus()?; // nodes speak TLS to each other if they can
        let (plain, tls) = if tls {
            (Port::free()?, Some(main))
        } else {
            (main, None)
        };
        Ok(Ports {
            plain,
            tls,
            bus: Some(bus),
        })
    }

    /// Starts it on these ports.
    pub(crate) fn start_on(&self, ports: Ports) -> Result<TestServer, NotReady> {
        let mut binary = self
            .binary
            .clone()
            .map_or_else(find_server, Ok)
            .map_err(NotReady::Failed)?;
        let dir = tempfile::Builder::new()
            .prefix("latchwork-")
            .tempdir()
            .map_err(|error| NotReady::Failed(error.into()))?;
        let args = self.command_line(&ports, dir.path()).map_err(NotReady::Failed)?;
        let clock = match self.clock.map(|offset| Clock::new(dir.path(), offset)) {
            Some(clock) => {
                let (clock, environment) = clock.map_err(NotReady::Failed)?;
                binary.env.extend(environment);
                Some(clock)
            }
            None => None,
        };
        let keeper = Keeper::launch(&binary, dir.path(), &args)?;
        note_used(&binary).map_err(NotReady::Failed)?;
        Ok(TestServer {
            binary,
            ports,
            args,
            password: self.password.clone(),
            keeper: Mutex::new(keeper),
            client: Mutex::new(None),
            frozen: AtomicBool::new(false),
            clock,
            dir,
        })
    }

    /// The server's arguments. A server that rewrites its configuration gets a file with them
    /// instead.
    fn command_line(&self, ports: &Ports, dir: &Path) -> Result<Vec<String>, Error> {
        let options = self.options(ports, dir);
        let (lines, last) = match &self.part {
            Part::Nothing | Part::Cluster => return Ok(options),
            Part::Watched { .. } => (None, None),
            Part::Sentinel { lines } => (Some(lines), Some("--sentinel".to_owned())),
        };
        let file = dir.join("server.conf");
        let mut text = as_file(&options);
        text.extend(lines.map(String::as_str));
        fs::write(&file, text)?;
        Ok([file.display().to_string()].into_iter().chain(last).collect())
    }

    fn options(&self, ports: &Ports, dir: &Path) -> Vec<String> {
        let (port, dir) = (ports.plain.number().to_string(), dir.display().to_string());
        let mut line = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &dir];
        line.extend(["--daemonize", "no"]);
        if let Some(password) = &self.password {
            line.extend(["--requirepass", password]);
        }
        if !matches!(self.part, Part::Sentinel { .. }) {
            line.extend(["--save", ""]);
            line.extend(if self.persist { PERSISTENT } else { FORGETFUL });
        }
        if matches!(self.part, Part::Cluster) {
            line.extend(["--cluster-enabled", "yes"]);
        }
        if matches!(self.part, Part::Cluster | Part::Watched { .. }) {
            line.extend(REPLICATION);
        }
        let mut line: Vec<String> = line.into_iter().map(str::to_owned).collect();
        if let Part::Watched { master: Some(master) } = self.part {
            let master = ["--replicaof", "127.0.0.1", &master.to_string()].map(str::to_owned);
            line.extend(master);
        }
        if let (Some(port), Some(files)) = (&ports.tls, &self.tls) {
            line.extend(tls_options(port.number(), files));
            let links: &[&str] = match self.part {
                Part::Nothing => &[],
                Part::Cluster => &["--tls-replication", "yes", "--tls-cluster", "yes"],
                Part::Watched { .. } | Part::Sentinel { .. } => &["--tls-replication", "yes"],
            };
            line.extend(links.iter().map(|&word| word.to_owned()));
        }
        line.extend(self.args.iter().cloned()); // what the test sets comes last, and counts
        line
    }
}

const FORGETFUL: &[&str] = &["--appendonly", "no"];
const PERSISTENT: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--auto-aof-rewrite-percentage",
    "0",
];
/// A replica starts at once, and leaves no file from which it could come back with old data.
const REPLICATION: &[&str] = &[
    "--repl-diskless-sync",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-diskless-load",
    "on-empty-db",
    "--rdb-del-sync-files",
    "yes",
    "--user",
    REPLICA_USER,
    "on",
    ">latchwork", // REPLICA_PASSWORD
    "~*",
    "&*",
    "+@all",
    "--masteruser",
    REPLICA_USER,
    "--masterauth",
    REPLICA_PASSWORD,
];

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

/// The same options as lines of a configuration file.
fn as_file(options: &[String]) -> String {
    let mut text = String::new();
    for word in options {
        match word.strip_prefix("--") {
            Some(option) if text.is_empty() => text.push_str(option),
            Some(option) => text.extend(["\n", option]),
            None => {
                let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
                text.extend([" \"", &escaped, "\""]);
            }
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_lines() {
        let options = ["--save", "", "--user", "a", ">b\"c"].map(str::to_owned);
        assert_eq!(as_file(&options), "save \"\"\nuser \"a\" \">b\\\"c\"\n");
    }
}
