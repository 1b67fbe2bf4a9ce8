//! Where a client listens decides nothing.

use latchwork_testkit::shared_cluster;
use latchwork_tests::{eventually, granted, locked, locking, unlocked};

use super::fixture;

/// The node of the lock counts subscribers of its own only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h13_a_waiter_that_listens_at_another_node_is_not_overtaken() {
    let fixture = fixture(shared_cluster());
    let here = || {
        let pattern = format!("{}:inbox:*", fixture.prefix);
        let channels = fixture
            .server
            .admin(&["PUBSUB", "CHANNELS", &pattern])
            .expect("channels");
        channels.items().len()
    };
    let (mut near, mut far) = (None, None);
    while near.is_none() || far.is_none() {
        let before = here();
        let client = fixture.patient().await;
        let side = if here() > before { &mut near } else { &mut far };
        *side = Some(client);
    }
    let (near, far) = (near.expect("one"), far.expect("another"));
    let first = locked(&near, "a").await;
    let second = locking(&far, "a");
    let queue = || {
        let queue = ["ZCOUNT", &fixture.key(), "-inf", "(0"];
        fixture.server.admin(&queue).expect("a number").int()
    };
    eventually("it waits", || queue() == Some(1)).await;
    let third = locking(&near, "a");
    eventually("both wait", || queue() == Some(2)).await;
    unlocked(first).await;
    let second = granted(second).await;
    assert!(!third.is_finished(), "it came later");
    unlocked(second).await;
    unlocked(granted(third).await).await;
}
