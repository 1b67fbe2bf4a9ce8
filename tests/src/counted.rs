//! Counting what a client sends and what a server runs, and losing some of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use latchwork_core::Client;
use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};

use crate::{Fixture, MINUTE, eventually};

impl Fixture<'_> {
    /// A client whose lease and claims are so long that no renewal comes in between, behind a proxy
    /// that counts from now on.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn counted(&self) -> (Proxy, Client) {
        let quiet = self.proxied_with(|b| b.lease(MINUTE).heartbeat(MINUTE).claim_window(MINUTE));
        let (proxy, client) = quiet.await;
        // The label is written once, right after connecting.
        eventually("the label is written", || {
            proxy.request_names().contains_key("SET")
        })
        .await;
        proxy.reset_counts();
        (proxy, client)
    }
}

/// Loses the reply to the next script call that names this key; says when it has. `action`: how.
pub fn lose_the_reply(proxy: &Proxy, key: String, action: Action) -> Arc<AtomicBool> {
    let lost = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&lost);
    let mut asked = None;
    proxy.on_chunk(move |direction, id, chunk| {
        if direction == Direction::ToServer {
            if asked.is_none() && contains(chunk, "EVALSHA") && contains(chunk, &key) {
                asked = Some(id);
            }
        } else if asked == Some(id) && is_of_a_script(chunk) && !said.swap(true, Ordering::SeqCst) {
            return action;
        }
        Action::Pass
    });
    lost
}

/// Whether there is a reply of a script in it, all of which have a number or are errors. The client's own `TIME` and
/// `SET` may be under way at the same time.
fn is_of_a_script(chunk: &[u8]) -> bool {
    contains(chunk, b":") || contains(chunk, b"-")
}

/// Loses every message of a grant to the client behind this proxy.
pub fn lose_grants(proxy: &Proxy) {
    proxy.on_chunk(|direction, _, chunk| {
        let grant = direction == Direction::ToClient && contains(chunk, b"g .");
        if grant { Action::Drop } else { Action::Pass }
    });
}

/// Loses every message to the client behind this proxy that a hold was forced open.
pub fn lose_forced(proxy: &Proxy) {
    proxy.on_chunk(|direction, _, chunk| {
        let forced = direction == Direction::ToClient && contains(chunk, b"f .");
        if forced { Action::Drop } else { Action::Pass }
    });
}

/// How many messages were published on this server since its counts were reset.
///
/// # Panics
/// If the server does not answer.
pub fn messages(server: &TestServer) -> u64 {
    let calls = server.command_calls().expect("an answer");
    calls.get("publish").copied().unwrap_or(0)
}

/// What the server ran since its counts were reset, without what the test itself asked.
///
/// # Panics
/// If the server does not answer.
pub fn commands(server: &TestServer) -> BTreeMap<String, u64> {
    let mut calls = server.command_calls().expect("an answer");
    calls.retain(|name, _| !["info", "config"].iter().any(|own| name.starts_with(own)));
    calls
}
