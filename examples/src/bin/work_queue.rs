//! A queue of jobs, many workers, and a limit on how many of them work at once, whichever machine they are on.
//!
//! The jobs are in a Redis list, and every worker may take one; but whatever the jobs use (a database, a licence, a graphics
//! card) bears three at a time. A semaphore of three permits, shared by all processes, sees to it. The permit of a worker that
//! dies comes back when its lease ends. (The job that it had taken does not: a queue that must not lose any moves it to a list
//! of the worker's, with `LMOVE`, and from there back.)
//!
//! Two witnesses, who know nothing of the semaphore: a number in Redis that is increased when a job begins and decreased
//! when it ends, and a count for every job of how often it was done.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a permit ends is the subject"
)]

use std::env;
use std::time::{Duration, Instant};

use latchwork::redis::AsyncTypedCommands;
use latchwork::{Client, Semaphore};
use latchwork_examples::{Crew, KEEP, Result, Server, ready, report, start_signal, unique};

const JOBS: u32 = 36;
const WORKERS: usize = 6;
const AT_ONCE: u32 = 3;

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [name] => worker(&Keys::new(name)).await,
        _ => boss().await,
    }
}

struct Keys {
    name: String,
    jobs: String,
    running: String,
    done: String,
}

impl Keys {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            jobs: format!("{name}:jobs"),
            running: format!("{name}:running"),
            done: format!("{name}:done"),
        }
    }
}

/// Does jobs until there are none left.
async fn worker(keys: &Keys) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let permits = Semaphore::new(&client, &keys.name, AT_ONCE)?;
    let mut data = server.data().await?;
    ready();
    start_signal().await?;

    let (mut jobs, mut most) = (0, 0_u128);
    let mut waited = Duration::ZERO;
    loop {
        let start = Instant::now();
        let permit = permits.acquire().await?;
        waited += start.elapsed();
        // First the permit, then the job: a job that was taken is worked on, and waits for nothing.
        let job: Option<u64> = data.lpop(&keys.jobs, None).await?;
        let Some(job) = job else {
            permit.release().await?;
            break;
        };

        most = most.max(u128::try_from(data.incr(&keys.running, 1).await?)?);
        tokio::time::sleep(Duration::from_millis(30 + job * 7 % 40)).await; // the work
        data.hincr(&keys.done, job, 1).await?;
        data.decr(&keys.running, 1).await?;

        jobs += 1;
        permit.release().await?;
    }
    report([jobs, most, waited.as_millis()]);
    client.close().await;
    Ok(())
}

/// Fills the queue, starts the workers, and checks what they did.
async fn boss() -> Result {
    let server = Server::find()?;
    let keys = Keys::new(&unique("work"));
    let mut data = server.data().await?;
    data.rpush(&keys.jobs, (0..JOBS).collect::<Vec<_>>()).await?;
    data.set_ex(&keys.running, 0, KEEP).await?;
    data.hset(&keys.done, "none", 0).await?;
    for key in [&keys.jobs, &keys.done] {
        data.expire(key, i64::try_from(KEEP)?).await?;
    }

    println!("{JOBS} jobs, {WORKERS} worker processes, {AT_ONCE} may work at once\n");
    println!("worker   jobs   waited");
    let mut crew = Crew::new(&server);
    for _ in 0..WORKERS {
        crew.hire([&keys.name])?;
    }
    crew.start().await?;
    let start = Instant::now();
    let reports = crew.reports().await?;
    let time = start.elapsed();

    let mut most_at_once = 0;
    for (number, [jobs, most, waited]) in reports.into_iter().enumerate() {
        println!("{:>6} {jobs:>6} {waited:>5} ms", number + 1);
        most_at_once = most.max(most_at_once);
    }
    let mut done_once = 0;
    for job in 0..JOBS {
        let times = data.hget(&keys.done, job).await?;
        done_once += u32::from(times.as_deref() == Some("1"));
    }
    println!(
        "\n{done_once} of {JOBS} jobs were done once, {most_at_once} at once at most, in {:.2} s",
        time.as_secs_f64()
    );
    if most_at_once > u64::from(AT_ONCE) {
        return Err("more worked at once than may".into());
    }
    if done_once != JOBS {
        return Err("a job was not done, or done twice".into());
    }
    Ok(())
}
