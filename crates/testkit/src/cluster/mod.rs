//! A cluster of a test's own: kill, freeze and restart its nodes, fail over, move slots.
//!
//! How it starts is in `builder.rs`, moving slots in `migrate.rs`, what nodes think of each other
//! in `view.rs`.

mod builder;
mod failover;
mod migrate;
mod slot;
mod view;

use std::ops::Deref;
use std::sync::OnceLock;

use crate::error::Error;
use crate::proxy::Proxy;
use crate::replicas::wait_until_copied;
use crate::server::TestServer;
use crate::wait::wait_for;

pub use builder::ClusterBuilder;
pub(crate) use builder::form_alone;
pub use migrate::Migration;
use slot::SLOTS;
pub use slot::slot_of;
use view::{Peer, count, owners, parse};

/// How many names are tried to find one in a given slot.
const NAMES: usize = 1_000_000;

/// A cluster on 127.0.0.1. Dropping it kills its nodes; they also die with the test process.
///
/// Nodes are promoted by a majority of the masters that live, so let there be three if one is to
/// die.
#[derive(Debug)]
pub struct TestCluster {
    nodes: Vec<ClusterNode>,
}

/// A node of a [`TestCluster`], with everything that a [`TestServer`] can do: kill, freeze,
/// restart, admin.
#[derive(Debug)]
pub struct ClusterNode {
    server: TestServer,
    id: String,
    index: usize,
    proxy: Option<Proxy>,
}

impl Deref for ClusterNode {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl PartialEq for ClusterNode {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server
    }
}

impl Eq for ClusterNode {}

impl ClusterNode {
    /// Its id in the cluster.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its index in [`TestCluster::nodes`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// What clients go through that follow the cluster, with [`ClusterBuilder::proxied`].
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The URL for clients: as [`TestServer::url`], through the proxy if there is one.
    ///
    /// A proxy of a node with TLS leads to its TLS port.
    pub fn client_url(&self) -> String {
        let Some(proxy) = &self.proxy else {
            return self.url();
        };
        let (from, to) = (self.port(), proxy.port());
        match self.tls_url("127.0.0.1").zip(self.tls_port()) {
            Some((url, from)) => url.replace(&format!(":{from}"), &format!(":{to}")),
            None => self.url().replace(&format!(":{from}"), &format!(":{to}")),
        }
    }

    fn view(&self) -> Result<Vec<Peer>, Error> {
        let text = self.admin(&["CLUSTER", "NODES"])?.text().unwrap_or_default();
        Ok(parse(&text))
    }

    /// Whether it serves this slot: it is its master, and takes the cluster for complete.
    fn serves(&self, slot: u16) -> Result<bool, Error> {
        let itself = |peer: &Peer| peer.is("myself") && peer.is("master") && peer.owns(slot);
        Ok(self.view()?.iter().any(itself) && self.is_complete()?)
    }

    fn is_complete(&self) -> Result<bool, Error> {
        let info = self.admin(&["CLUSTER", "INFO"])?.text().unwrap_or_default();
        Ok(info.contains("cluster_state:ok"))
    }
}

