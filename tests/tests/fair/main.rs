//! The fair mutex keeps its order, places, priorities and bounds.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

mod calls;
mod order;
mod positions;
mod priorities;

use std::sync::{Arc, Mutex as StdMutex};

use latchwork_mutex::{Client, FairMutex, MutexGuard, Result};
use latchwork_tests::go;
use tokio::task::JoinHandle;

pub(crate) fn lock(client: &Client) -> FairMutex {
    FairMutex::new(client, "a").unwrap()
}

pub(crate) type Order = Arc<StdMutex<Vec<u64>>>;

/// Waits, notes its number, and releases.
pub(crate) fn turn(
    waiting: impl Future<Output = Result<MutexGuard>> + Send + 'static,
    number: u64,
    order: &Order,
) -> JoinHandle<()> {
    let order = Arc::clone(order);
    go(async move {
        let guard = waiting.await.unwrap();
        order.lock().unwrap().push(number);
        guard.unlock().await.unwrap();
    })
}
