//! What the bad days share.

use std::time::Duration;

use latchwork_mutex::{Client, ErrorKind, Mutex, MutexGuard, Result};
use latchwork_testkit::{ConnId, Proxy};
pub(crate) use latchwork_tests::{LONG, soon};
use latchwork_tests::{Place, eventually, go};
use tokio::task::JoinHandle;

pub(crate) fn mutex(client: &Client, name: &str) -> Mutex {
    Mutex::new(client, name).expect("a mutex")
}

pub(crate) async fn held(client: &Client, name: &str) -> MutexGuard {
    soon("a lock", mutex(client, name).lock())
        .await
        .expect("the lock")
}

pub(crate) type Waiter = JoinHandle<Result<MutexGuard>>;

pub(crate) fn waiting(client: &Client, name: &str) -> Waiter {
    go(mutex(client, name).lock())
}

pub(crate) async fn granted(waiter: Waiter) -> MutexGuard {
    soon("a grant", waiter)
        .await
        .expect("no panic")
        .expect("the lock")
}

/// How many wait, as the server has it.
pub(crate) fn waiters(place: &Place<'_>, name: &str) -> usize {
    scores(place, name)
        .iter()
        .filter(|(_, score)| *score < 0.0)
        .count()
}

pub(crate) fn scores(place: &Place<'_>, name: &str) -> Vec<(String, f64)> {
    let dump = place.server.dump_zset(&place.key(name)).expect("a dump");
    dump.into_iter()
        .map(|(member, score)| (member, score.parse().expect("a number")))
        .collect()
}

pub(crate) async fn queued(place: &Place<'_>, name: &str, count: usize) {
    eventually("they queue", || waiters(place, name) == count).await;
}

/// The server still knows the hold: it renews it.
pub(crate) async fn still_held(guard: &MutexGuard, lease: Duration) {
    let extended = async {
        while let Err(error) = guard.extend(lease).await {
            let passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ReadOnly);
            assert!(passing, "{error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("an extension", extended).await;
    assert!(!guard.is_lost(), "still held");
}

/// The latest command connection and inbox of the one client behind a proxy.
pub(crate) fn connections(proxy: &Proxy) -> (ConnId, ConnId) {
    let by_connection = proxy.requests_by_connection();
    let with = |name: &str| {
        let mut found = by_connection.iter().filter(|(_, names)| names.contains_key(name));
        *found.next_back().expect("a connection").0
    };
    (with("INFO"), with("SUBSCRIBE"))
}
