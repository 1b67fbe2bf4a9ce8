//! A configuration of several parts that many processes read, and that is replaced while they do.
//!
//! Who reads between two writes gets the new host with the old password. A read-write lock prevents it: any number of
//! readers at once, or one writer. (The parts are keys in Redis, to have something to look at. One `MSET` could write them
//! together; files, tables or the settings of three services cannot be.)
//!
//! And a writer that was paused for longer than its lease must not wake up and write into the work of the next one. So every
//! write carries the fencing token of its lock, and a [`Fence`] refuses what is older than what it has seen.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a guard ends is the subject"
)]

use std::env;
use std::time::{Duration, Instant};

use latchwork::redis::AsyncTypedCommands;
use latchwork::redis::aio::MultiplexedConnection;
use latchwork::{Client, Fence, FencingToken, Renew, RwLock};
use latchwork_examples::{Crew, KEEP, Result, Server, ready, report, start_signal, unique};
use tokio::time::sleep;

const PARTS: [&str; 3] = ["host", "user", "password"];
const READERS: usize = 4;
/// How often the configuration is replaced. The first one is number 0.
const LAST: u64 = 8;
const STEP: Duration = Duration::from_millis(8);
const PAUSE: Duration = Duration::from_millis(25);

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["reader", name, how] => reader(name, *how == "locked").await,
        ["writer", name, how] => writer(name, *how == "locked").await,
        ["late", name] => late_writer(name).await,
        _ => compare().await,
    }
}

fn key(name: &str, part: &str) -> String {
    format!("{name}:{part}")
}

/// Part `host` of configuration 3 is `host-3`, and so on: whether parts belong together can be seen.
fn value(part: &str, number: u64) -> String {
    format!("{part}-{number}")
}

/// Reads the configuration until it is the last one, and counts what does not belong together.
async fn reader(name: &str, locked: bool) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let config = RwLock::new(&client, name)?;
    let mut data = server.data().await?;
    ready();
    start_signal().await?;

    let (mut reads, mut halves) = (0, 0);
    loop {
        let numbers = if locked {
            config
                .run_read(async |_guard| read(&mut data, name).await)
                .await??
        } else {
            read(&mut data, name).await?
        };
        reads += 1;
        halves += u64::from(numbers.iter().any(|number| *number != numbers[0]));
        if numbers.iter().all(|number| *number == LAST) {
            break;
        }
        sleep(STEP / 2).await;
    }
    report([reads, halves]);
    client.close().await;
    Ok(())
}

/// The number of the configuration that each part is of.
async fn read(data: &mut MultiplexedConnection, name: &str) -> Result<[u64; PARTS.len()]> {
    let mut numbers = [0; PARTS.len()];
    for (number, part) in numbers.iter_mut().zip(PARTS) {
        let text = data.get(key(name, part)).await?.ok_or("a part is missing")?;
        let (_, digits) = text.rsplit_once('-').ok_or("not a part")?;
        *number = digits.parse()?;
        sleep(STEP / 4).await;
    }
    Ok(numbers)
}

/// Replaces the configuration, part by part.
async fn writer(name: &str, locked: bool) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let config = RwLock::new(&client, name)?;
    let fence = Fence::new(&client, name)?;
    let mut data = server.data().await?;
    ready();
    start_signal().await?;

    for number in 1..=LAST {
        if locked {
            config
                .run_write(async |guard| {
                    for part in PARTS {
                        if !write(&fence, guard.fencing_token(), part, number).await? {
                            return Err("a newer writer was here".into());
                        }
                        sleep(STEP).await;
                    }
                    Result::Ok(())
                })
                .await??;
        } else {
            for part in PARTS {
                data.set_ex(key(name, part), value(part, number), KEEP).await?;
                sleep(STEP).await;
            }
        }
        sleep(PAUSE).await;
    }
    report([LAST, 0]);
    client.close().await;
    Ok(())
}

/// Writes a part if no newer token was seen, in one step with the check. `false`: this writer is not the newest.
async fn write(fence: &Fence, token: FencingToken, part: &str, number: u64) -> Result<bool> {
    let key = key(std::str::from_utf8(fence.resource().as_bytes())?, part);
    let script = "return redis.call('SETEX', KEYS[1], ARGV[1], ARGV[2])";
    let (keep, value) = (KEEP.to_string(), value(part, number));
    let written = fence
        .eval(
            token,
            script,
            &[key.as_bytes()],
            &[keep.as_bytes(), value.as_bytes()],
        )
        .await?;
    Ok(written.is_some())
}

/// A writer that takes the lock, is paused until another one has written, and then goes on as if nothing had happened.
async fn late_writer(name: &str) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let fence = Fence::new(&client, name)?;
    // Nobody renews the lease of a process that is paused.
    let config = RwLock::builder(&client, name)
        .lease(Duration::from_millis(300))
        .renew(Renew::Manual)
        .build()?;
    let guard = config.write().await?;
    let token = guard.fencing_token();
    ready();
    start_signal().await?;

    while fence.highest().await? <= Some(token) {
        sleep(STEP).await; // the pause
    }
    let mut refused: u64 = 0;
    for part in PARTS {
        refused += u64::from(!write(&fence, token, part, 999).await?);
    }
    report([refused, u64::from(guard.is_lost())]);
    drop(guard);
    client.close().await;
    Ok(())
}

async fn compare() -> Result {
    let server = Server::find()?;
    println!(
        "{READERS} processes read a configuration of {} parts while it is replaced {LAST} times\n",
        PARTS.len()
    );
    println!("                  reads  of these half old, half new    time");
    let (halves, _) = run(&server, "without a lock", "unlocked").await?;
    let (halves_locked, late) = run(&server, "with the lock", "locked").await?;

    let [refused, lost] = late.ok_or("the late writer did not report")?;
    println!(
        "\na writer that slept through its lease: {refused} of its {} writes were refused",
        PARTS.len()
    );
    if halves == 0 {
        return Err("no half configuration was seen without the lock: this proves nothing".into());
    }
    if halves_locked != 0 {
        return Err(format!("{halves_locked} half configurations were seen under the lock").into());
    }
    if refused != u64::try_from(PARTS.len())? || lost != 1 {
        return Err("a late writer wrote, or did not learn that it is late".into());
    }
    Ok(())
}

/// Returns how many half configurations were seen, and the report of the late writer, who is there if there is a lock.
async fn run(server: &Server, title: &str, how: &str) -> Result<(u64, Option<[u64; 2]>)> {
    let name = unique(&format!("config-{how}"));
    let mut data = server.data().await?;
    for part in PARTS {
        data.set_ex(key(&name, part), value(part, 0), KEEP).await?;
    }
    let mut crew = Crew::new(server);
    if how == "locked" {
        crew.hire(["late", &name])?;
        crew.all_ready().await?; // it has the lock
    }
    crew.hire(["writer", &name, how])?;
    for _ in 0..READERS {
        crew.hire(["reader", &name, how])?;
    }
    crew.start().await?;
    let start = Instant::now();
    let mut reports = crew.reports::<2>().await?;
    let time = start.elapsed();

    let readers = reports.split_off(reports.len() - READERS);
    let (mut reads, mut halves) = (0, 0);
    for [read, half] in readers {
        reads += read;
        halves += half;
    }
    println!(
        "{title:<16} {reads:>6} {halves:>27} {:>5.2} s",
        time.as_secs_f64()
    );
    let late = (how == "locked").then(|| reports[0]);
    Ok((halves, late))
}
