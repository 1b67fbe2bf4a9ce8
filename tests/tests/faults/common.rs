//! Finds the connections of a client that is behind a proxy.

use latchwork_testkit::{ConnId, Proxy};

/// The latest command connection and inbox of the one client behind a proxy.
pub(crate) fn connections(proxy: &Proxy) -> (ConnId, ConnId) {
    let by_connection = proxy.requests_by_connection();
    let with = |name: &str| {
        let mut found = by_connection.iter().filter(|(_, names)| names.contains_key(name));
        *found.next_back().expect("a connection").0
    };
    (with("INFO"), with("SUBSCRIBE"))
}
