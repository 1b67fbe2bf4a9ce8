//! Another process for tests: takes the lock `a` and says what comes of it. Ends with its standard input.
//!
//! `latchwork-test-holder <url> <prefix> <tasks> <lease ms> <claim window ms> <what>`, where *what* is `mutex`, `fair`, `read`,
//! `write`, or the text of the owner of a reentrant mutex.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use latchwork_mutex::dynamic::Lock;
use latchwork_mutex::{Client, FairMutex, FencingToken, Mutex, ReentrantMutex};
use latchwork_rwlock::RwLock;
use latchwork_tests::go;

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then the test is over, and so is this process.
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

fn lock(client: &Client, what: &str) -> Result<Arc<dyn Lock>, Box<dyn std::error::Error>> {
    Ok(match what {
        "mutex" => Arc::new(Mutex::new(client, "a")?),
        "fair" => Arc::new(FairMutex::new(client, "a")?),
        "read" => Arc::new(RwLock::new(client, "a")?.read_lock()),
        "write" => Arc::new(RwLock::new(client, "a")?.write_lock()),
        owner => Arc::new(ReentrantMutex::new(client, "a")?.with_owner(&owner.parse()?)),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, prefix, tasks, lease, window, what] = words.as_slice() else {
        return Err("usage: <url> <prefix> <tasks> <lease ms> <claim window ms> <what>".into());
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
        let lock = lock(&client, what)?;
        running.push(go(async move {
            let guard = lock.lock().await?;
            // A guard that was lost before it could be used proves nothing.
            if !guard.is_lost() {
                say(&format!(
                    "held {}",
                    guard.fencing_token().map_or(0, FencingToken::get)
                ));
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
