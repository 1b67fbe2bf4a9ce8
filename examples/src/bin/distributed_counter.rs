//! Four processes add to one number, without a lock and with it.
//!
//! Each reads the number, thinks, and writes back one more. Whatever was written while it thought is lost; unless it holds
//! a mutex from the read to the write. (Redis could count by itself, with `INCR`. This stands for all that is read, changed
//! and written back: a balance, a document, a file.)

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a guard ends is the subject"
)]

use std::env;
use std::time::{Duration, Instant};

use latchwork::redis::AsyncTypedCommands;
use latchwork::redis::aio::MultiplexedConnection;
use latchwork::{Client, Mutex};
use latchwork_examples::{Crew, KEEP, Result, Server, ready, report, start_signal, unique};

const PROCESSES: u64 = 4;
const ROUNDS: u64 = 25;
const THINK: Duration = Duration::from_millis(4);

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [counter, how] => worker(counter, how == "locked").await,
        _ => compare().await,
    }
}

/// One of the processes.
async fn worker(counter: &str, locked: bool) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let mutex = Mutex::new(&client, counter)?;
    let mut data = server.data().await?;
    ready();
    start_signal().await?;

    for _ in 0..ROUNDS {
        if locked {
            let guard = mutex.lock().await?;
            add_one(&mut data, counter).await?;
            // An error here would mean that the lock was lost in the middle, and maybe an update with it.
            guard.unlock().await?;
        } else {
            add_one(&mut data, counter).await?;
        }
    }
    report([ROUNDS]);
    client.close().await;
    Ok(())
}

async fn add_one(data: &mut MultiplexedConnection, counter: &str) -> Result {
    let value: u64 = data.get(counter).await?.as_deref().unwrap_or("0").parse()?;
    tokio::time::sleep(THINK).await;
    data.set_ex(counter, value + 1, KEEP).await?;
    Ok(())
}

/// Runs the processes twice, and looks at what is left.
async fn compare() -> Result {
    let server = Server::find()?;
    println!(
        "{PROCESSES} processes, each adds one {ROUNDS} times: it reads, thinks for {THINK:?}, and writes\n"
    );
    println!("                  added  counted  lost    time");
    let lost = run(&server, "without a lock", "unlocked").await?;
    let lost_locked = run(&server, "with the lock", "locked").await?;

    if lost == 0 {
        return Err("nothing was lost without the lock: this proves nothing".into());
    }
    if lost_locked != 0 {
        return Err(format!("{lost_locked} updates were lost under the lock").into());
    }
    Ok(())
}

async fn run(server: &Server, title: &str, how: &str) -> Result<u64> {
    let name = unique(&format!("counter-{how}"));
    let mut crew = Crew::new(server);
    for _ in 0..PROCESSES {
        crew.hire([name.as_str(), how])?;
    }
    crew.start().await?;
    let start = Instant::now();
    let added: u64 = crew.reports().await?.iter().map(|[rounds]| rounds).sum();
    let time = start.elapsed();

    let counted = server.data().await?.get(&name).await?;
    let counted: u64 = counted.as_deref().unwrap_or("0").parse()?;
    let lost = added.abs_diff(counted);
    println!(
        "{title:<16} {added:>6} {counted:>8} {lost:>5} {:>5.2} s",
        time.as_secs_f64()
    );
    Ok(lost)
}
