//! Counting what a client sends, and what a server runs.

use std::collections::BTreeMap;

use latchwork_core::Client;
use latchwork_testkit::{Proxy, TestServer};

use crate::{Fixture, MINUTE, eventually};

impl Fixture<'_> {
    /// A client whose lease is so long that no renewal comes in between, behind a proxy that counts from now on.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn counted(&self) -> (Proxy, Client) {
        let proxy = Proxy::start(self.server.port()).expect("a proxy");
        let client = self
            .builder_at(proxy.url())
            .lease(MINUTE)
            .heartbeat(MINUTE)
            .connect()
            .await
            .expect("a client");
        // The label is written once, right after connecting.
        eventually("the label is written", || {
            proxy.request_names().contains_key("SET")
        })
        .await;
        proxy.reset_counts();
        (proxy, client)
    }
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
