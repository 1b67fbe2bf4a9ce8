//! What the tests of the read-write lock share.

use latchwork_rwlock::{Client, RwLock, RwPolicy};
use latchwork_tests::{MINUTE, Place, Record};

pub(crate) fn lock(client: &Client) -> RwLock {
    RwLock::new(client, "a").expect("a lock")
}

pub(crate) fn with_policy(client: &Client, policy: RwPolicy) -> RwLock {
    RwLock::builder(client, "a")
        .policy(policy)
        .build()
        .expect("a lock")
}

pub(crate) fn record<'a>(place: &Place<'a>) -> Record<'a> {
    place.record("rwlock", "a")
}

/// A client whose holds survive any pause.
pub(crate) async fn patient(place: &Place<'_>) -> Client {
    place.builder().lease(MINUTE).connect().await.expect("a client")
}
