//! Sharded inboxes: a waiter is told by the node of its lock, and by no other.

use std::time::Duration;

use latchwork_core::{Client, Credentials, ErrorKind, Inbox, Warning};
use latchwork_testkit::{
    ClusterBuilder, ClusterNode, TestCluster, TestServer, Version, fetch_version, find_server, slot_of,
};
use latchwork_tests::{Fixture, MINUTE, eventually, granted, locked, locking, subject, unlocked};

use super::busy::calls;
use super::fixture;

/// The fixture's clients have sharded inboxes.
fn sharded(cluster: &TestCluster) -> Fixture<'_> {
    fixture(cluster).with_inbox(Inbox::Sharded)
}

/// A cluster that knows sharded messages: of another version if this one does not.
pub(super) fn knowing(builder: ClusterBuilder) -> TestCluster {
    let server = find_server().expect("a server");
    let builder = if server.version.is_at_least(7, 0) {
        builder
    } else {
        builder.binary(fetch_version(Version::Redis8_2).expect("it can be fetched"))
    };
    builder.start().expect("a cluster")
}

/// The channels below this prefix that somebody is subscribed to at this node.
fn channels(node: &TestServer, prefix: &str) -> Vec<String> {
    let pattern = format!("{prefix}:inbox:*");
    let reply = node.admin(&["PUBSUB", "SHARDCHANNELS", &pattern]);
    let reply = reply.expect("channels");
    let texts = reply.items().iter();
    texts.filter_map(latchwork_testkit::Reply::text).collect()
}

/// The node that has the slot of a name.
fn home<'a>(cluster: &'a TestCluster, name: &str) -> &'a ClusterNode {
    cluster.master_of(slot_of(name)).expect("a master")
}

