//! Work that stops when its lock is lost.
//!
//! `run` takes the lock, runs the body, and drops it at an await when the hold ends under it. Here an operator forces
//! the lock open; a server that is gone or a process that was paused looks the same to the body.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use latchwork::{Client, Loss, Mutex};
use latchwork_examples::{Result, Server, unique};

#[tokio::main]
async fn main() -> Result {
    let server = Server::find()?;
    let name = unique("rebuild-index");
    let worker = Client::connect(server.url()).await?;
    let operator = Client::connect(server.url()).await?;
    let index = Mutex::new(&worker, &name)?;
    let seen_by_operator = Mutex::new(&operator, &name)?;
    let steps = AtomicU32::new(0);

    let work = index.run(async |guard| {
        println!(
            "worker:   I have the lock, valid for {:?} if nobody renews it",
            guard.valid_for()
        );
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await; // one step of the work
            steps.fetch_add(1, Ordering::Relaxed);
        }
    });
    let intervention = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        println!("operator: that one is stuck, I force it open");
        seen_by_operator.force_unlock().await
    };
    let (outcome, forced) = tokio::join!(work, intervention);
    if !forced? {
        return Err("nobody held the lock".into());
    }

    let error: latchwork::Error = match outcome {
        Ok(()) => return Err("the work goes on without the lock".into()),
        Err(error) => error,
    };
    println!(
        "worker:   stopped after {} steps: {error}",
        steps.load(Ordering::Relaxed)
    );
    match error.loss() {
        Some(Loss::Forced) => println!("worker:   somebody wanted it so: I do not start again"),
        Some(other) => println!("worker:   {other}: I take the lock again and go on from the last step"),
        None => return Err(error.into()),
    }

    seen_by_operator
        .try_lock()
        .await?
        .ok_or("it should be free")?
        .unlock()
        .await?;
    println!("operator: and it is free");
    Ok(())
}
