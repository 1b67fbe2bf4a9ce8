//! Which server runs the requests about a key.
//!
//! A sender asks here for the node of its key, and never for "the server". With one server there is
//! one node, and nothing to compute.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Moment;
use crate::connection::node::Node;
use crate::types::error::Error;

/// The nodes of a client.
#[derive(Debug)]
pub(crate) struct Route {
    node: Arc<Node>,
}

impl Route {
    /// One server, for all keys.
    pub(crate) fn one(node: Node) -> Self {
        Self { node: Arc::new(node) }
    }

    /// Returns the node that runs the requests about this key.
    pub(crate) fn of(&self, _key: &[u8]) -> Arc<Node> {
        Arc::clone(&self.node)
    }

    /// Returns a node for what any of them can answer.
    pub(crate) fn any(&self) -> &Arc<Node> {
        &self.node
    }

    /// Returns whether a request about some key can be sent.
    pub(crate) fn is_up(&self) -> bool {
        self.node.is_up()
    }

    /// Resolves when [`is_up`](Self::is_up) is true.
    pub(crate) async fn wait_until_up(&self) {
        self.node.wait_for_other(0).await;
    }

    /// Says why there is no answer.
    pub(crate) fn why_silent(&self) -> Error {
        self.node.why_silent()
    }

    /// Returns the average round trip to the node that is farthest away.
    pub(crate) fn round_trip(&self) -> Duration {
        self.node.round_trip()
    }

    /// Returns the shortest round trip of the last seconds.
    pub(crate) fn distance(&self) -> Duration {
        self.node.distance()
    }

    /// Estimates the time at `moment` of the server whose clock is ahead of the others, in
    /// microseconds.
    pub(crate) fn latest_time(&self, moment: Moment) -> u64 {
        self.node.clock().at(moment)
    }

    /// Returns how often scripts were loaded.
    pub(crate) fn loads(&self) -> u64 {
        self.node.loads()
    }
}
