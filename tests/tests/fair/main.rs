//! The fair mutex: its order, places, priorities and bounds.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

mod calls;
mod order;
mod positions;
mod priorities;

use std::sync::{Arc, Mutex as StdMutex};

use latchwork_mutex::{Client, FairMutex};
use latchwork_tests::go;
use tokio::task::JoinHandle;

pub(crate) fn lock(client: &Client) -> FairMutex {
    FairMutex::new(client, "a").unwrap()
}

pub(crate) type Order = Arc<StdMutex<Vec<u64>>>;

/// Waits, notes its number, and releases.
pub(crate) fn turn(lock: &FairMutex, number: u64, order: &Order) -> JoinHandle<()> {
    let (waiting, order) = (lock.lock(), Arc::clone(order));
    go(async move {
        let guard = waiting.await.unwrap();
        order.lock().unwrap().push(number);
        guard.unlock().await.unwrap();
    })
}