impl TestCluster {
    /// Starts a cluster with as many replicas for each master.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub fn start(masters: usize, replicas_per_master: usize) -> Result<Self, Error> {
        Self::builder(masters, replicas_per_master).start()
    }

    /// For everything that [`start`](Self::start) does not offer.
    pub fn builder(masters: usize, replicas_per_master: usize) -> ClusterBuilder {
        ClusterBuilder::new(masters, replicas_per_master)
    }

    /// Its nodes: those that began as masters, then the first replica of each in the same order,
    /// and so on.
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }

    /// The URL of every node, for clients.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(ClusterNode::client_url).collect()
    }

    /// The node that the cluster takes for the slot's master, by the newest knowledge that any node
    /// has. It may be dead or frozen, as long as no other has been promoted.
    ///
    /// # Errors
    /// No node answers, or none knows the master.
    pub fn master_of(&self, slot: u16) -> Result<&ClusterNode, Error> {
        let mut newest: Option<(u64, &ClusterNode)> = None;
        for node in self.awake() {
            for peer in node.view()?.iter().filter(|peer| peer.owns(slot)) {
                let known = self.nodes.iter().find(|node| node.id == peer.id);
                let newer = newest.is_none_or(|(epoch, _)| peer.epoch > epoch);
                if let (Some(owner), true) = (known, newer) {
                    newest = Some((peer.epoch, owner));
                }
            }
        }
        let nobody = || Error::new(format!("no node knows the master of slot {slot}"));
        newest.map(|(_, owner)| owner).ok_or_else(nobody)
    }

    /// The replicas of a master, by what they say themselves, and those that do not answer by what
    /// others say.
    ///
    /// # Errors
    /// No node answers.
    pub fn replicas_of(&self, master: &ClusterNode) -> Result<Vec<&ClusterNode>, Error> {
        let mut asked = self.awake();
        asked.sort_by_key(|node| *node != master);
        let asked = asked.first().ok_or_else(|| Error::new("no node answers"))?;
        let known = asked.view()?;
        let mut replicas = Vec::new();
        for node in &self.nodes {
            let own = if node.is_awake() { Some(node.view()?) } else { None };
            let mut peers = own.as_ref().unwrap_or(&known).iter();
            if peers.any(|peer| peer.id == node.id && peer.master.as_ref() == Some(&master.id)) {
                replicas.push(node);
            }
        }
        Ok(replicas)
    }

    /// A node that is neither the slot's master nor one of its replicas.
    ///
    /// # Errors
    /// There is none, or no node answers.
    pub fn stranger_to(&self, slot: u16) -> Result<&ClusterNode, Error> {
        let master = self.master_of(slot)?;
        let replicas = self.replicas_of(master)?;
        self.nodes
            .iter()
            .find(|node| *node != master && !replicas.contains(node))
            .ok_or_else(|| Error::new("every node is the slot's master or one of its replicas"))
    }

    /// As many names as asked for, `<prefix>0`, `<prefix>5`, …, whose slots this node is the master
    /// of. A key with one of them as its hash tag is there.
    ///
    /// # Errors
    /// The node does not answer, or is the master of none.
    pub fn names_on(&self, node: &ClusterNode, prefix: &str, count: usize) -> Result<Vec<String>, Error> {
        let view = node.view()?;
        let itself = view.iter().find(|peer| peer.is("myself"));
        let names: Vec<String> = (0..NAMES)
            .map(|number| format!("{prefix}{number}"))
            .filter(|name| itself.is_some_and(|peer| peer.owns(slot_of(name))))
            .take(count)
            .collect();
        if names.len() == count {
            return Ok(names);
        }
        Err(node.blame("it owns too few slots"))
    }

    /// As many names as asked for that are in this slot.
    pub fn names_in(slot: u16, prefix: &str, count: usize) -> Vec<String> {
        let names = (0..NAMES).map(|number| format!("{prefix}{number}"));
        names.filter(|name| slot_of(name) == slot).take(count).collect()
    }

    /// Waits until the cluster is whole again, as far as its nodes are awake: all agree who owns
    /// every slot, none takes another for dead, and every replica is up to date with its master.
    ///
    /// # Errors
    /// It does not get there in 30 s. The error says which node is not ready, and why.
    pub fn wait_settled(&self) -> Result<(), Error> {
        wait_for("waiting for a cluster", || self.check_settled())
    }

    fn check_settled(&self) -> Result<(), Error> {
        let awake = self.awake();
        let first = awake.first().ok_or_else(|| Error::new("no node is awake"))?;
        let reference = first.view()?;
        let agreed = owners(&reference);
        let slots = count(&agreed);
        if slots != usize::from(SLOTS) {
            return Err(first.blame(&format!("it knows {slots} slots")));
        }
        for node in &awake {
            let view = node.view()?;
            if owners(&view) != agreed {
                return Err(node.blame("it does not agree who owns what"));
            }
            for other in &awake {
                let peer = view.iter().find(|peer| peer.id == other.id);
                let well = |peer: &Peer| {
                    peer.linked
                        && !["fail", "fail?", "handshake", "noaddr"]
                            .iter()
                            .any(|flag| peer.is(flag))
                };
                let role = reference
                    .iter()
                    .find(|peer| peer.id == other.id)
                    .map(|peer| &peer.master);
                if peer.map(|peer| &peer.master) != role {
                    return Err(node.blame(&format!("it does not agree who {} is", other.name())));
                }
                if !peer.is_some_and(well) {
                    return Err(node.blame(&format!("it is not connected to {}", other.name())));
                }
            }
            if !node.is_complete()? {
                return Err(node.blame("its cluster is not complete"));
            }
            let itself = view.iter().find(|peer| peer.is("myself"));
            let replicas = |master: &ClusterNode| {
                let of_it = reference
                    .iter()
                    .filter(|peer| peer.master.as_ref() == Some(&master.id));
                of_it
                    .filter(|peer| awake.iter().any(|node| node.id == peer.id))
                    .count()
            };
            match itself.and_then(|peer| peer.master.as_ref()) {
                Some(master) if awake.iter().any(|node| node.id == *master) => node.check_linked()?,
                Some(_) => {}
                None => node.check_online(replicas(node))?,
            }
        }
        Ok(())
    }

    /// Waits until the slot's replicas that are awake have everything that its master has written
    /// up to now.
    ///
    /// # Errors
    /// They do not get it in 30 s.
    pub fn wait_replicated(&self, slot: u16) -> Result<(), Error> {
        let master = self.master_of(slot)?;
        let replicas = self.replicas_of(master)?.into_iter();
        wait_until_copied(master, replicas.filter(|node| node.is_awake()).map(Deref::deref))
    }

    /// The nodes that answer.
    fn awake(&self) -> Vec<&ClusterNode> {
        self.nodes.iter().filter(|node| node.is_awake()).collect()
    }
}

/// One cluster for the whole test process, 3 masters with a replica each, as
/// [`shared_server`](crate::shared_server).
///
/// # Panics
/// It does not start: a test must not pass without one.
pub fn shared_cluster() -> &'static TestCluster {
    static SHARED: OnceLock<TestCluster> = OnceLock::new();
    SHARED.get_or_init(|| match TestCluster::start(3, 1) {
        Ok(cluster) => cluster,
        Err(error) => panic!("{error}"),
    })
}
