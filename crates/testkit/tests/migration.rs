//! A slot moves step by step, and answers `ASK` and `MOVED` as it does on any cluster.

mod common;

use common::{cluster, servers, version};
use latchwork_testkit::{ClusterNode, RespClient, TestCluster, Version, slot_of};

const KEYS: [&str; 2] = ["{k}1", "{k}2"];

fn refusal(node: &ClusterNode, request: &[&str]) -> String {
    node.admin(request).expect_err("a redirection").to_string()
}

#[test]
fn step_by_step() {
    for binary in servers().into_iter().chain(version(Version::Redis6_2)) {
        let cluster = cluster(TestCluster::builder(3, 0).binary(binary));
        let slot = slot_of(KEYS[0]);
        let source = cluster.master_of(slot).unwrap();
        let target = cluster.stranger_to(slot).unwrap();
        for key in KEYS {
            source.admin(&["SET", key, "v"]).unwrap();
        }
        let ask = format!("ASK {slot} 127.0.0.1:{}", target.port());
        let moved = |to: &ClusterNode| format!("MOVED {slot} 127.0.0.1:{}", to.port());
        let migration = cluster.migrate(slot, target).unwrap();
        assert_eq!((migration.source(), migration.target()), (source, target));

        migration.open().unwrap();
        source.admin(&["GET", KEYS[0]]).unwrap();
        assert_eq!(
            refusal(source, &["GET", "{k}new"]),
            ask,
            "a key that does not exist"
        );
        assert_eq!(
            refusal(target, &["GET", KEYS[0]]),
            moved(source),
            "without ASKING"
        );
        assert_eq!(migration.keys_left().unwrap().len(), 2);

        migration.move_key(KEYS[0]).unwrap();
        assert_eq!(refusal(source, &["GET", KEYS[0]]), ask);
        source.admin(&["GET", KEYS[1]]).unwrap();
        let mut asking = RespClient::connect(target.port()).unwrap();
        asking.call(&["ASKING"]).unwrap();
        assert_eq!(asking.call(&["GET", KEYS[0]]).unwrap().text().unwrap(), "v");
        assert!(migration.assign_source().is_err(), "keys are left");

        assert_eq!(migration.move_keys().unwrap(), 1);
        migration.assign_target().unwrap();
        target.admin(&["GET", KEYS[1]]).unwrap();
        migration.assign_source().unwrap();
        assert_eq!(refusal(source, &["GET", KEYS[1]]), moved(target));
        migration.assign_others().unwrap();
        assert_eq!(cluster.master_of(slot).unwrap(), target);
        cluster.wait_settled().unwrap();

        let back = cluster.migrate(slot, source).unwrap();
        back.open().unwrap();
        back.abort().unwrap();
        target.admin(&["GET", KEYS[0]]).unwrap();
        cluster.migrate_slot(slot, source).unwrap();
        source.admin(&["GET", KEYS[0]]).unwrap();
    }
}

#[test]
fn in_one_step_with_replicas_and_a_password() {
    for binary in servers() {
        let cluster = cluster(TestCluster::builder(2, 1).binary(binary).password("sesame"));
        let slot = slot_of("k");
        let source = cluster.master_of(slot).unwrap();
        let target = cluster.stranger_to(slot).unwrap();
        source.admin(&["SET", "k", "v"]).unwrap();
        cluster.migrate_slot(slot, target).unwrap();
        target.admin(&["GET", "k"]).unwrap();
        cluster.wait_settled().unwrap();
        if cluster.has_atomic_migration() {
            cluster.atomic_migrate(slot, source).unwrap();
            assert_eq!(source.admin(&["GET", "k"]).unwrap().text().unwrap(), "v");
        } else {
            assert!(cluster.atomic_migrate(slot, source).is_err());
        }
    }
}
