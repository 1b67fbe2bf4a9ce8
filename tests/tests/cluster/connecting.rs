//! A client finds out that a server belongs to a cluster, and what it has to know of it.

use latchwork_testkit::shared_cluster;
use latchwork_tests::{locked, subject, unlocked};

use super::{fixture, masters};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_leads_to_all_masters() {
    let cluster = shared_cluster();
    let fixture = fixture(cluster);
    for url in cluster.urls() {
        let client = fixture.builder_at(&url).connect().await.expect("a client");
        assert_eq!(masters(&client), 3, "{url}");
        for number in 0..12 {
            unlocked(locked(&client, format!("{number}")).await).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_primitive_hands_over_wherever_its_name_is() {
    let cluster = shared_cluster();
    let fixture = fixture(cluster);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    for subject in subject::all() {
        for number in 0..6 {
            let mut fixture = fixture.named(format!("n{number}")).with(subject);
            fixture.server = cluster
                .master_of(latchwork_testkit::slot_of(fixture.key()))
                .expect("a master");
            let first = fixture.all(&one).await;
            let waiter = fixture.queue(&two).await;
            fixture.released(first).await;
            let second = fixture.granted(waiter).await;
            fixture.released(second).await;
        }
    }
}