/// Waits until the channels of these names are heard at their nodes.
pub(super) async fn heard(cluster: &TestCluster, prefix: &str, names: &[String]) {
    for name in names {
        let end = format!(":{{{name}}}");
        let is_heard = || {
            let channels = channels(home(cluster, name), prefix);
            channels.iter().any(|channel| channel.ends_with(&end))
        };
        eventually(&format!("the channel of {name}"), is_heard).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_primitive_is_handed_over_on_every_master() {
    let cluster = &knowing(TestCluster::builder(3, 0));
    let fixture = sharded(cluster);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    for subject in subject::all() {
        for name in ["a", "b", "c", "d"].map(|name| format!("{}-{name}", subject.name())) {
            let mut fixture = fixture.named(&name).with(subject);
            fixture.server = home(cluster, &name);
            let first = fixture.all(&one).await;
            let waiter = fixture.queue(&two).await;
            fixture.released(first).await;
            let second = fixture.granted(waiter).await;
            fixture.released(second).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_lock_subscribes_to_nothing_and_a_first_wait_costs_two_requests_more() {
    let cluster = knowing(TestCluster::builder(3, 0));
    let fixture = sharded(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let costs = || ["evalsha", "spublish", "publish", "ssubscribe"].map(|it| calls(&cluster, it));
    for name in (0..6).map(|number| number.to_string()) {
        let mut before = costs();
        unlocked(locked(&one, &name).await).await;
        before[0] += 2;
        assert_eq!(costs(), before, "{name}, free");
        for (wait, ticks, subscriptions) in [(1, 1, 1), (2, 0, 0)] {
            let first = locked(&one, &name).await;
            let waiter = locking(&two, &name);
            before[0] += 2 + ticks;
            before[3] += subscriptions;
            eventually("it waits, and listens", || costs() == before).await;
            unlocked(first).await;
            unlocked(granted(waiter).await).await;
            before[0] += 2;
            before[1] += 1;
            assert_eq!(costs(), before, "{name}, wait {wait}");
        }
    }
}

/// What is in flight when the connection ends may be lost: its waiters ask until it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_is_made_again_and_its_waiters_poll_meanwhile() {
    let cluster = knowing(TestCluster::builder(3, 0));
    let fixture = sharded(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let names: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    for round in 0..3 {
        let mut pairs = Vec::new();
        for name in &names {
            let first = locked(&one, name).await;
            pairs.push((first, locking(&two, name)));
        }
        heard(&cluster, &fixture.prefix, &names).await;
        for node in cluster.nodes() {
            let killed = node.admin(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            assert!(killed.expect("killed").int() > Some(0), "round {round}");
        }
        let mut seconds = Vec::new();
        for (first, waiter) in pairs {
            unlocked(first).await;
            seconds.push(granted(waiter).await);
        }
        for second in seconds {
            unlocked(second).await;
        }
    }
}

/// A promoted replica knows nothing of subscriptions at its primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_hands_over_to_those_who_listened_at_the_old_primary() {
    let cluster = knowing(TestCluster::builder(3, 1));
    let fixture = sharded(&cluster);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let first = locked(&one, "a").await;
    let waiter = locking(&two, "a");
    heard(&cluster, &fixture.prefix, &["a".to_owned()]).await;
    cluster.wait_replicated(slot_of("a")).expect("copied");
    cluster.failover(slot_of("a")).expect("another primary");
    heard(&cluster, &fixture.prefix, &["a".to_owned()]).await;
    unlocked(first).await;
    unlocked(granted(waiter).await).await;
}

/// While keys are on their way, what the target says reaches nobody who listens at the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_poll_while_their_slot_is_moving_and_listen_when_it_has_moved() {
    let cluster = knowing(TestCluster::builder(3, 0));
    let fixture = sharded(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let names = ["a".to_owned()];
    let first = locked(&one, "a").await;
    let waiter = locking(&two, "a");
    heard(&cluster, &fixture.prefix, &names).await;
    let source = home(&cluster, "a");
    let target = cluster.nodes().iter().find(|node| *node != source);
    let migration = cluster.migrate(slot_of("a"), target.expect("another"));
    let migration = migration.expect("a migration");
    migration.open().expect("opened");
    migration.move_keys().expect("moved");
    let busy = latchwork_tests::mutex(&two, "a").try_lock().await;
    assert!(busy.expect("an answer").is_none(), "it asked the target");
    let before = calls(&cluster, "evalsha");
    eventually("it polls", || calls(&cluster, "evalsha") > before + 5).await;
    migration.assign_target().expect("assigned");
    migration.assign_source().expect("assigned");
    migration.assign_others().expect("assigned");
    heard(&cluster, &fixture.prefix, &names).await;
    unlocked(first).await;
    unlocked(granted(waiter).await).await;
}

/// A cluster with a user who may do everything but this, and the URL of that user.
fn restricted(rules: &[&str]) -> (TestCluster, String) {
    let all = [&["on", ">secret", "~*", "&*", "+@all"], rules].concat();
    let cluster = knowing(TestCluster::builder(3, 0).user("worker", &all));
    let url = cluster.nodes()[0].url();
    (cluster, url.replacen("redis://", "redis://worker:secret@", 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h46_without_the_right_to_subscribe_waiting_polls() {
    let (cluster, url) = restricted(&["-ssubscribe"]);
    let fixture = sharded(&cluster);
    let client = async || {
        fixture
            .builder_at(&url)
            .lease(MINUTE)
            .connect()
            .await
            .expect("a client")
    };
    let (one, two) = (client().await, client().await);
    let first = locked(&one, "a").await;
    let waiter = locking(&two, "a");
    let is_denied = |it: &Warning| matches!(it, Warning::SubscribeDenied { .. });
    eventually("a warning", || two.warnings().iter().any(is_denied)).await;
    unlocked(first).await;
    unlocked(granted(waiter).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_credentials_are_shown_on_the_same_connection() {
    let (cluster, _) = restricted(&[]);
    let fixture = sharded(&cluster);
    let builder = fixture.builder().lease(MINUTE).credentials(|| async {
        let credentials = Credentials::new("worker", "secret");
        Ok::<_, std::io::Error>(credentials.good_for(Duration::from_millis(200)))
    });
    let two = builder.connect().await.expect("a client");
    let one = fixture.patient().await;
    let first = locked(&one, "a").await;
    let waiter = locking(&two, "a");
    let list = || {
        let list = home(&cluster, "a").admin(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        list.expect("a list").text().unwrap_or_default()
    };
    eventually("it was shown", || list().contains("cmd=auth")).await;
    unlocked(first).await;
    unlocked(granted(waiter).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_left_when_the_client_is_gone() {
    let cluster = knowing(TestCluster::builder(3, 0));
    let fixture = sharded(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let names: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    for name in &names {
        let first = locked(&one, name).await;
        let waiter = locking(&two, name);
        heard(&cluster, &fixture.prefix, std::slice::from_ref(name)).await;
        unlocked(first).await;
        unlocked(granted(waiter).await).await;
    }
    drop((one, two));
    for node in cluster.nodes() {
        let list = || node.admin(&["CLIENT", "LIST", "TYPE", "pubsub"]).expect("a list");
        eventually("none is left", || list().text().is_some_and(|it| it.is_empty())).await;
    }
}

/// No channel can be in the slot of such a name: its waiters poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_begins_with_a_closing_brace_works() {
    let cluster = knowing(TestCluster::builder(3, 0));
    let fixture = sharded(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    for name in ["}", "}a{b}"] {
        let first = locked(&one, name).await;
        let waiter = locking(&two, name);
        tokio::time::sleep(Duration::from_millis(20)).await; // in front of or behind the first poll
        unlocked(first).await;
        unlocked(granted(waiter).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_either_inbox_take_turns() {
    let cluster = knowing(TestCluster::builder(3, 0));
    let classic = fixture(&cluster);
    let clients = [
        classic.patient().await,
        classic.clone().with_inbox(Inbox::Sharded).patient().await,
    ];
    let mut holder = locked(&clients[0], "a").await;
    for turn in 1..10 {
        let waiter = locking(&clients[turn % 2], "a");
        let queue = ["ZCOUNT", &classic.key(), "-inf", "(0"];
        eventually("it waits", || {
            classic.server.admin(&queue).expect("a number").int() == Some(1)
        })
        .await;
        unlocked(holder).await;
        holder = granted(waiter).await;
    }
    unlocked(holder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_without_sharded_messages_are_refused() {
    let binary = fetch_version(Version::Redis6_2).expect("it can be fetched");
    let cluster = TestCluster::builder(3, 0).binary(binary).start();
    let cluster = cluster.expect("a cluster");
    let url = cluster.nodes()[0].url();
    let client = Client::builder().url(url).inbox(Inbox::Sharded).connect().await;
    let error = client.expect_err("it could hear nothing");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("needs Redis 7.0"), "{error}");
}
