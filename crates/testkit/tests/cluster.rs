//! A [`TestCluster`] starts, fails over and comes back, on every kind of server.

mod common;

use common::{cluster, servers, timed};
use latchwork_testkit::{ClusterNode, Reply, ServerBinary, TestCluster, TestServer, shared_cluster, slot_of};

/// A key and its slot, of the first master at the start.
const KEY: &str = "k3";

fn slot() -> u16 {
    slot_of(KEY)
}

fn get(node: &ClusterNode) -> Reply {
    node.admin(&["GET", KEY]).expect("an answer")
}

fn text(reply: &Reply) -> String {
    reply.text().unwrap_or_default()
}

#[test]
fn six_nodes_become_a_cluster() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary));
        assert_eq!(cluster.nodes().len(), 6);
        assert_eq!(cluster.urls().len(), 6);
        for (slot, index) in [(0, 0), (5_460, 0), (5_461, 1), (10_922, 2), (16_383, 2)] {
            let master = cluster.master_of(slot).unwrap();
            assert_eq!(master.index(), index);
            let replicas = cluster.replicas_of(master).unwrap();
            assert_eq!(replicas, [&cluster.nodes()[master.index() + 3]]);
            assert_ne!(cluster.stranger_to(slot).unwrap(), master);
            for name in cluster.names_on(master, "n", 3).unwrap() {
                master.admin(&["SET", &format!("a:{{{name}}}:b"), "v"]).unwrap();
            }
        }
        assert_eq!(TestCluster::names_in(slot(), "k", 1), [KEY]);
    }
}

#[test]
fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary));
        let old = cluster.master_of(slot()).unwrap();
        old.admin(&["SET", KEY, "v"]).unwrap();
        cluster.wait_replicated(slot()).unwrap();
        old.kill().unwrap();
        let new = timed("promoted", || cluster.wait_promoted(slot(), old).unwrap());
        assert_ne!(new, old);
        assert_eq!(text(&get(new)), "v");
        timed("known everywhere", || cluster.wait_owner(slot(), new).unwrap());
        assert_eq!(cluster.master_of(slot()).unwrap(), new);

        old.restart().unwrap();
        timed("settled", || cluster.wait_settled().unwrap());
        assert_eq!(cluster.replicas_of(new).unwrap(), [old]);
        let moved = old.admin(&["GET", KEY]).unwrap_err().to_string();
        assert_eq!(moved, format!("MOVED {} 127.0.0.1:{}", slot(), new.port()));
    }
}

#[test]
fn a_frozen_master_is_replaced() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary));
        let old = cluster.master_of(slot()).unwrap();
        old.freeze().unwrap();
        assert!(old.is_frozen());
        assert_eq!(cluster.master_of(slot()).unwrap(), old, "nobody else yet");
        let new = timed("promoted", || cluster.wait_promoted(slot(), old).unwrap());
        assert_eq!(get(new), Reply::Nil);
        old.thaw().unwrap();
        cluster.wait_settled().unwrap();
        assert_eq!(cluster.master_of(slot()).unwrap(), new);
    }
}

#[test]
fn a_failover_on_command_loses_nothing() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary));
        let old = cluster.master_of(slot()).unwrap();
        old.admin(&["SET", KEY, "v"]).unwrap();
        let new = timed("failed over", || cluster.failover(slot()).unwrap());
        assert_ne!(new, old);
        assert_eq!(text(&get(new)), "v");
        assert_eq!(cluster.master_of(slot()).unwrap(), new);
    }
}

#[test]
fn a_failover_without_the_old_master() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary));
        let [frozen, dead] = [slot(), 16_383].map(|slot| cluster.master_of(slot).unwrap());
        frozen.freeze().unwrap();
        let forced = timed("forced", || cluster.failover_force(slot()).unwrap());
        assert_ne!(forced, frozen);
        dead.kill().unwrap();
        let taken = timed("taken over", || cluster.failover_takeover(16_383).unwrap());
        assert_ne!(taken, dead);
    }
}

#[test]
fn what_no_replica_has_is_lost() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary));
        let old = cluster.master_of(slot()).unwrap();
        old.admin(&["SET", KEY, "first"]).unwrap();
        cluster.wait_replicated(slot()).unwrap();
        old.cut_replication().unwrap();
        old.admin(&["SET", KEY, "second"]).unwrap();
        old.kill().unwrap();
        let new = cluster.wait_promoted(slot(), old).unwrap();
        assert_eq!(text(&get(new)), "first");
    }
}

