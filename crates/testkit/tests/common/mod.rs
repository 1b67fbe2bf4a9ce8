//! The servers that the tests of topologies run on, and what they show.
#![allow(clippy::print_stdout, reason = "times are shown, and asserted by nobody")]
#![allow(dead_code, reason = "no test target needs all of it")]

use std::time::Instant;

use latchwork_testkit::{
    ClusterBuilder, SentinelBuilder, ServerBinary, TestCluster, TestSentinel, Version, fetch_version,
    find_server,
};

/// The server of all other tests, and Valkey if it is to be had.
pub(crate) fn servers() -> Vec<ServerBinary> {
    let mut servers = vec![find_server().expect("a server")];
    servers.extend(version(Version::Valkey9_1));
    servers
}

/// This version if it is to be had.
pub(crate) fn version(which: Version) -> Option<ServerBinary> {
    fetch_version(which)
        .inspect_err(|error| println!("not run with {which}: {error}"))
        .ok()
}

pub(crate) fn cluster(builder: ClusterBuilder) -> TestCluster {
    let started = Instant::now();
    let cluster = builder.start().expect("a cluster");
    let (nodes, version) = (cluster.nodes().len(), cluster.nodes()[0].version());
    println!(
        "{version}: a cluster of {nodes} was ready after {:?}",
        started.elapsed()
    );
    cluster
}

pub(crate) fn sentinel(builder: SentinelBuilder) -> TestSentinel {
    let started = Instant::now();
    let all = builder.start().expect("sentinels");
    let version = all.nodes()[0].version();
    println!("{version}: sentinels were ready after {:?}", started.elapsed());
    all
}

/// Runs `event`, and shows how long it took.
pub(crate) fn timed<T>(what: &str, event: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = event();
    println!("{what} after {:?}", started.elapsed());
    result
}
