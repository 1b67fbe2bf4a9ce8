//! Nodes of the cluster die, freeze, or hand over their slots, and clients follow.

use latchwork_testkit::{ClusterNode, TestCluster, slot_of};
use latchwork_tests::{eventually, granted, locked, locking, rises, subject, unlocked};

use super::fixture;

fn cluster() -> TestCluster {
    TestCluster::start(3, 1).expect("a cluster")
}

/// Each primitive: a holder and a waiter on other clients, on one node. Meanwhile the others serve.
async fn holds_and_places_live_on(cluster: &TestCluster, fault: impl AsyncFnOnce(&ClusterNode, u16)) {
    let fixture = fixture(cluster);
    let slot = slot_of("a");
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let mut pairs = Vec::new();
    for subject in subject::all() {
        let name = TestCluster::names_in(slot, subject.name(), 1).remove(0);
        let fixture = fixture.named(name).with(subject);
        let first = fixture.all(&one).await;
        let waiter = fixture.queue(&two).await;
        pairs.push((fixture, first, waiter));
    }
    cluster.wait_replicated(slot).expect("copied");
    let master = cluster.master_of(slot).expect("a master");
    let other = cluster.stranger_to(slot).expect("another");
    let other = if other.admin(&["ROLE"]).expect("a role").items()[0]
        .text()
        .as_deref()
        == Some("master")
    {
        other
    } else {
        let masters = |node: &&ClusterNode| *node != master && cluster.names_on(node, "", 1).is_ok();
        cluster.nodes().iter().find(masters).expect("another master")
    };
    let elsewhere = cluster.names_on(other, "else", 1).expect("names").remove(0);
    fault(master, slot).await;
    unlocked(locked(&one, &elsewhere).await).await;
    for (fixture, first, waiter) in pairs {
        assert!(
            !first.is_lost(),
            "{}: the record went along",
            fixture.subject.name()
        );
        let token = first.token();
        fixture.released(first).await;
        let second = fixture.granted(waiter).await;
        rises(token, second.token());
        fixture.released(second).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commanded_failover_costs_nothing_that_was_copied() {
    let cluster = cluster();
    holds_and_places_live_on(&cluster, async |_, slot| {
        cluster.failover(slot).expect("another master");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_master_costs_nothing_that_was_copied() {
    let cluster = cluster();
    holds_and_places_live_on(&cluster, async |master, slot| {
        master.kill().expect("killed");
        cluster.wait_promoted(slot, master).expect("another master");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_is_left() {
    let cluster = cluster();
    holds_and_places_live_on(&cluster, async |master, slot| {
        master.freeze().expect("frozen");
        cluster.wait_promoted(slot, master).expect("another master");
    })
    .await;
    cluster
        .nodes()
        .iter()
        .for_each(|node| node.thaw().expect("thawed"));
}

/// What was sent to the frozen master before is not waited for when another one has its slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_a_frozen_master_has_is_answered_by_the_next_one() {
    let cluster = cluster();
    let fixture = fixture(&cluster);
    let hour = std::time::Duration::from_secs(60);
    let client = fixture
        .client_with(|b| {
            b.lease(hour)
                .operation_timeout(hour)
                .heartbeat(std::time::Duration::from_secs(1))
        })
        .await;
    unlocked(locked(&client, "a").await).await;
    let slot = slot_of("a");
    cluster.wait_replicated(slot).expect("copied");
    let master = cluster.master_of(slot).expect("a master");
    master.freeze().expect("frozen");
    let asking = locking(&client, "a");
    cluster.wait_promoted(slot, master).expect("another master");
    unlocked(granted(asking).await).await;
    master.thaw().expect("thawed");
}

/// Messages come through one node for all. When it dies, another one passes them on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_node_that_passes_messages_on_loses_no_waiter() {
    let cluster = cluster();
    let fixture = fixture(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let pattern = format!("{}:inbox:*", fixture.prefix);
    let inboxes = |node: &ClusterNode| {
        let channels = node.admin(&["PUBSUB", "CHANNELS", &pattern]).expect("channels");
        channels.items().len()
    };
    let passes_on = cluster
        .nodes()
        .iter()
        .find(|node| inboxes(node) > 0)
        .expect("an inbox");
    let other = cluster
        .nodes()
        .iter()
        .find(|node| *node != passes_on && cluster.names_on(node, "held", 1).is_ok())
        .expect("another master");
    let name = cluster.names_on(other, "held", 1).expect("a name").remove(0);
    let first = locked(&one, &name).await;
    let waiter = locking(&two, &name);
    eventually("it waits", || two.live() == 1).await;
    passes_on.kill().expect("killed");
    unlocked(first).await;
    unlocked(granted(waiter).await).await;
    eventually("both listen again", || one.is_listening() && two.is_listening()).await;
}

/// Nobody asks it for anything, so only a look at its connections tells that a master has died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_nothing_follows_a_promoted_replica() {
    let cluster = cluster();
    let fixture = fixture(&cluster);
    let client = fixture.patient().await;
    let pattern = format!("{}:inbox:*", fixture.prefix);
    let passes_on = |node: &ClusterNode| {
        let channels = node.admin(&["PUBSUB", "CHANNELS", &pattern]).expect("channels");
        !channels.items().is_empty()
    };
    let victim = cluster
        .nodes()
        .iter()
        .find(|node| !passes_on(node) && cluster.names_on(node, "held", 1).is_ok())
        .expect("a master without its inbox");
    let name = cluster.names_on(victim, "held", 1).expect("a name").remove(0);
    let slot = slot_of(&name);
    let held = locked(&client, &name).await;
    cluster.wait_replicated(slot).expect("copied");
    victim.kill().expect("killed");
    let next = cluster.wait_promoted(slot, victim).expect("another master");
    let address = format!("127.0.0.1:{}", next.port());
    eventually("it is connected there", || {
        client.servers().iter().any(|server| server.address == address)
    })
    .await;
    unlocked(held).await;
}
