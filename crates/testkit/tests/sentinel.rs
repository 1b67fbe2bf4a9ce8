//! A [`TestSentinel`] starts, switches to another master and comes back, on every kind of server.

mod common;

use common::{sentinel, servers, timed, version};
use latchwork_testkit::{Reply, RespClient, TestSentinel, TestServer, Version, shared_sentinel};

fn get(node: &TestServer) -> Reply {
    node.admin(&["GET", "k"]).expect("an answer")
}

fn text(reply: &Reply) -> String {
    reply.text().unwrap_or_default()
}

#[test]
fn a_killed_master_is_replaced_and_comes_back_empty() {
    for binary in servers() {
        let all = sentinel(TestSentinel::builder(1, 2, 3).binary(binary));
        let old = all.master().unwrap();
        assert_eq!(old, &all.nodes()[0]);
        assert_eq!(all.replicas().unwrap(), [&all.nodes()[1], &all.nodes()[2]]);
        assert_eq!(all.sentinel_urls().len(), 3);
        old.admin(&["SET", "k", "v"]).unwrap();
        all.wait_replicated().unwrap();
        old.kill().unwrap();
        let new = timed("switched", || all.wait_switched(old).unwrap());
        assert_ne!(new, old);
        assert_eq!(text(&get(new)), "v");
        timed("settled without it", || all.wait_settled().unwrap());
        assert_eq!(all.master().unwrap(), new);
        for sentinel in all.sentinels() {
            let said = sentinel.admin(&["SENTINEL", "MASTER", all.name()]).unwrap();
            let epoch = said.items().iter().position(|item| text(item) == "config-epoch");
            let epoch = &said.items()[epoch.unwrap() + 1];
            assert_eq!(text(epoch), "1", "one failover, not several");
        }

        old.restart().unwrap();
        assert_eq!(
            old.info("replication", "role").unwrap(),
            "master",
            "nobody has told it"
        );
        assert_eq!(get(old), Reply::Nil);
    }
}

#[test]
fn after_a_failover_the_old_master_becomes_a_replica() {
    let all = sentinel(TestSentinel::builder(1, 1, 3));
    let old = all.master().unwrap();
    let new = all.failover().unwrap();
    new.admin(&["SET", "k", "v"]).unwrap();
    timed("settled", || all.wait_settled().unwrap());
    assert_eq!(all.master().unwrap(), new, "one failover, not two");
    assert_eq!(text(&get(old)), "v");
}

#[test]
fn a_frozen_master_is_replaced_and_takes_writes_when_it_is_thawed() {
    let all = sentinel(TestSentinel::builder(1, 1, 3));
    let old = all.master().unwrap();
    old.freeze().unwrap();
    let new = timed("switched", || all.wait_switched(old).unwrap());
    old.thaw().unwrap();
    old.admin(&["SET", "k", "old"]).unwrap();
    new.admin(&["SET", "k", "new"]).unwrap();
    assert_eq!(all.master().unwrap(), new);
}

#[test]
fn a_failover_on_command() {
    for binary in servers() {
        let all = sentinel(TestSentinel::builder(1, 2, 3).binary(binary).name("orders"));
        assert_eq!(all.names(), ["orders"]);
        let old = all.master().unwrap();
        old.admin(&["SET", "k", "v"]).unwrap();
        all.wait_replicated().unwrap();
        let new = timed("failed over", || all.failover().unwrap());
        assert_ne!(new, old);
        assert_eq!(text(&get(new)), "v");
        new.kill().unwrap();
        new.restart().unwrap();
        assert_eq!(
            new.info("replication", "role").unwrap(),
            "master",
            "a restarted node forgot what the sentinels had told it"
        );
    }
}

#[test]
fn sentinels_can_be_killed_frozen_and_restarted() {
    let all = sentinel(TestSentinel::builder(1, 1, 3));
    let [first, second, third] = all.sentinels() else {
        panic!("three sentinels")
    };
    first.kill().unwrap();
    let old = all.master().unwrap();
    old.kill().unwrap();
    let new = timed("switched by two", || all.wait_switched(old).unwrap());
    first.restart().unwrap();
    second.freeze().unwrap();
    assert_eq!(all.master().unwrap(), new);
    second.thaw().unwrap();
    assert_eq!(text(&third.admin(&["PING"]).unwrap()), "PONG");
}

#[test]
fn what_no_replica_has_is_lost() {
    let all = sentinel(TestSentinel::builder(1, 1, 3));
    let old = all.master().unwrap();
    old.admin(&["SET", "k", "first"]).unwrap();
    all.wait_replicated().unwrap();
    old.cut_replication().unwrap();
    old.admin(&["SET", "k", "second"]).unwrap();
    old.kill().unwrap();
    let new = all.wait_switched(old).unwrap();
    assert_eq!(text(&get(new)), "first");
}

#[test]
fn several_masters_and_passwords_of_their_own() {
    for binary in servers() {
        let builder = TestSentinel::builder(2, 1, 3).binary(binary);
        let builder = builder.password("sesame").sentinel_password("open");
        let rules = ["on", ">secret", "~*", "&*", "+@all"];
        let all = sentinel(builder.user("worker", &rules).sentinel_user("watcher", &rules));
        assert_eq!(all.names(), ["mymaster", "mymaster-2"]);
        let (first, second) = (all.master().unwrap(), all.master_of("mymaster-2").unwrap());
        assert_ne!(first, second);
        for (node, user) in [(first, "worker"), (&all.sentinels()[0], "watcher")] {
            let mut stranger = RespClient::connect(node.port()).unwrap();
            assert!(stranger.call(&["PING"]).is_err(), "without a password");
            stranger.call(&["AUTH", user, "secret"]).unwrap();
            stranger.call(&["PING"]).unwrap();
        }
        assert!(all.sentinel_urls()[0].starts_with("redis://:open@127.0.0.1:"));
        let new = all.failover_of("mymaster-2").unwrap();
        assert_ne!(new, second);
        assert_eq!(all.master().unwrap(), first);
    }
}

#[test]
fn the_shared_ones_are_the_same_everywhere() {
    let (one, other) = (shared_sentinel(), shared_sentinel());
    assert_eq!(one.sentinels(), other.sentinels());
    assert_eq!(one.nodes().len(), 2);
}

#[test]
fn the_oldest_server() {
    if let Some(binary) = version(Version::Redis6_2) {
        let all = sentinel(TestSentinel::builder(1, 1, 3).binary(binary));
        let old = all.master().unwrap();
        old.kill().unwrap();
        timed("switched", || all.wait_switched(old).unwrap());
    }
}
