//! In a cluster, every name works, wherever it is, and clients follow slots to other nodes.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod busy;
mod connecting;
mod failing;
mod listening;
mod moving;
mod sharded;
mod using;

use latchwork_mutex::Client;
use latchwork_testkit::TestCluster;
use latchwork_tests::Fixture;

/// A fixture at the node that has the slot of its name, with a client of the whole cluster.
fn fixture(cluster: &TestCluster) -> Fixture<'_> {
    Fixture::in_cluster(cluster)
}

/// How many masters the client is connected to.
fn masters(client: &Client) -> usize {
    client.servers().len()
}
