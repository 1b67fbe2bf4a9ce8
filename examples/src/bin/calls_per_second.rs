//! An HTTP service that allows twenty calls a second, called by four processes.
//!
//! A limiter of the process would have to know how many processes there are. One on the server is for all: `acquire()`
//! reserves the next slot in one request, sleeps until then, and goes.
//!
//! The service is a real one, in this example, and checks the limit for itself. What it can be sure of is this: a call that was
//! asked for at *a* and arrived at *b* had its slot between the two. (On its way it may have been late, and so come
//! closer to the next one than their slots are. A service that counts strictly needs a rate a little below its limit.) So
//! of all calls that were asked for *and* arrived within one second there must never be more than twenty.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::env;
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use latchwork::{Client, Rate, RateLimiter};
use latchwork_examples::{Call, Crew, Result, Server, Service, get, ready, report, start_signal, unique};

const PROCESSES: u32 = 4;
/// Of each process.
const CALLS: u32 = 12;
const PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const WINDOW: Duration = Duration::from_secs(1);

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
    let calls = RateLimiter::new(&client, name, Rate::per_second(PER_SECOND))?;
    ready();
    start_signal().await?;

    for _ in 0..CALLS {
        let asked = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        if limited {
            calls.acquire().await?;
        }
        get(address, &format!("/?asked={asked}")).await?;
    }
    report([CALLS]);
    client.close().await;
    Ok(())
}

async fn compare() -> Result {
    let server = Server::find()?;
    println!("{PROCESSES} processes call a service that allows {PER_SECOND} calls a second\n");
    println!("                  calls  most in a second  for certain    time");
    let without = run(&server, "without a limit", "unlimited").await?;
    let with = run(&server, "with the limiter", "limited").await?;
    println!("\nfor certain: asked for and arrived in one second");

    let limit = usize::try_from(PER_SECOND.get())?;
    if without <= limit {
        return Err("the limit was kept without the limiter: this proves nothing".into());
    }
    if with > limit {
        return Err(format!("{with} calls were made in a second").into());
    }
    Ok(())
}

/// Returns how many calls were made within a second for certain, at most.
async fn run(server: &Server, title: &str, how: &str) -> Result<usize> {
    let service = Service::start(Duration::from_millis(5)).await?;
    let name = unique("calls-per-second");
    let mut crew = Crew::new(server);
    for _ in 0..PROCESSES {
        crew.hire([name.as_str(), how, service.address().as_str()])?;
    }
    crew.start().await?;
    let start = Instant::now();
    let made: u64 = crew.reports().await?.iter().map(|[calls]| calls).sum();
    let time = start.elapsed();

    let seen: Vec<Seen> = service.calls().iter().map(Seen::of).collect::<Result<_>>()?;
    if u64::try_from(seen.len())? != made {
        return Err(format!("{made} calls were made, and {} came", seen.len()).into());
    }
    // A window with the most calls begins with one of them.
    let busiest = |from: fn(&Seen) -> Duration| {
        let windows = seen.iter().map(|first| {
            let window = from(first)..from(first) + WINDOW;
            seen.iter()
                .filter(|call| window.contains(&from(call)) && window.contains(&call.arrived))
                .count()
        });
        windows.max().unwrap_or(0)
    };
    let (arrived, certain) = (busiest(|call| call.arrived), busiest(|call| call.asked));
    println!(
        "{title:<16} {made:>6} {arrived:>17} {certain:>12} {:>5.2} s",
        time.as_secs_f64()
    );
    Ok(certain)
}

/// What the service knows of a call, since the beginning of 1970.
struct Seen {
    asked: Duration,
    arrived: Duration,
}

impl Seen {
    fn of(call: &Call) -> Result<Self> {
        let asked = call
            .path
            .strip_prefix("/?asked=")
            .ok_or("a call that nobody made")?;
        Ok(Self {
            asked: Duration::from_micros(asked.parse()?),
            arrived: call.at.duration_since(UNIX_EPOCH)?,
        })
    }
}
