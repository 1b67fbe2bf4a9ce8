//! A holder that is paused past its lease wakes up and writes, and the write is refused.
//!
//! No lock can prevent the attempt: between the last look at the lock and the write there is always room for a pause
//! (a virtual machine that is moved, a laptop lid, a page fault). The *resource* can refuse: it remembers the highest
//! fencing token that it has seen. `Fence` does so for a Redis key, in one step with the write.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a guard ends is the subject"
)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use latchwork::{Client, Fence, Mutex};
use latchwork_examples::{Result, Server, unique};

const LEASE: Duration = Duration::from_millis(500);

fn main() -> Result {
    let server = Server::find()?;
    let (url, name) = (server.url().to_owned(), unique("stock"));
    let (held, holds) = channel();
    let (done, is_done) = channel();

    // Two workers that share nothing but the server: as good as two machines.
    let first = {
        let (url, name) = (url.clone(), name.clone());
        thread::spawn(move || paused_worker(&url, &name, &held, &is_done))
    };
    holds.recv()?;
    let second = thread::spawn(move || healthy_worker(&url, &name, &done));
    for worker in [first, second] {
        worker.join().map_err(|_| "a worker panicked")??;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn paused_worker(url: &str, name: &str, held: &Sender<()>, other_is_done: &Receiver<()>) -> Result {
    let client = Client::connect(url).await?;
    let stock = Fence::new(&client, name)?;
    let mutex = Mutex::builder(&client, name).lease(LEASE).build()?;
    let guard = mutex.lock().await?;
    let token = guard.fencing_token();
    println!("A: I hold the lock with token {token}, and read that 7 are left");
    held.send(())?;

    // This blocks the whole worker, so that no keeper can renew the lease: a pause as long as it takes B to write.
    println!("A: (stands still)");
    other_is_done.recv()?;

    let written = stock.set(token, "6, says A").await?;
    println!("A: I write with token {token}: {}", verdict(written));
    println!("A: is my guard lost? {}", guard.is_lost());
    match guard.unlock().await {
        Err(error) if error.is_lost() && !written => {
            println!("A: unlocking says: {error}");
            Ok(())
        }
        other => Err(format!("a stale write got through: {written}, {other:?}").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn healthy_worker(url: &str, name: &str, done: &Sender<()>) -> Result {
    let client = Client::connect(url).await?;
    let stock = Fence::new(&client, name)?;
    let mutex = Mutex::builder(&client, name).lease(LEASE).build()?;
    let guard = mutex.lock().await?;
    let token = guard.fencing_token();
    println!("B: A was silent for a lease, so the lock is mine, with token {token}");
    let written = stock.set(token, "4, says B").await?;
    println!("B: I write with token {token}: {}", verdict(written));
    guard.unlock().await?;
    done.send(())?;
    Ok(())
}

fn verdict(written: bool) -> &'static str {
    if written {
        "written"
    } else {
        "refused, a newer token was seen"
    }
}
