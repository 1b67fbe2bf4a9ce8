//! Slots move to other nodes while their names are in use.

use latchwork_mutex::Inbox;
use latchwork_testkit::{Migration, TestCluster, slot_of};
use latchwork_tests::{Fixture, granted, locked, locking, rises, subject, unlocked};

use super::fixture;
use super::sharded::{heard, knowing};

/// Masters without replicas: nothing fails here.
fn cluster() -> TestCluster {
    TestCluster::start(3, 0).expect("a cluster")
}

/// Names that are in use: each is free at first, and used once.
async fn names_work(fixture: &Fixture<'_>, slot: u16, step: &str) {
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    for name in TestCluster::names_in(slot, step, 2) {
        let first = locked(&one, &name).await;
        let second = locking(&two, &name);
        unlocked(first).await;
        unlocked(granted(second).await).await;
    }
}

/// Each primitive has a holder and a waiter when the slot begins to move, and a hand-over at every
/// step.
async fn moves_in_use(inbox: Inbox, steps: impl AsyncFn(&Fixture<'_>, &Migration<'_>, u16)) {
    let cluster = match inbox {
        Inbox::Sharded => knowing(TestCluster::builder(3, 0)),
        _ => cluster(),
    };
    let fixture = fixture(&cluster).with_inbox(inbox);
    let slot = slot_of("a");
    let source = cluster.master_of(slot).expect("a master");
    let target = cluster
        .nodes()
        .iter()
        .find(|node| *node != source)
        .expect("another");
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let mut pairs = Vec::new();
    for subject in subject::all() {
        let name = TestCluster::names_in(slot, subject.name(), 1).remove(0);
        let fixture = fixture.named(name).with(subject);
        let first = fixture.all(&one).await;
        let waiter = fixture.queue(&two).await;
        pairs.push((fixture, first, waiter));
    }
    let migration = cluster.migrate(slot, target).expect("a migration");
    steps(&fixture, &migration, slot).await;
    cluster.wait_settled().expect("settled");
    if inbox == Inbox::Sharded {
        let names: Vec<_> = pairs.iter().map(|(fixture, ..)| fixture.name.clone()).collect();
        heard(&cluster, &fixture.prefix, &names).await;
    }
    for (fixture, first, waiter) in pairs {
        assert!(!first.is_lost(), "{}: it moved along", fixture.subject.name());
        let token = first.token();
        fixture.released(first).await;
        let second = fixture.granted(waiter).await;
        rises(token, second.token());
        fixture.released(second).await;
    }
}

async fn is_served_at_every_step(inbox: Inbox) {
    moves_in_use(inbox, async |fixture, migration, slot| {
        names_work(fixture, slot, "before").await;
        migration.open().expect("opened");
        names_work(fixture, slot, "open").await;
        migration.move_keys().expect("moved");
        names_work(fixture, slot, "moved").await;
        migration.assign_target().expect("assigned");
        names_work(fixture, slot, "target").await;
        migration.assign_source().expect("assigned");
        names_work(fixture, slot, "source").await;
        migration.assign_others().expect("assigned");
        names_work(fixture, slot, "others").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_step_by_step_is_served_at_every_step() {
    is_served_at_every_step(Inbox::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_step_by_step_is_served_with_sharded_inboxes() {
    is_served_at_every_step(Inbox::Sharded).await;
}

/// The waiter's client hears nothing of the move: it sends nothing, and the message of the grant
/// comes from the other node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_by_the_target_reaches_a_waiter_that_knows_the_source() {
    let cluster = cluster();
    let fixture = fixture(&cluster);
    let slot = slot_of("a");
    let source = cluster.master_of(slot).expect("a master");
    let target = cluster
        .nodes()
        .iter()
        .find(|node| *node != source)
        .expect("another");
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let first = fixture.all(&one).await;
    let waiter = fixture.queue(&two).await;
    let migration = cluster.migrate(slot, target).expect("a migration");
    migration.open().expect("opened");
    migration.move_keys().expect("moved");
    fixture.released(first).await;
    let second = fixture.granted(waiter).await;
    fixture.released(second).await;
}
