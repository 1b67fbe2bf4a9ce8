//! Latchwork against bare scripts. `cargo xtask bench` builds and runs it.

use latchwork_benches::Result;
use latchwork_benches::command_line::{Run, main as run};

fn main() -> Result<()> {
    run(Run::Alone, Vec::new())
}
