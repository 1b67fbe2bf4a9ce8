//! How to start a [`TestCluster`], and how nodes become one.

use std::thread;
use std::time::{Duration, Instant};

use super::slot::SLOTS;
use super::{ClusterNode, TestCluster};
use crate::builder::Builder;
use crate::error::Error;
use crate::find::ServerBinary;
use crate::ports::Port;
use crate::proxy::Proxy;
use crate::server::TestServer;
use crate::tls::TlsFiles;
use crate::wait::wait_for;

/// A node gives up a handshake after 1 s. Then it is told of the other node again.
const MEET_AGAIN: Duration = Duration::from_millis(1_200);

/// How to start a [`TestCluster`].
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until `start`"]
pub struct ClusterBuilder {
    masters: usize,
    replicas: usize,
    base: Builder,
    node_timeout: Duration,
    /// For one node each.
    node_args: Vec<(usize, String, String)>,
    /// For one node each.
    clocks: Vec<(usize, i64)>,
    proxied: bool,
    tls: bool,
}

impl ClusterBuilder {
    pub(super) fn new(masters: usize, replicas: usize) -> Self {
        let mut base = TestServer::builder();
        for [option, value] in [
            ["--cluster-config-file", "nodes.conf"],
            ["--cluster-replica-validity-factor", "0"], // a replica is never too old to be promoted
            ["--cluster-migration-barrier", "999"],     // and never goes to another master by itself
        ] {
            base = base.arg(option, value);
        }
        Self {
            masters,
            replicas,
            base,
            node_timeout: Duration::from_millis(500),
            node_args: Vec::new(),
            clocks: Vec::new(),
            proxied: false,
            tls: false,
        }
    }

    /// The server of every node. Defaults to what [`find_server`](crate::find_server) finds.
    pub fn binary(mut self, binary: ServerBinary) -> Self {
        self.base = self.base.binary(binary);
        self
    }

    /// How long a node may be silent until the others take it for dead. Defaults to 500 ms.
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// An option and its value for every node, as [`Builder::arg`].
    pub fn arg(mut self, option: &str, value: &str) -> Self {
        self.base = self.base.arg(option, value);
        self
    }

    /// An option and its value for one node. The masters are 0, 1, …; then come the replicas, the
    /// first ones of each master in the same order, then the second ones.
    pub fn node_arg(mut self, node: usize, option: &str, value: &str) -> Self {
        self.node_args.push((node, option.to_owned(), value.to_owned()));
        self
    }

    /// Lets every node announce a host name, and clients get it in place of the address. Nodes
    /// connect to each other as before, so the names need not exist. From 7.0 on.
    pub fn announce_hostnames(mut self, name: impl Fn(usize) -> String) -> Self {
        for node in 0..self.size() {
            self = self.node_arg(node, "--cluster-announce-hostname", &name(node));
        }
        self.arg("--cluster-preferred-endpoint-type", "hostname")
    }

    /// Puts a [`Proxy`] in front of every node and announces its port, so that clients that follow
    /// the cluster go through it: [`ClusterNode::proxy`]. Replicas receive their data through it,
    /// too. Defaults to `false`.
    pub fn proxied(mut self, proxied: bool) -> Self {
        self.proxied = proxied;
        self
    }

