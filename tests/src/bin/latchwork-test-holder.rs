//! Another process for tests: acquires a primitive and says what comes of it. Ends with its standard input.
//!
//! `latchwork-test-holder <url> <prefix> <subject> <name> <tasks, or all> <lease ms> <claim window ms, or 0 for the usual one> <round trip ms>`
//! The text of an owner as the subject is a reentrant mutex with that owner. With `latch` as the subject its tasks count the latch of that name down under one id, and wait for zero.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::io::{Read, Write};
use std::time::Duration;

use latchwork_core::{Client, Error, FencingToken, Owner, Result};
use latchwork_latch::CountdownLatch;
use latchwork_mutex::ReentrantMutex;
use latchwork_tests::distance::Distance;
use latchwork_tests::go;
use latchwork_tests::subject::{Boxed, Guard, Options, by_name};

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then the test is over, and so is this process.
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, prefix, subject, name, tasks, lease, window, trip] = words.as_slice() else {
        return Err(
            "usage: <url> <prefix> <subject> <name> <tasks> <lease ms> <claim window ms> <round trip ms>"
                .into(),
        );
    };
    let (lease, window) = (
        Duration::from_millis(lease.parse()?),
        Duration::from_millis(window.parse()?),
    );
    // It ends with the test that started it, however that ends.
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        drop(std::io::stdin().read_to_end(&mut nothing));
        std::process::exit(1);
    });
    let builder = Client::builder().url(url).prefix(prefix).lease(lease);
    let mut builder = Distance::ms(trip.parse()?).patient(builder);
    if !window.is_zero() {
        builder = builder.claim_window(window);
    }
    let client = builder.connect().await?;
    if subject == "latch" {
        return Ok(count_down(&client, name, tasks.parse()?).await?);
    }
    let mut acquires = Vec::new();
    if let Ok(owner) = subject.parse::<Owner>() {
        acquires.extend((0..tasks.parse::<usize>()?).map(|_| enter(&client, name, owner)));
    } else if tasks == "all" {
        acquires.push(by_name(subject).take_all(&client, name.as_bytes()));
    } else {
        let handle = by_name(subject).handle(&client, name.as_bytes(), &Options::NONE)?;
        acquires.extend((0..tasks.parse::<usize>()?).map(|_| handle.acquire()));
    }
    let mut running = Vec::new();
    for acquire in acquires {
        running.push(go(async move {
            let guard = acquire.await?;
            // A guard that was lost before it could be used proves nothing.
            if !guard.is_lost() {
                say(&format!("held {}", guard.token().map_or(0, FencingToken::get)));
            }
            say(&format!("lost {}", guard.lost().await));
            Ok::<_, Error>(())
        }));
    }
    for task in running {
        task.await??;
    }
    Ok(())
}

/// Each task counts down by the same id, and waits for zero.
async fn count_down(client: &Client, name: &str, tasks: usize) -> Result<()> {
    let calls = (0..tasks).map(|_| async {
        let latch = CountdownLatch::open(client, name)?;
        say(&format!("left {}", latch.count_down_once("worker").await?));
        latch.wait().await?;
        say("passed");
        Ok(())
    });
    futures_util::future::try_join_all(calls).await.map(drop)
}

fn enter(client: &Client, name: &str, owner: Owner) -> Boxed<Result<Guard>> {
    let mutex = ReentrantMutex::new(client, name);
    Box::pin(async move {
        let guard: Guard = Box::new(mutex?.lock(&owner).await?);
        Ok(guard)
    })
}
