//! Latchwork and other libraries side by side, in one run, by the same code. `cargo xtask bench --peers` runs it.
//!
//! Each peer has its defaults, except where they would end the work: waiting has no time limit.

mod async_redis_lock;
mod distkit;
mod rlock;
mod rslock;

use std::process::ExitCode;
use std::sync::Arc;

use latchwork_benches::command_line::{Run, main as run};

fn main() -> ExitCode {
    run(
        Run::Peers,
        vec![
            Arc::new(rslock::Rslock),
            Arc::new(rlock::Rlock),
            Arc::new(async_redis_lock::AsyncRedisLock),
            Arc::new(distkit::Distkit),
        ],
    )
}