#[test]
fn replicas_come_back_when_replication_is_resumed() {
    let cluster = cluster(TestCluster::builder(1, 2));
    let [master, ..] = cluster.nodes() else {
        panic!("no node")
    };
    master.cut_replication().unwrap();
    assert_eq!(master.info("replication", "connected_slaves").unwrap(), "0");
    master.resume_replication().unwrap();
    cluster.wait_settled().unwrap();
    assert_eq!(master.info("replication", "connected_slaves").unwrap(), "2");
    let new = cluster.failover(0).unwrap();
    assert_ne!(new, master, "one master is enough for a failover on command");
}

#[test]
fn clients_that_follow_a_proxied_cluster_go_through_its_proxies() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(3, 1).binary(binary).proxied(true));
        let master = cluster.master_of(slot()).unwrap();
        let proxy = master.proxy().unwrap();
        assert_eq!(master.client_url(), proxy.url());
        let elsewhere = cluster.stranger_to(slot()).unwrap();
        let moved = elsewhere.admin(&["GET", KEY]).unwrap_err().to_string();
        assert_eq!(moved, format!("MOVED {} 127.0.0.1:{}", slot(), proxy.port()));
        proxy.reset_counts();
        let mut client = latchwork_testkit::RespClient::connect(proxy.port()).unwrap();
        assert_eq!(client.call(&["GET", KEY]).unwrap(), Reply::Nil);
        assert_eq!(proxy.request_names()["GET"], 1);
    }
}

#[test]
fn host_names_are_announced_that_do_not_exist() {
    let can = |binary: &ServerBinary| binary.version.is_at_least(7, 0);
    for binary in servers().into_iter().filter(can) {
        let builder = TestCluster::builder(3, 0).binary(binary);
        let cluster = cluster(builder.announce_hostnames(|node| format!("node-{node}.invalid")));
        let master = cluster.master_of(slot()).unwrap();
        let elsewhere = cluster.stranger_to(slot()).unwrap();
        let moved = elsewhere.admin(&["GET", KEY]).unwrap_err().to_string();
        let expected = format!(
            "MOVED {} node-{}.invalid:{}",
            slot(),
            master.index(),
            master.port()
        );
        assert_eq!(moved, expected);
    }
}

#[test]
fn an_announced_port_that_nobody_listens_on() {
    let cluster = cluster(TestCluster::builder(3, 0).node_arg(0, "--cluster-announce-port", "9"));
    let elsewhere = cluster.stranger_to(0).unwrap();
    let name = &TestCluster::names_in(0, "n", 1)[0];
    let moved = elsewhere.admin(&["GET", name]).unwrap_err().to_string();
    assert_eq!(moved, "MOVED 0 127.0.0.1:9");
}

#[test]
fn passwords_users_and_clocks() {
    for binary in servers() {
        let rules = ["on", ">secret", "~*", "&*", "+@all"];
        let builder = TestCluster::builder(1, 1).binary(binary);
        let builder = builder.password("sesame").user("worker", &rules);
        let cluster = cluster(builder.clock_offset(1, 60_000));
        let [master, replica] = cluster.nodes() else {
            panic!("two nodes")
        };
        assert!(
            master.url().starts_with("redis://:sesame@127.0.0.1:"),
            "{}",
            master.url()
        );
        let mut stranger = latchwork_testkit::RespClient::connect(master.port()).unwrap();
        assert!(stranger.call(&["PING"]).is_err(), "without a password");
        stranger.call(&["AUTH", "worker", "secret"]).unwrap();
        stranger.call(&["SET", KEY, "v"]).unwrap();
        cluster.wait_replicated(slot()).unwrap();

        let time = |node: &TestServer| node.admin(&["TIME"]).unwrap().items()[0].int().unwrap();
        assert!((50..70).contains(&(time(replica) - time(master))));
        let new = cluster.failover(slot()).unwrap();
        assert_eq!(new, replica);
        assert_eq!(text(&get(new)), "v");
        new.restart().unwrap();
        cluster.wait_settled().unwrap();
        assert_eq!(
            get(new),
            Reply::Nil,
            "the password still counts, the data is gone"
        );
    }
}

#[test]
fn the_shared_one_is_the_same_everywhere() {
    let (one, other) = (shared_cluster(), shared_cluster());
    assert_eq!(one.nodes(), other.nodes());
    assert!(one.nodes().iter().all(|node| node.is_running()));
}

#[test]
fn a_node_that_does_not_start_is_named_with_its_log() {
    let broken = TestCluster::builder(3, 0).node_arg(1, "--maxmemory", "plenty");
    let error = broken.start().unwrap_err().to_string();
    assert!(error.contains("node 1") && error.contains("plenty"), "{error}");
}
