//! Waiting for a lock, but not forever, and saying who has it.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a guard ends is the subject"
)]

use std::time::{Duration, Instant};

use latchwork::{Client, Mutex};
use latchwork_examples::{Result, Server, unique};

#[tokio::main]
async fn main() -> Result {
    let server = Server::find()?;
    let name = unique("invoices");
    // Two clients, as in two processes. The label is what others see when they look at the lock.
    let importer = Client::builder()
        .url(server.url())
        .label("nightly import")
        .connect()
        .await?;
    let web = Client::connect(server.url()).await?;

    let held = Mutex::new(&importer, &name)?.lock().await?;
    let invoices = Mutex::new(&web, &name)?;

    let start = Instant::now();
    match invoices.try_lock_for(Duration::from_millis(300)).await? {
        Some(_guard) => return Err("two have it".into()),
        None => println!(
            "busy for {:?}: I give up, and my place in the queue with it",
            start.elapsed()
        ),
    }
    let info = invoices.inspect().await?;
    for holder in &info.holders {
        println!(
            "held by {:?} for {:?}; its lease has {:?} left",
            holder.label.as_deref().unwrap_or("somebody"),
            holder.held_for,
            holder.lease_left,
        );
    }

    // Meanwhile the import ends.
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        held.unlock().await
    };
    let start = Instant::now();
    let (released, guard) = tokio::join!(release, invoices.try_lock_for(Duration::from_secs(5)));
    released?;
    let guard = guard?.ok_or("busy for five seconds")?;
    println!("mine after {:?}, when the import released it", start.elapsed());
    guard.unlock().await?;
    Ok(())
}
