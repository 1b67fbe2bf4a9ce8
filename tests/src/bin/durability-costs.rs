//! Measures what it costs to wait until a grant is at replicas or on disk, on loopback.
//!
//! `cargo run --release -p latchwork-tests --bin durability-costs`

#![allow(clippy::print_stdout, reason = "a tool for people")]
#![allow(clippy::unwrap_used, reason = "a tool for people")]
#![allow(clippy::significant_drop_tightening, reason = "guards are measured")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use latchwork_mutex::{Client, Durability, Mutex};
use latchwork_testkit::{Builder, TestServer, Version, fetch_version};

const WITHIN: Duration = Duration::from_secs(20);

/// The median time from the call to the guard, of grants one after the other.
async fn median(client: &Client, durability: Durability, times: usize) -> Duration {
    let lock = Mutex::builder(client, "a")
        .durability(durability)
        .build()
        .unwrap();
    lock.lock().await.unwrap().unlock().await.unwrap(); // the connection is there
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        let guard = lock.lock().await.unwrap();
        taken.push(began.elapsed());
        guard.unlock().await.unwrap();
    }
    taken.sort_unstable();
    taken[times / 2]
}

/// The time for each of many grants at the same time, from the first call to the last guard.
async fn together(client: &Client, durability: Durability, count: u32) -> Duration {
    let locks: Vec<Mutex> = (0..count)
        .map(|at| Mutex::builder(client, format!("a{at}")).durability(durability))
        .map(|builder| builder.build().unwrap())
        .collect();
    let began = Instant::now();
    let guards = join_all(locks.iter().map(Mutex::lock)).await;
    let taken = began.elapsed();
    join_all(guards.into_iter().map(|guard| guard.unwrap().unlock())).await;
    taken / count
}

async fn connect(server: &TestServer) -> Client {
    let builder = Client::builder().url(server.url()).lease(Duration::from_secs(60));
    builder.connect().await.unwrap()
}

async fn replicas(builder: Builder) {
    let quick = || builder.clone().arg("--repl-diskless-sync-delay", "0");
    let primary = quick().start().unwrap();
    let of = format!("127.0.0.1 {}", primary.port());
    let _replicas = [(); 2].map(|()| quick().arg("--replicaof", &of).start().unwrap());
    let client = connect(&primary).await;
    for n in 0..=2 {
        let durability = match n {
            0 => Durability::Primary,
            n => Durability::Replicas { n, within: WITHIN },
        };
        let one = median(&client, durability, 1000).await;
        let many = together(&client, durability, 1000).await;
        println!(
            "{} | {n} replicas | median {one:?} | each of 1000 at once {many:?}",
            primary.version()
        );
    }
}

async fn fsync(builder: Builder, policy: &str) {
    let server = builder
        .persist(true)
        .arg("--appendfsync", policy)
        .start()
        .unwrap();
    let client = connect(&server).await;
    for (what, durability) in [
        ("memory", Durability::Primary),
        ("disk", Durability::Fsync { within: WITHIN }),
    ] {
        let times = if policy == "everysec" && what == "disk" {
            9
        } else {
            300
        };
        let one = median(&client, durability, times).await;
        let many = together(&client, durability, 1000).await;
        println!(
            "{} | {policy} | {what} | median {one:?} | each of 1000 at once {many:?}",
            server.version()
        );
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let version = |which| TestServer::builder().binary(fetch_version(which).unwrap());
    replicas(TestServer::builder()).await;
    replicas(version(Version::Redis8_2)).await;
    for policy in ["everysec", "always"] {
        fsync(version(Version::Redis8_2), policy).await;
    }
}
