//! People queue at a ticket counter, and see how many are before them.
//!
//! Every customer is a process. A `FairMutex` serves them in the order in which they came, and the future that waits for the
//! turn knows its place: `positions()` tells it once a second for as long as somebody listens.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a guard ends is the subject"
)]

use std::env;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use latchwork::redis::AsyncTypedCommands;
use latchwork::{Client, FairMutex};
use latchwork_examples::{Crew, KEEP, Result, Server, ready, report, unique};

const CUSTOMERS: u64 = 5;
/// How long it takes to buy a ticket.
const SERVICE: Duration = Duration::from_millis(650);

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [counter, number] => customer(counter, number.parse()?).await,
        _ => station().await,
    }
}

/// One of the customers.
async fn customer(name: &str, number: u64) -> Result {
    let server = Server::find()?;
    let client = Client::builder()
        .url(server.url())
        .label(format!("customer {number}"))
        .connect()
        .await?;
    let counter = FairMutex::new(&client, name)?;
    let mut data = server.data().await?;

    let start = Instant::now();
    let mut turn = pin!(counter.lock());
    let mut positions = turn.positions();
    let mut last = None;
    let turn = loop {
        tokio::select! {
            turn = &mut turn => break turn?,
            Some(before) = positions.next() => {
                match before {
                    0 => println!("customer {number} is next"),
                    1 => println!("customer {number} waits behind 1 other"),
                    _ => println!("customer {number} waits behind {before} others"),
                }
                if last.is_some_and(|last| before > last) {
                    return Err(format!("customer {number} was overtaken").into());
                }
                if last.is_none() {
                    ready(); // in the queue
                }
                last = Some(before);
            }
        }
    };
    let waited = start.elapsed();

    // Two witnesses that know nothing of the lock.
    let at_counter = data.incr(format!("{name}:at-counter"), 1).await?;
    let ticket = data.incr(format!("{name}:tickets"), 1).await?;
    println!("customer {number} is served");
    if last.is_none() {
        ready(); // without a wait
    }
    tokio::time::sleep(SERVICE).await;
    data.decr(format!("{name}:at-counter"), 1).await?;
    println!("customer {number} leaves with ticket {ticket}");
    turn.unlock().await?;

    report([
        u128::try_from(ticket)?,
        u128::try_from(at_counter)?,
        waited.as_millis(),
    ]);
    client.close().await;
    Ok(())
}

/// Lets the customers come one after the other, and checks that they are served so.
async fn station() -> Result {
    let server = Server::find()?;
    let name = unique("ticket-counter");
    let mut data = server.data().await?;
    for witness in ["at-counter", "tickets"] {
        data.set_ex(format!("{name}:{witness}"), 0, KEEP).await?;
    }
    println!("{CUSTOMERS} customers, one counter\n");

    let mut crew = Crew::new(&server);
    for number in 1..=CUSTOMERS {
        crew.hire([name.as_str(), &number.to_string()])?;
        crew.all_ready().await?; // the next one comes when this one stands in the queue
    }
    let reports = crew.reports().await?;

    println!("\ncustomer   ticket   waited");
    for ([ticket, _, waited], number) in reports.iter().zip(1..) {
        println!(
            "{number:>8} {ticket:>8} {:>6.2} s",
            Duration::from_millis(*waited).as_secs_f64()
        );
        if *ticket != number {
            return Err("they were not served in the order in which they came".into());
        }
    }
    if reports.iter().any(|[_, at_counter, _]| *at_counter != 1) {
        return Err("two were at the counter".into());
    }
    Ok(())
}
