//! Which server runs the requests about a key.
//!
//! A sender asks here for the node of its key, and never for "the server". With one server there is
//! one node, and nothing to compute. In a cluster each key has a slot, and each slot a node.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Cmd;

use super::cluster::{Cluster, Work};
use crate::base::clock::{Moment, until};
use crate::connection::failure::Failure;
use crate::connection::node::Node;
use crate::types::error::{Error, Result};
use crate::wire::command::Request;
use crate::wire::slot::slot_of;
use crate::wire::value::{Answer, Reply};

/// The nodes of a client.
#[derive(Debug)]
pub(crate) struct Route {
    /// The one server, unless it belongs to a cluster.
    one: Arc<Node>,
    /// Known once the first server has said so, which is before anything is sent.
    cluster: OnceLock<Arc<Cluster>>,
}

impl Route {
    /// One server, for all keys.
    pub(crate) fn one(node: Node) -> Self {
        Self {
            one: Arc::new(node),
            cluster: OnceLock::new(),
        }
    }

    /// The server belongs to this cluster. Returns `false` if that was known.
    pub(crate) fn set_cluster(&self, cluster: Arc<Cluster>) -> bool {
        self.cluster.set(cluster).is_ok()
    }

    /// Returns the cluster, if there is one.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// Returns the slot of a key: requests about several keys need them in one. Always 0 with one
    /// server.
    pub(crate) fn slot(&self, key: &[u8]) -> u16 {
        self.cluster().map_or(0, |_| slot_of(key))
    }

    /// Returns the node that runs the requests about this key.
    pub(crate) fn of(&self, key: &[u8]) -> Arc<Node> {
        match self.cluster() {
            None => Arc::clone(&self.one),
            Some(cluster) => cluster.of(slot_of(key)),
        }
    }

    /// Returns the one server.
    pub(crate) const fn server(&self) -> &Arc<Node> {
        &self.one
    }

    /// Returns a node for what any of them can answer: one that is connected, if there is one. The
    /// same `number` gives the same node, while it is connected.
    pub(crate) fn any(&self, number: usize) -> Arc<Node> {
        match self.cluster() {
            None => Arc::clone(&self.one),
            Some(cluster) => cluster.any(number),
        }
    }

