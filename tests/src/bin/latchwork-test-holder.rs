//! Another process for tests: takes the lock `a` and says what comes of it. Ends with its standard input.
//!
//! `latchwork-test-holder <url> <prefix> <tasks> <lease ms> <claim window ms>`; with `latch` at the end it counts the latch
//! `a` down under one id instead, and waits for zero.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::io::{Read, Write};
use std::time::Duration;

use latchwork_latch::CountdownLatch;
use latchwork_mutex::{Client, Mutex};
use latchwork_tests::go;

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then the test is over, and so is this process.
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let all = words.as_slice();
    let (rest, counts) = match all.split_last() {
        Some((last, rest)) if last == "latch" => (rest, true),
        _ => (all, false),
    };
    let [url, prefix, tasks, lease, window] = rest else {
        return Err("usage: <url> <prefix> <tasks> <lease ms> <claim window ms> [latch]".into());
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
    let client = Client::builder()
        .url(url)
        .prefix(prefix)
        .lease(lease)
        .claim_window(window)
        .connect()
        .await?;
    let mut running = Vec::new();
    for _ in 0..tasks.parse::<usize>()? {
        if counts {
            let latch = CountdownLatch::open(&client, "a")?;
            running.push(go(async move {
                say(&format!("left {}", latch.count_down_once("worker").await?));
                latch.wait().await?;
                say("passed");
                Ok(())
            }));
            continue;
        }
        let mutex = Mutex::new(&client, "a")?;
        running.push(go(async move {
            let guard = mutex.lock().await?;
            // A guard that was lost before it could be used proves nothing.
            if !guard.is_lost() {
                say(&format!("held {}", guard.fencing_token()));
            }
            say(&format!("lost {}", guard.lost().await));
            Ok::<_, latchwork_mutex::Error>(())
        }));
    }
    for task in running {
        task.await??;
    }
    Ok(())
}
