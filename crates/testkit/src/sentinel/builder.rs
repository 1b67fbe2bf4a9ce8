//! How to start a [`TestSentinel`].

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::Duration;

use super::{Group, TestSentinel};
use crate::builder::Builder;
use crate::error::Error;
use crate::find::ServerBinary;
use crate::keeper::NotReady;
use crate::server::{Ports, TestServer};
use crate::tls::TlsFiles;

/// How to start a [`TestSentinel`].
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until `start`"]
pub struct SentinelBuilder {
    masters: usize,
    replicas: usize,
    sentinels: usize,
    name: String,
    quorum: Option<usize>,
    down_after: Duration,
    failover_timeout: Duration,
    data: Builder,
    watch: Builder,
    password: Option<String>,
    sentinel_password: Option<String>,
    /// Of the first masters.
    clocks: Vec<(usize, i64)>,
}

/// A sentinel that is going to start.
struct Sentinel {
    ports: Ports,
    id: String,
}

impl Sentinel {
    /// Where other sentinels reach it.
    fn port(&self) -> u16 {
        self.ports.tls.as_ref().unwrap_or(&self.ports.plain).number()
    }
}

impl SentinelBuilder {
    pub(super) fn new(masters: usize, replicas: usize, sentinels: usize) -> Self {
        Self {
            masters,
            replicas,
            sentinels,
            name: "mymaster".to_owned(),
            quorum: None,
            down_after: Duration::from_millis(1_200),
            failover_timeout: Duration::from_secs(3),
            data: TestServer::builder(),
            watch: TestServer::builder(),
            password: None,
            sentinel_password: None,
            clocks: Vec::new(),
        }
    }

    /// The server of all data nodes and sentinels. Defaults to what
    /// [`find_server`](crate::find_server) finds.
    pub fn binary(mut self, binary: ServerBinary) -> Self {
        self.data = self.data.binary(binary.clone());
        self.watch = self.watch.binary(binary);
        self
    }

    /// The name of the first master; the others are `<name>-2`, `<name>-3`, …. Defaults to
    /// `mymaster`.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// How many sentinels have to take a master for dead. Defaults to more than half.
    pub fn quorum(mut self, quorum: usize) -> Self {
        self.quorum = Some(quorum);
        self
    }

