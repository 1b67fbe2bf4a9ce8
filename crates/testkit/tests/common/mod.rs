//! The servers that the tests of topologies run on, and what they show.

use std::time::Instant;

use latchwork_testkit::{
    ClusterBuilder, SentinelBuilder, ServerBinary, TestCluster, TestSentinel, Version, fetch_version,
    find_server,
};

/// The server of all other tests, and Valkey if it is to be had.
pub(crate) fn servers() -> Vec<ServerBinary> {
    let mut servers = vec![find_server().unwrap()];
    servers.extend(version(Version::Valkey9_1));
    servers
}

/// This version if it is to be had.
pub(crate) fn version(which: Version) -> Option<ServerBinary> {
    fetch_version(which)
        .inspect_err(|error| println!("not run with {which}: {error}"))
        .ok()
}

#[allow(dead_code, reason = "each test binary has one kind of topology")]
pub(crate) fn cluster(builder: ClusterBuilder) -> TestCluster {
    let started = Instant::now();
    let cluster = builder.start().unwrap();
    let (nodes, version) = (cluster.nodes().len(), cluster.nodes()[0].version());
    println!(
        "{version}: a cluster of {nodes} was ready after {:?}",
        started.elapsed()
    );
    cluster
}

#[allow(dead_code, reason = "each test binary has one kind of topology")]
pub(crate) fn sentinel(builder: SentinelBuilder) -> TestSentinel {
    let started = Instant::now();
    let all = builder.start().unwrap();
    let version = all.nodes()[0].version();
    println!("{version}: sentinels were ready after {:?}", started.elapsed());
    all
}

/// Runs `event`, and shows how long it took.
#[allow(dead_code, reason = "not every test binary has something to show")]
pub(crate) fn timed<T>(what: &str, event: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = event();
    println!("{what} after {:?}", started.elapsed());
    result
}
