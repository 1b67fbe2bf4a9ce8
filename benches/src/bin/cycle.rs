//! Runs N uncontended lock and unlock cycles of one mutex, to count instructions with callgrind.
//!
//! N is the first argument, 1000 by default; `REDIS_URL` names the server. The runtime has one
//! thread. What happens before the N cycles (start, connection, warm-up) does not depend on N, so
//! two runs tell what one cycle costs:
//!
//! ```sh
//! export CARGO_TARGET_DIR=target/callgrind RUSTFLAGS='--cfg rustix_use_libc'
//! cargo build --release -p latchwork-benches --bin latchwork-bench-cycle
//! export REDIS_URL=redis://127.0.0.1:6379
//! for n in 1000 2000; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!         target/callgrind/release/latchwork-bench-cycle $n
//! done
//! ```
//!
//! Instructions per cycle = (`Collected` of 2000 - `Collected` of 1000) / 1000. Connecting takes a
//! million instructions more in some runs: repeat each and use the least. Rustix makes system calls
//! of its own that valgrind does not know, hence the flag. The target folder keeps the flag from
//! rebuilding everything else.

use std::env;

use latchwork::{Client, Mutex};
use latchwork_benches::Result;
use latchwork_testkit::external_url;

const CYCLES: u32 = 1000;
const WARM_UP: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = external_url().ok_or("REDIS_URL is not set")?;
    let cycles = env::args().nth(1).map_or(Ok(CYCLES), |n| n.parse())?;
    let client = Client::connect(&url).await?;
    let mutex = Mutex::new(&client, format!("cycle-{}", std::process::id()))?;
    run(&mutex, WARM_UP).await?;
    run(&mutex, cycles).await?;
    client.close().await;
    Ok(())
}

async fn run(mutex: &Mutex, cycles: u32) -> Result<()> {
    for _ in 0..cycles {
        mutex.lock().await?.unlock().await?;
    }
    Ok(())
}