    /// How long a node may be silent until a sentinel takes it for dead. Defaults to 1.2 s.
    ///
    /// Less than 1 s makes sentinels fail over again and again: after a switch they connect to the
    /// new master up to 1 s later, and until then take it for dead.
    pub fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// How long a failover may take; after twice this another one is tried. Defaults to 3 s.
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.failover_timeout = timeout;
        self
    }

    /// An option and its value for every data node, as [`Builder::arg`].
    pub fn arg(mut self, option: &str, value: &str) -> Self {
        self.data = self.data.arg(option, value);
        self
    }

    /// An option and its value for every sentinel, as in `.sentinel_arg("--loglevel", "debug")`.
    pub fn sentinel_arg(mut self, option: &str, value: &str) -> Self {
        self.watch = self.watch.arg(option, value);
        self
    }

    /// As [`Builder::password`], for the data nodes. The sentinels know it.
    pub fn password(mut self, password: &str) -> Self {
        self.data = self.data.password(password);
        self.password = Some(password.to_owned());
        self
    }

    /// As [`Builder::password`], for the sentinels.
    pub fn sentinel_password(mut self, password: &str) -> Self {
        self.watch = self.watch.password(password);
        self.sentinel_password = Some(password.to_owned());
        self
    }

    /// As [`Builder::user`], for the data nodes.
    pub fn user(mut self, name: &str, rules: &[&str]) -> Self {
        self.data = self.data.user(name, rules);
        self
    }

    /// As [`Builder::user`], for the sentinels.
    pub fn sentinel_user(mut self, name: &str, rules: &[&str]) -> Self {
        self.watch = self.watch.user(name, rules);
        self
    }

    /// As [`Builder::tls`], for all. They speak TLS to each other, too.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.data = self.data.tls(files.clone());
        self.watch = self.watch.tls(files);
        self
    }

    /// As [`Builder::persist`], for the data nodes.
    pub fn persist(mut self, persist: bool) -> Self {
        self.data = self.data.persist(persist);
        self
    }

    /// As [`Builder::clock_offset`], for one data node, by its index in [`TestSentinel::nodes`].
    /// Only such a node has a clock that can be set later.
    pub fn clock_offset(mut self, node: usize, offset_ms: i64) -> Self {
        self.clocks.push((node, offset_ms));
        self
    }

    /// Starts all of them, and returns when every sentinel knows every node.
    ///
    /// # Errors
    /// There is no server, or a node does not get ready; the error says which, and has the end of
    /// its log.
    pub fn start(self) -> Result<TestSentinel, Error> {
        if self.masters == 0 || self.sentinels == 0 {
            return Err(Error::new("there is at least one master and one sentinel"));
        }
        let mut nodes = at_once(0..self.masters, |node| self.data_node(node, None))?;
        let ports: Vec<u16> = nodes.iter().map(main_port).collect();
        let all = self.masters..self.masters * (1 + self.replicas);
        nodes.extend(at_once(all, |node| {
            self.data_node(node, Some(ports[node % self.masters]))
        })?);
        let groups: Vec<Group> = (0..self.masters).map(|master| self.group(master)).collect();
        let planned: Vec<Sentinel> = (0..self.sentinels)
            .map(|_| self.plan())
            .collect::<Result<_, Error>>()?;
        let lines: Vec<String> = planned
            .iter()
            .map(|sentinel| self.lines(sentinel, &planned, &groups, &nodes))
            .collect();
        let sentinels = planned
            .into_iter()
            .zip(lines)
            .map(|(sentinel, lines)| {
                let started = self.watch.clone().sentinel(lines).start_on(sentinel.ports);
                started.map_err(|error| match error {
                    NotReady::Failed(error) => error.context("a sentinel"),
                    NotReady::PortTaken => Error::new("a sentinel's port was taken by another program"),
                })
            })
            .collect::<Result<_, Error>>()?;
        let all = TestSentinel {
            nodes,
            sentinels,
            groups,
        };
        all.wait_settled()?;
        Ok(all)
    }

    fn data_node(&self, node: usize, master: Option<u16>) -> Result<TestServer, Error> {
        let mut builder = self.data.clone().watched(master);
        for (_, offset) in self.clocks.iter().filter(|(of, _)| *of == node) {
            builder = builder.clock_offset(*offset);
        }
        builder.start()
    }

    fn group(&self, master: usize) -> Group {
        let name = match master {
            0 => self.name.clone(),
            _ => format!("{}-{}", self.name, master + 1),
        };
        let replicas = (0..self.replicas).map(|replica| self.masters * (1 + replica) + master);
        Group {
            name,
            members: [master].into_iter().chain(replicas).collect(),
        }
    }

    fn plan(&self) -> Result<Sentinel, Error> {
        let ports = self.watch.clone().sentinel(String::new()).ports()?;
        let random = RandomState::new().build_hasher().finish();
        Ok(Sentinel {
            id: format!("{random:016x}{:024x}", ports.plain.number()),
            ports,
        })
    }

    /// The configuration of a sentinel. It would also find replicas and other sentinels by itself,
    /// but that takes seconds.
    fn lines(&self, of: &Sentinel, all: &[Sentinel], groups: &[Group], nodes: &[TestServer]) -> String {
        let quorum = self.quorum.unwrap_or(self.sentinels / 2 + 1);
        let mut lines = vec![format!("myid {}", of.id)];
        if let Some(password) = &self.sentinel_password {
            lines.push(format!("sentinel-pass {password}"));
        }
        for Group { name, members } in groups {
            let mut ports = members.iter().map(|&member| main_port(&nodes[member]));
            let master = ports.next().unwrap_or_default();
            let down_after = self.down_after.as_millis();
            let timeout = self.failover_timeout.as_millis();
            lines.push(format!("monitor {name} 127.0.0.1 {master} {quorum}"));
            lines.push(format!("down-after-milliseconds {name} {down_after}"));
            lines.push(format!("failover-timeout {name} {timeout}"));
            if let Some(password) = &self.password {
                lines.push(format!("auth-pass {name} {password}"));
            }
            lines.extend(ports.map(|port| format!("known-replica {name} 127.0.0.1 {port}")));
            for other in all.iter().filter(|other| other.id != of.id) {
                let (port, id) = (other.port(), &other.id);
                lines.push(format!("known-sentinel {name} 127.0.0.1 {port} {id}"));
            }
        }
        lines.iter().flat_map(|line| ["sentinel ", line, "\n"]).collect()
    }
}

/// Where the sentinels and replicas reach a server.
pub(super) fn main_port(server: &TestServer) -> u16 {
    server.tls_port().unwrap_or_else(|| server.port())
}

/// Does it for all of them at the same time.
fn at_once<T: Send>(
    all: std::ops::Range<usize>,
    one: impl Fn(usize) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let one = &one;
    thread::scope(|scope| {
        let threads: Vec<_> = all.map(|index| scope.spawn(move || one(index))).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|result| result.unwrap_or_else(|_| Err(Error::new("a panic while starting"))))
            .collect()
    })
}