    /// As [`Builder::tls`]. Nodes speak TLS to each other, too.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.base = self.base.tls(files);
        self.tls = true;
        self
    }

    /// As [`Builder::password`].
    pub fn password(mut self, password: &str) -> Self {
        self.base = self.base.password(password);
        self
    }

    /// As [`Builder::user`].
    pub fn user(mut self, name: &str, rules: &[&str]) -> Self {
        self.base = self.base.user(name, rules);
        self
    }

    /// As [`Builder::persist`].
    pub fn persist(mut self, persist: bool) -> Self {
        self.base = self.base.persist(persist);
        self
    }

    /// Sets the clock of one node this many milliseconds ahead of the system's; see
    /// [`Builder::clock_offset`]. On Linux every node has a clock that
    /// [`TestServer::set_clock_offset`] steps later.
    pub fn clock_offset(mut self, node: usize, offset_ms: i64) -> Self {
        self.clocks.push((node, offset_ms));
        self
    }

    fn size(&self) -> usize {
        self.masters * (1 + self.replicas)
    }

    /// Starts the nodes, makes a cluster of them, and returns when all of them agree that it is
    /// complete.
    ///
    /// # Errors
    /// There is no server, or a node does not get ready; the error says which, and has the end of
    /// its log.
    pub fn start(self) -> Result<TestCluster, Error> {
        if self.masters == 0 {
            return Err(Error::new("a cluster has at least one master"));
        }
        let this = &self;
        let nodes = thread::scope(|scope| {
            let starting: Vec<_> = (0..self.size())
                .map(|node| scope.spawn(move || this.start_node(node)))
                .collect();
            starting
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(Error::new("a panic"))))
                .collect::<Result<Vec<_>, Error>>()
        })?;
        introduce(&nodes)?;
        for (at, replica) in nodes.iter().enumerate().skip(self.masters) {
            replicate(replica, &nodes[at % self.masters])?;
        }
        let cluster = TestCluster { nodes };
        cluster.wait_settled()?;
        Ok(cluster)
    }

    fn start_node(&self, index: usize) -> Result<ClusterNode, Error> {
        let mut builder = self.base.clone();
        let timeout = self.node_timeout.as_millis().to_string();
        builder = builder.arg("--cluster-node-timeout", &timeout);
        for (_, option, value) in self.node_args.iter().filter(|(node, ..)| *node == index) {
            builder = builder.arg(option, value);
        }
        for (_, offset) in self.clocks.iter().filter(|(node, _)| *node == index) {
            builder = builder.clock_offset(*offset);
        }
        let proxy = self.proxied.then(|| Proxy::start(0)).transpose()?;
        if let Some(proxy) = &proxy {
            let option = if self.tls {
                "--cluster-announce-tls-port"
            } else {
                "--cluster-announce-port"
            };
            builder = builder.arg(option, &proxy.port().to_string());
        }
        let slots = |master| master * usize::from(SLOTS) / self.masters;
        let owned = (index < self.masters).then(|| slots(index)..slots(index + 1));
        let server = start_node(builder, index + 1, owned.unwrap_or_default())
            .map_err(|error| error.context(&format!("node {index}")))?;
        if let Some(proxy) = &proxy {
            proxy.lead_to(server.tls_port().unwrap_or_else(|| server.port()));
        }
        let id = server.admin(&["CLUSTER", "MYID"])?.text().unwrap_or_default();
        Ok(ClusterNode {
            server,
            id,
            index,
            proxy,
        })
    }
}

/// Starts one node with an epoch of its own, so that none has to be changed when nodes meet.
fn start_node(builder: Builder, epoch: usize, slots: std::ops::Range<usize>) -> Result<TestServer, Error> {
    let clock = builder.node_clock();
    let server = builder.node().start()?;
    server.admin(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
    if !slots.is_empty() {
        let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
        let mut request = vec!["CLUSTER", "ADDSLOTS"]; // ADDSLOTSRANGE is from 7.0 on
        request.extend(slots.iter().map(String::as_str));
        server.admin(&request)?;
    }
    // It has looked at its state before it answered, so its waiting time has begun.
    if server.clock.is_some() {
        server.set_clock_offset(clock)?;
    }
    Ok(server)
}

/// Lets every node meet every other, and waits until they know each other.
fn introduce(nodes: &[ClusterNode]) -> Result<(), Error> {
    let mut sent: Option<Instant> = None;
    wait_for("waiting for nodes to know each other", || {
        // One of each two is enough, unless it got lost on the way.
        let sent_before = sent.is_some();
        let again = sent.is_none_or(|sent| sent.elapsed() > MEET_AGAIN);
        if again {
            sent = Some(Instant::now());
        }
        let mut missing = None;
        for (at, node) in nodes.iter().enumerate() {
            let view = node.view()?;
            for (other_at, other) in nodes.iter().enumerate().filter(|(other, _)| *other != at) {
                if view
                    .iter()
                    .any(|peer| peer.id == other.id && !peer.is("handshake"))
                {
                    continue;
                }
                let half_known = other_at < at && sent_before;
                if again && (other_at > at || half_known) {
                    meet(node, other)?;
                }
                missing = Some(node.blame(&format!("it does not know {} yet", other.name())));
            }
        }
        missing.map_or(Ok(()), Err)
    })
}

fn meet(node: &ClusterNode, other: &ClusterNode) -> Result<(), Error> {
    let port = other.tls_port().unwrap_or_else(|| other.port());
    let bus = other.ports.bus.as_ref().map_or(0, Port::number);
    let (port, bus) = (port.to_string(), bus.to_string());
    node.admin(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
        .map(drop)
}

fn replicate(replica: &ClusterNode, master: &ClusterNode) -> Result<(), Error> {
    wait_for("waiting for a replica to know its master", || {
        replica
            .admin(&["CLUSTER", "REPLICATE", &master.id])
            .map_err(|error| replica.blame(&error.to_string()))
    })
    .map(drop)
}

/// A cluster of one node with every slot.
pub(crate) fn form_alone(builder: Builder) -> Result<TestServer, Error> {
    let server = start_node(builder, 1, 0..usize::from(SLOTS))?;
    wait_for("waiting for a cluster of one node", || {
        let info = server.admin(&["CLUSTER", "INFO"])?.text().unwrap_or_default();
        if info.contains("cluster_state:ok") {
            return Ok(());
        }
        Err(server.blame("its cluster is not complete"))
    })?;
    Ok(server)
}
