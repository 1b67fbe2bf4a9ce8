//! Latchwork against bare scripts. `cargo xtask bench` builds and runs it.

use std::process::ExitCode;

use latchwork_benches::command_line::{Run, main as run};

fn main() -> ExitCode {
    run(Run::Alone, Vec::new())
}
