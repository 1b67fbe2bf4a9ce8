//! The semaphore keeps to its permits and its rate through resize, split and merge.
#![allow(clippy::significant_drop_tightening, reason = "permits are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod deployments;
mod leases;
mod permits;
mod rate;
mod resizing;
mod splitting;

use latchwork_semaphore::{Client, Semaphore};

pub(crate) fn semaphore(client: &Client, permits: u32) -> Semaphore {
    Semaphore::new(client, "a", permits).expect("a semaphore")
}

pub(crate) async fn free(semaphore: &Semaphore) -> u32 {
    semaphore.available_permits().await.expect("an answer")
}
