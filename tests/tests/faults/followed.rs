//! The inbox follows the commands to another server, as after a failover behind one address.

use std::time::Duration;

use latchwork_testkit::{Action, Direction, Proxy, TestServer};
use latchwork_tests::{Fixture, LONG, eventually, granted, locked, locking, unlocked};

use super::common::connections;

/// The inboxes that this server knows.
fn inboxes(server: &TestServer, fixture: &Fixture<'_>) -> usize {
    let pattern = format!("{}:inbox:*", fixture.prefix);
    let channels = server.admin(&["PUBSUB", "CHANNELS", &pattern]);
    channels.expect("an answer").items().len()
}

/// Cuts the command connection at its next request, so that the next one leads to `other`.
fn move_commands(proxy: &Proxy, other: &TestServer) {
    let (commands, _) = connections(proxy);
    proxy.lead_to(other.port());
    proxy.on_chunk(move |direction, id, _| {
        if id == commands && direction == Direction::ToServer {
            Action::Cut
        } else {
            Action::Pass
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_follows_the_commands_to_another_server() {
    let [old, new] = [(); 2].map(|()| TestServer::start().expect("a server"));
    let before = Fixture::on(&old);
    let mut after = before.clone();
    after.server = &new;
    let (proxy, client) = before
        .proxied_with(|b| b.lease(LONG).heartbeat(Duration::from_millis(50)))
        .await;
    eventually("it listens there", || inboxes(&old, &before) == 1).await;
    move_commands(&proxy, &new);
    // Nothing has ended the inbox, and it is found all the same.
    eventually("it listens here", || inboxes(&new, &before) == 1).await;
    assert_eq!(inboxes(&old, &before), 0, "and no longer there");
    // Somebody who is there already hands the lock over.
    let other = after.steady().await;
    let held = locked(&other, "a").await;
    let waiter = locking(&client, "a");
    after.queued(1).await;
    unlocked(held).await;
    unlocked(granted(waiter).await).await;
}

/// Servers that say which process they are, and servers that do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_look_the_inbox_follows_each_new_command_connection_once() {
    for rules in [&["-pubsub"][..], &["-pubsub", "-info"]] {
        let [old, new] = [(); 2].map(|()| TestServer::start().expect("a server"));
        let fixtures = [Fixture::on(&old), Fixture::on(&new)];
        let [url, _] = fixtures.each_ref().map(|fixture| fixture.restricted(rules));
        let proxy = Proxy::start(old.port()).expect("a proxy");
        let url = url.replace(&old.port().to_string(), &proxy.port().to_string());
        let beat = Duration::from_millis(50);
        let client = fixtures[0]
            .builder_at(url)
            .lease(LONG)
            .heartbeat(beat)
            .connect()
            .await;
        let client = client.expect("a client");
        eventually("it listens there", || inboxes(&old, &fixtures[0]) == 1).await;
        move_commands(&proxy, &new);
        eventually("it listens here", || inboxes(&new, &fixtures[0]) == 1).await;
        unlocked(locked(&client, "a").await).await;
        eventually("it asked", || {
            let calls = new.command_calls().expect("calls");
            calls.get("time") > Some(&5)
        })
        .await;
        assert_eq!(proxy.accepted(), 4, "two connections there, and two here");
    }
}
