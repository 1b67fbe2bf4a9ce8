//! Where the testkit keeps things: fetched servers, and the note of which servers a test run used.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::find::ServerBinary;

/// The folder of fetched servers: `latchwork-servers` in the workspace's target folder.
pub fn servers_dir() -> PathBuf {
    target_dir().join("latchwork-servers")
}

/// The servers that tests really started since [`forget_used_servers`], one line each, sorted.
pub fn used_servers() -> Vec<String> {
    let Ok(entries) = fs::read_dir(used_dir()) else {
        return Vec::new();
    };
    let mut lines: Vec<String> = entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .map(|line| line.trim().to_owned())
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

/// Forgets which servers were used, at the start of a test run.
///
/// # Errors
/// The note exists and cannot be removed.
pub fn forget_used_servers() -> Result<(), Error> {
    match fs::remove_dir_all(used_dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Notes that `binary` was started: one file per version and path, so that many processes can do it at once.
pub(crate) fn note_used(binary: &ServerBinary) -> Result<(), Error> {
    let line = format!("{} ({})", binary.version, binary.path.display());
    let name: String = line
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let file = used_dir().join(name);
    if !file.exists() {
        fs::create_dir_all(used_dir())?;
        fs::write(file, line + "\n")?;
    }
    Ok(())
}

fn used_dir() -> PathBuf {
    servers_dir().join("used")
}

/// Cargo's target folder, as far as a test can know it. Tests run in their package's folder, so a relative
/// `CARGO_TARGET_DIR` is taken from the workspace's root, where cargo is started.
fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => workspace_root().join(dir),
        _ => workspace_root().join("target"),
    }
}

fn workspace_root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}
