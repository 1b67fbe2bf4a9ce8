//! A race: nobody starts before the gun, and the judge waits for the last one.
//!
//! Three countdown latches. `ready`, of as many as there are runners, lets the starter wait until all are at the line. `gun`,
//! of one, lets all runners wait for the starter. `finish`, again of as many as there are runners, lets the judge wait for all of
//! them; what a count-down answers, how many are left, is also a runner's place.
//!
//! Two witnesses in Redis know nothing of the latches. `fired` is set just before the gun: a runner who does not find it
//! started too early. `home` counts those who came in, just before they count down: the judge must find all of them.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use latchwork::redis::AsyncTypedCommands;
use latchwork::{Client, CountdownLatch};
use latchwork_examples::{Crew, KEEP, Result, Server, report, unique};

const RUNNERS: u32 = 6;
/// Nobody waits for longer than that: a runner might have died on the way.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [race, number] => runner(race, number).await,
        _ => race().await,
    }
}

/// The latches of a race, and the keys of the witnesses.
struct Race {
    ready: CountdownLatch,
    gun: CountdownLatch,
    finish: CountdownLatch,
    fired: String,
    home: String,
}

impl Race {
    fn new(client: &Client, race: &str) -> Result<Self> {
        Ok(Self {
            // Whoever comes first makes them; the others have to agree about the number.
            ready: CountdownLatch::new(client, format!("{race}:ready"), RUNNERS)?,
            gun: CountdownLatch::new(client, format!("{race}:gun"), 1)?,
            finish: CountdownLatch::new(client, format!("{race}:finish"), RUNNERS)?,
            fired: format!("{race}:fired"),
            home: format!("{race}:home"),
        })
    }
}

async fn pass(latch: &CountdownLatch) -> Result {
    if latch.try_wait_for(PATIENCE).await? {
        Ok(())
    } else {
        Err(format!("{} is still waiting for {}", latch.name(), latch.count().await?).into())
    }
}

/// One of the runners.
async fn runner(race: &str, number: &str) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let race = Race::new(&client, race)?;
    let mut data = server.data().await?;

    race.ready.count_down().await?;
    pass(&race.gun).await?;
    let start = Instant::now();
    let too_early = data.get(&race.fired).await?.is_none();

    let strength = RandomState::new().hash_one(number) % 600;
    tokio::time::sleep(Duration::from_millis(300 + strength)).await;

    let time = start.elapsed();
    data.incr(&race.home, 1).await?;
    let left = race.finish.count_down().await?;
    report([
        u128::from(RUNNERS - left),
        time.as_millis(),
        u128::from(too_early),
    ]);
    client.close().await;
    Ok(())
}

/// The starter, who is also the judge.
async fn race() -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let name = unique("race");
    let race = Race::new(&client, &name)?;
    let mut data = server.data().await?;
    data.set_ex(&race.home, 0, KEEP).await?;

    let mut crew = Crew::new(&server);
    for number in 1..=RUNNERS {
        crew.hire([&name, &number.to_string()])?;
    }
    pass(&race.ready).await?;
    println!("{RUNNERS} runners, each a process, are at the line");

    data.set_ex(&race.fired, 1, KEEP).await?;
    let start = Instant::now();
    race.gun.count_down().await?;
    println!("the gun is fired");

    pass(&race.finish).await?;
    let time = start.elapsed();
    let home = data.get(&race.home).await?.ok_or("nobody came in")?;
    println!("all are in, {} ms after the gun\n", time.as_millis());

    let reports = crew.reports().await?;
    let mut places: Vec<(u32, [u64; 3])> = (1..).zip(reports).collect();
    places.sort_by_key(|(_, [place, ..])| *place);
    println!("place   runner     time");
    for (runner, [place, time, _]) in &places {
        println!("{place:>5} {runner:>8} {time:>5} ms");
    }

    if places.iter().any(|(_, [_, _, too_early])| *too_early != 0) {
        return Err("a runner started before the gun".into());
    }
    if home.parse() != Ok(RUNNERS) {
        return Err(format!("the judge did not wait for all: {home} of {RUNNERS} were in").into());
    }
    if !places
        .iter()
        .map(|(_, [place, ..])| *place)
        .eq(1..=u64::from(RUNNERS))
    {
        return Err("two runners have one place".into());
    }
    client.close().await;
    Ok(())
}
