//! Makes handles of the one lock that a test is about.

use latchwork_rwlock::{Client, RwLock, RwPolicy};

pub(crate) fn lock(client: &Client) -> RwLock {
    RwLock::new(client, "a").expect("a lock")
}

pub(crate) fn with_policy(client: &Client, policy: RwPolicy) -> RwLock {
    let builder = RwLock::builder(client, "a").policy(policy);
    builder.build().expect("a lock")
}
