//! Watches sentinels, and leaves a primary as soon as one of them names another.
//!
//! The old primary may live on. It then grants locks beside the new one until a sentinel makes it a
//! replica, 10 s or more later (H56). So the client does not wait for its connection to break. Every
//! sentinel is watched, because one that is frozen says nothing until it thaws.

use futures_util::StreamExt;
use redis::RedisResult;

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until};
use crate::base::trace::{debug, info};
use crate::connection::endpoint::Endpoint;
use crate::connection::node::{GOOD, Node};
use crate::connection::opening::within;
use crate::connection::refusal::said;
use crate::connection::sentinel::{Named, Sentinels};
use crate::runtime::shared::Shared;

/// What a sentinel says when another server has become the primary: its name, then host and port of
/// the old one and of the new one.
const SWITCHED: &str = "+switch-master";

/// Watches one sentinel until the client ends.
pub(crate) async fn watch(shared: &Shared, node: &Node, sentinels: &Sentinels, sentinel: &Endpoint) -> ! {
    let mut backoff = Backoff::new(shared.options.reconnect_backoff);
    let mut endpoint = sentinel.clone();
    loop {
        let began = Moment::now();
        match session(shared, node, sentinels, &endpoint).await {
            Ok(()) => debug!(sentinel = %endpoint.address(), "the connection to a sentinel has ended"),
            Err(error) => {
                debug!(sentinel = %endpoint.address(), error = %said(&error), "a sentinel cannot be watched");
            }
        }
        if Moment::now().since(began) > GOOD {
            backoff.reset();
        }
        sleep_until(Moment::now() + backoff.next(), None).await;
        endpoint = endpoint.renewed().await.unwrap_or(endpoint);
    }
}

/// Subscribes, asks what was missed meanwhile, and listens until the connection ends.
async fn session(
    shared: &Shared,
    node: &Node,
    sentinels: &Sentinels,
    endpoint: &Endpoint,
) -> RedisResult<()> {
    let patience = shared.options.operation_timeout;
    let opening = patience * endpoint.round_trips();
    let mut pubsub = within(opening, endpoint.client.get_async_pubsub()).await?;
    within(patience, pubsub.subscribe(SWITCHED)).await?;
    let mut messages = pubsub.on_message();
    ask(shared, node, sentinels, endpoint).await;
    while let Some(message) = messages.next().await {
        let text = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let [name, old_host, old_port, _, _] = words[..] else {
            continue;
        };
        if name != sentinels.name() {
            continue;
        }
        info!(sentinel = %endpoint.address(), switch = %text, "a sentinel names another primary");
        node.note_switch(); // before the look at the connection: one that is made meanwhile sees it
        if leads_to(node, old_host, old_port) {
            node.leave();
        } else {
            ask(shared, node, sentinels, endpoint).await; // old news, or another sentinel was quicker
        }
    }
    Ok(())
}

/// Asks this sentinel. Leaves the server that is connected if there is newer word of another.
async fn ask(shared: &Shared, node: &Node, sentinels: &Sentinels, endpoint: &Endpoint) {
    let asked = sentinels.ask(endpoint, &shared.options.prefix, shared.options.operation_timeout);
    match asked.await {
        Ok(named) => {
            let present = node.sites().get().and_then(|site| site.place.named);
            let is_other = |old: Named| named.epoch > old.epoch && named.address() != old.address();
            if present.is_some_and(is_other) {
                node.note_switch();
                node.leave();
            }
        }
        Err(failure) => {
            debug!(sentinel = %endpoint.address(), error = %failure.error, "a sentinel does not answer");
        }
    }
}

/// Whether the node's connection leads to the server that the sentinels call so.
fn leads_to(node: &Node, host: &str, port: &str) -> bool {
    let named = node.sites().get().and_then(|site| site.place.named);
    named.is_some_and(|named| named.host == host && named.port.to_string() == port)
}