    /// Returns all nodes, in an order that lasts as long as the nodes stay the same.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        match self.cluster() {
            None => vec![Arc::clone(&self.one)],
            Some(cluster) => cluster.all(),
        }
    }

    /// Runs a script for a call, which fails at once if there has been no connection for long. The
    /// error tells whether the script may have run.
    pub(crate) async fn call(&self, request: &Request, deadline: Moment) -> Result<Answer, Failure> {
        match self.cluster() {
            None => self.one.call(request, deadline).await,
            Some(cluster) => Box::pin(cluster.send(Work::Call(request), deadline)).await,
        }
    }

    /// Runs a script for what belongs to a hold, which waits for a connection until `deadline`.
    pub(crate) async fn run(&self, request: &Request, deadline: Moment) -> Result<Answer, Failure> {
        match self.cluster() {
            None => self.one.run(request, deadline).await,
            Some(cluster) => Box::pin(cluster.send(Work::Run(request), deadline)).await,
        }
    }

    /// Runs scripts that may be run again, each about keys of its own slot. Returns the outcome of
    /// each.
    pub(crate) async fn run_all(
        &self,
        requests: &[Request],
        deadline: Moment,
    ) -> Vec<Result<Answer, Failure>> {
        match self.cluster() {
            None => join_all(requests.iter().map(|request| self.one.run(request, deadline))).await,
            Some(cluster) => cluster.run_all(requests, deadline).await,
        }
    }

    /// Sends a plain command about this key, for a call.
    pub(crate) async fn command(
        &self,
        key: &[u8],
        command: &Cmd,
        deadline: Moment,
    ) -> Result<Reply, Failure> {
        match self.cluster() {
            None => self.one.command(command, deadline).await,
            Some(cluster) => {
                let work = Work::Command(key, command);
                let answer = Box::pin(cluster.send(work, deadline)).await?;
                Ok(answer.reply)
            }
        }
    }

    /// Whether [`ready`](Self::ready) has nothing to wait for.
    pub(crate) fn is_ready(&self, key: &[u8]) -> bool {
        match self.cluster() {
            None => self.one.is_ready(),
            Some(cluster) => cluster.of(slot_of(key)).is_ready(),
        }
    }

    /// Waits for a connection for this key until `deadline`, or until calls fail at once. Nothing
    /// was sent if there is none in time.
    pub(crate) async fn ready(&self, key: &[u8], deadline: Moment) -> Result<(), Failure> {
        match self.cluster() {
            None => self.one.ready(deadline).await,
            Some(cluster) => cluster.ready(slot_of(key), deadline).await,
        }
    }

    /// The same for a request that must not be repeated: see [`Node::ready_once`].
    pub(crate) async fn ready_once(
        &self,
        key: &[u8],
        patience: Duration,
        times: (Moment, Moment),
    ) -> Result<Moment, Failure> {
        match self.cluster() {
            None => self.one.ready_once(patience, times).await,
            Some(cluster) => cluster.ready_once(slot_of(key), patience, times).await,
        }
    }

    /// Estimates the time at `moment` of the server that will run a request about this key, in
    /// milliseconds, rounded up. Scripts refuse a copy that arrives after its `not_after`.
    pub(crate) fn not_after(&self, key: &[u8], moment: Moment) -> u64 {
        match self.cluster() {
            None => self.one.not_after(moment),
            Some(cluster) => cluster.not_after(slot_of(key), moment),
        }
    }

    /// Returns whether a message that was received in this era of the server counts. In a cluster
    /// it may be of any node: what is to be believed of it is decided for each attempt.
    pub(crate) fn is_of_era(&self, era: u64) -> bool {
        self.cluster().is_some() || self.one.sites().era() == era
    }

    /// Returns whether a request about some key can be sent.
    pub(crate) fn is_up(&self) -> bool {
        match self.cluster() {
            None => self.one.is_up(),
            Some(cluster) => cluster.all().iter().any(|node| node.is_up()),
        }
    }

    /// Resolves when [`is_up`](Self::is_up) is true.
    pub(crate) async fn wait_until_up(&self) {
        match self.cluster() {
            None => self.one.wait_for_other(0).await,
            Some(cluster) => {
                let any = |nodes: &[Arc<Node>]| nodes.iter().any(|node| node.is_up());
                cluster.wait_until_up(any).await;
            }
        }
    }

    /// Resolves when there is a connection to each node, or at `deadline`.
    pub(crate) async fn wait_until_all_up(&self, deadline: Moment) {
        let all = async {
            match self.cluster() {
                None => self.one.wait_for_other(0).await,
                Some(cluster) => {
                    cluster
                        .wait_until_up(|nodes| !nodes.is_empty() && nodes.iter().all(|node| node.is_up()))
                        .await;
                }
            }
        };
        until(deadline, None, all).await;
    }

    /// Says why there is no answer.
    pub(crate) fn why_silent(&self) -> Error {
        let nodes = self.all();
        let silent = nodes.iter().find(|node| !node.is_up()).or_else(|| nodes.first());
        silent.map_or_else(|| self.one.why_silent(), |node| node.why_silent())
    }

    /// Returns the average round trip to the node that is farthest away.
    pub(crate) fn round_trip(&self) -> Duration {
        match self.cluster() {
            None => self.one.round_trip(),
            Some(cluster) => cluster.most(Node::round_trip),
        }
    }

    /// Returns the shortest round trip of the last seconds, to the node that is farthest away.
    pub(crate) fn distance(&self) -> Duration {
        match self.cluster() {
            None => self.one.distance(),
            Some(cluster) => cluster.most(Node::distance),
        }
    }

    /// Estimates the time at `moment` of the server whose clock is ahead of the others, in
    /// microseconds.
    pub(crate) fn latest_time(&self, moment: Moment) -> u64 {
        match self.cluster() {
            None => self.one.clock().at(moment),
            Some(cluster) => cluster.most(|node| node.clock().at(moment)),
        }
    }

    /// Returns how often scripts were loaded.
    pub(crate) fn loads(&self) -> u64 {
        self.all().iter().map(|node| node.loads()).sum()
    }
}
