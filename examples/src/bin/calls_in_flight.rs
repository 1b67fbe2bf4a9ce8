//! An HTTP service that bears four calls at once, called by three processes with six tasks each.
//!
//! A semaphore of the process would not do: three of them with four permits each let twelve calls through, and which
//! share of the four each process should have depends on how many there are today. A semaphore on the server is one for all.
//!
//! The service is a real one, in this example. It counts the calls that it has in hand, and knows nothing of the semaphore.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a permit ends is the subject"
)]

use std::env;
use std::time::{Duration, Instant};

use latchwork::{Client, Semaphore};
use latchwork_examples::{Crew, Result, Server, Service, get, ready, report, start_signal, unique};
use tokio::task::JoinSet;

const PROCESSES: usize = 3;
const TASKS: usize = 6;
/// Of each task.
const CALLS: u64 = 5;
/// How long the service takes for one.
const CALL: Duration = Duration::from_millis(40);
const IN_FLIGHT: u32 = 4;

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [name, how, address] => caller(name, how == "limited", address).await,
        _ => compare().await,
    }
}

/// One of the processes.
async fn caller(name: &str, limited: bool, address: &str) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let permits = limited
        .then(|| Semaphore::new(&client, name, IN_FLIGHT))
        .transpose()?;
    ready();
    start_signal().await?;

    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(calls(permits.clone(), address.to_owned()));
    }
    let mut made = 0;
    while let Some(task) = tasks.join_next().await {
        made += task??;
    }
    report([made]);
    client.close().await;
    Ok(())
}

async fn calls(permits: Option<Semaphore>, address: String) -> Result<u64> {
    for _ in 0..CALLS {
        match &permits {
            // The call is dropped, and its connection closed, if the permit is lost in the middle of it.
            Some(permits) => permits.run(async |_permit| get(&address, "/").await).await??,
            None => get(&address, "/").await?,
        }
    }
    Ok(CALLS)
}

async fn compare() -> Result {
    let server = Server::find()?;
    println!(
        "{PROCESSES} processes with {TASKS} tasks each call a service that should have {IN_FLIGHT} calls at once\n"
    );
    println!("                  calls  most at once    time");
    run(&server, "without a limit", "unlimited").await?;
    let most = run(&server, "with permits", "limited").await?;
    if most > usize::try_from(IN_FLIGHT)? {
        return Err(format!("{most} calls were in flight at once").into());
    }
    Ok(())
}

/// Returns the most calls that the service saw at once.
async fn run(server: &Server, title: &str, how: &str) -> Result<usize> {
    let service = Service::start(CALL).await?;
    let name = unique("calls");
    let mut crew = Crew::new(server);
    for _ in 0..PROCESSES {
        crew.hire([name.as_str(), how, service.address().as_str()])?;
    }
    crew.start().await?;
    let start = Instant::now();
    let made: u64 = crew.reports().await?.iter().map(|[calls]| calls).sum();
    let time = start.elapsed();

    let (seen, most) = (service.calls().len(), service.most_in_flight());
    println!("{title:<16} {seen:>6} {most:>13} {:>5.2} s", time.as_secs_f64());
    if u64::try_from(seen)? != made {
        return Err(format!("{made} calls were made, and {seen} came").into());
    }
    Ok(most)
}
