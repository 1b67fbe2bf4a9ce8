//! A wall clock for one server, which a test sets while the server runs.
//!
//! The server runs with a small library preloaded (`clock.c`), which adds an offset from a file to
//! what the system says. The library is compiled once, with the C compiler that Rust needs as well.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::fetch::lock;
use crate::places::servers_dir;
use crate::process::{command, run};

const SOURCE: &str = include_str!("clock.c");
const COMPILE_LIMIT: Duration = Duration::from_secs(60);
/// Valkey asks the system again only a millisecond after it last did.
const CACHED: Duration = Duration::from_millis(2);
/// The file in a server's folder.
pub(crate) const FILE: &str = "clock";

/// The clock of one server.
#[derive(Debug)]
pub(crate) struct Clock {
    file: File,
}

impl Clock {
    /// A clock that is `offset_ms` ahead of the system's, in the server's folder, and what the
    /// server's environment needs for it.
    pub(crate) fn new(dir: &Path, offset_ms: i64) -> Result<(Self, [(OsString, OsString); 2]), Error> {
        let library = library()?;
        let path = dir.join(FILE);
        let file = File::create_new(&path)?;
        let clock = Self { file };
        clock.set(offset_ms)?;
        let environment = [
            ("LD_PRELOAD".into(), library.into()),
            ("LATCHWORK_CLOCK".into(), path.into()),
        ];
        Ok((clock, environment))
    }

    /// Steps the clock, and returns when the server must have seen it.
    pub(crate) fn step(&self, offset_ms: i64) -> Result<(), Error> {
        self.set(offset_ms)?;
        thread::sleep(CACHED);
        Ok(())
    }

    fn set(&self, offset_ms: i64) -> Result<(), Error> {
        let micros = offset_ms
            .checked_mul(1_000)
            .ok_or_else(|| Error::new(format!("a clock cannot be {offset_ms} ms off")))?;
        Ok(self.file.write_all_at(&micros.to_ne_bytes(), 0)?)
    }
}

/// The compiled library; looks only once per process.
pub(crate) fn library() -> Result<PathBuf, Error> {
    static COMPILED: OnceLock<Result<PathBuf, Error>> = OnceLock::new();
    COMPILED.get_or_init(compile).clone()
}

fn compile() -> Result<PathBuf, Error> {
    if !cfg!(target_os = "linux") {
        return Err(Error::new("a server's clock can be set on Linux only"));
    }
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    let folder = servers_dir();
    let library = folder.join(format!("clock-{:016x}.so", hasher.finish()));
    if library.is_file() {
        return Ok(library);
    }
    fs::create_dir_all(&folder)?;
    let _lock = lock(&folder.join("fetch.lock"))?;
    if library.is_file() {
        return Ok(library); // another process was quicker
    }
    let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(&folder)?;
    let (source, made) = (aside.path().join("clock.c"), aside.path().join("clock.so"));
    fs::write(&source, SOURCE)?;
    let compiler = env::var_os("CC").filter(|name| !name.is_empty());
    let mut cc = command(
        compiler.unwrap_or_else(|| "cc".into()),
        &["-O2", "-shared", "-fPIC"],
    );
    run(cc.arg("-o").arg(&made).arg(&source).arg("-ldl"), COMPILE_LIMIT)
        .map_err(|error| error.context("compiling the clock of test servers"))?;
    fs::rename(made, &library)?;
    Ok(library)
}
