//! A cron job that every machine of a fleet starts and that runs once.
//!
//! Each node tries the lock once. The one that gets it runs the job. The lock is held for at least four seconds from its
//! grant (`hold_at_least`), however soon the job is done. So it also keeps out a node whose clock is late, and which starts
//! the job when it is already done. If the job takes longer, the lock is held until it is done.
//! Choose the time longer than the clocks of the fleet can differ, and shorter than the pause between two runs.
//!
//! The fleet here is four processes of this program; the fourth comes a second late.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::env;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use latchwork::{Client, Mutex};
use latchwork_examples::{Result, Server, unique};

/// How a node's process says that it ran the job.
const RAN: u8 = 10;
/// Longer than the clocks of the fleet differ.
const AT_LEAST: Duration = Duration::from_secs(4);

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [url, job, node] => node_process(url, job, node),
        _ => fleet().map(|()| ExitCode::SUCCESS),
    }
}

/// What cron starts on every machine.
#[tokio::main(flavor = "current_thread")]
async fn node_process(url: &str, job: &str, node: &str) -> Result<ExitCode> {
    let client = Client::connect(url).await?;
    let mutex = Mutex::builder(&client, job).hold_at_least(AT_LEAST).build()?;

    let Some(guard) = mutex.try_lock().await? else {
        println!("node {node}: another node has this run");
        return Ok(ExitCode::SUCCESS);
    };
    println!("node {node}: I run the report");
    tokio::time::sleep(Duration::from_millis(200)).await; // the report
    println!("node {node}: done; whoever comes late finds the lock taken");
    guard.unlock().await?;
    Ok(ExitCode::from(RAN))
}

/// Plays cron on four machines, twice.
fn fleet() -> Result {
    let server = Server::find()?;
    let job = unique("nightly-report");

    println!("02:00, first night");
    run_once(&server, &job)?;
    std::thread::sleep(AT_LEAST);
    println!("02:00, second night: the time is over");
    run_once(&server, &job)
}

fn run_once(server: &Server, job: &str) -> Result {
    let start = |node: &str| -> Result<Child> {
        Ok(Command::new(env::current_exe()?)
            .args([server.url(), job, node])
            .spawn()?)
    };
    let mut nodes = vec![start("1")?, start("2")?, start("3")?];
    std::thread::sleep(Duration::from_secs(1));
    nodes.push(start("4 (late)")?);

    let mut runs = 0;
    for mut node in nodes {
        match node.wait()?.code() {
            Some(0) => {}
            Some(code) if code == i32::from(RAN) => runs += 1,
            other => return Err(format!("a node failed: {other:?}").into()),
        }
    }
    println!("the report ran {runs} time(s)\n");
    if runs != 1 {
        return Err("it should have been once".into());
    }
    Ok(())
}
