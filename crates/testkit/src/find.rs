//! Finding a server on this machine, the same way for `cargo test`, `cargo xtask` and CI.

use std::cmp::Ordering;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{self, Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::error::Error;
use crate::fetch;
use crate::process;

/// The oldest server Latchwork works with; an older one on PATH is passed over.
const FLOOR: (u32, u32) = (6, 2);

/// Where package managers put servers that are not always on PATH.
const USUAL_FOLDERS: &[&str] = &[
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/redis/bin",
    "/opt/homebrew/opt/valkey/bin",
    "/home/linuxbrew/.linuxbrew/bin",
    "/opt/local/bin",
    "/snap/bin",
];

/// A server program that was seen to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerBinary {
    /// The program. Never resolved: Debian's `redis-server` is a link to another program that looks at its name.
    pub path: PathBuf,
    /// What has to be set for it to run, such as `LD_LIBRARY_PATH`.
    pub env: Vec<(OsString, OsString)>,
    /// What it says it is.
    pub version: ServerVersion,
    /// How it was found.
    pub source: Source,
}

/// How a server was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `REDIS_SERVER_BIN` names it.
    Variable,
    /// On PATH or in one of the usual folders.
    Installed,
    /// Fetched, into [`servers_dir`](crate::servers_dir).
    Fetched,
}

/// What a server says it is, as in `Redis 7.0.15`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerVersion {
    /// `Redis` or `Valkey`.
    pub name: String,
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

/// The server that `REDIS_URL` names, for what may run on somebody's own server.
///
/// Only with keys of a unique prefix, and never anything that touches the whole server. Tests that
/// kill, freeze or flush use [`TestServer`](crate::TestServer) whatever this says.
pub fn external_url() -> Option<String> {
    env::var("REDIS_URL").ok().filter(|url| !url.is_empty())
}

/// Finds a server, or fetches one; looks only once per process.
///
/// In this order: `REDIS_SERVER_BIN`; `redis-server`, then `valkey-server`, on PATH and in the usual folders; one
/// that was fetched before; one fetched now, which is said on stderr.
///
/// # Errors
/// `REDIS_SERVER_BIN` names something that does not run, or there is no server: then the error lists every fix.
pub fn find_server() -> Result<ServerBinary, Error> {
    static FOUND: OnceLock<Result<ServerBinary, Error>> = OnceLock::new();
    FOUND.get_or_init(look_for_server).clone()
}

fn look_for_server() -> Result<ServerBinary, Error> {
    if let Some(path) = env::var_os("REDIS_SERVER_BIN").filter(|path| !path.is_empty()) {
        return ServerBinary::probe(Path::new(&path), Vec::new(), Source::Variable)
            .map_err(|error| error.context("REDIS_SERVER_BIN"));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut tried = Vec::new();
    if let Some(found) = installed(&folders(&path), &mut tried) {
        return Ok(found);
    }
    if let Some(found) = fetch::fetched_before() {
        return Ok(found);
    }
    fetch::fetch_any().map_err(|error| no_server(&tried, &error))
}

/// PATH first, then the usual folders.
fn folders(path: &OsString) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::split_paths(path)
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    folders.extend(USUAL_FOLDERS.iter().map(PathBuf::from));
    folders
}

/// The first server in `folders` that runs and is new enough; `tried` gets a line for each that is not.
fn installed(folders: &[PathBuf], tried: &mut Vec<String>) -> Option<ServerBinary> {
    for name in ["redis-server", "valkey-server"] {
        for file in folders
            .iter()
            .map(|folder| folder.join(name))
            .filter(|file| file.is_file())
        {
            match ServerBinary::probe(&file, Vec::new(), Source::Installed) {
                Ok(binary) if binary.version.is_supported() => return Some(binary),
                Ok(binary) => {
                    tried.push(format!("{} is {}, too old", file.display(), binary.version));
                }
                Err(error) => tried.push(error.to_string()),
            }
        }
    }
    None
}

fn no_server(tried: &[String], fetching: &Error) -> Error {
    let (major, minor) = FLOOR;
    let passed_over: String = tried
        .iter()
        .flat_map(|line| ["  passed over: ", line, "\n"])
        .collect();
    Error::new(format!(
        "no Redis or Valkey server found, and none could be fetched\n{passed_over}  {fetching}
Any one of these helps (server {major}.{minor} or later):
  - install one: `apt-get install redis-server`, `dnf install valkey`, `apk add redis`, `brew install redis`
  - name one: REDIS_SERVER_BIN=/path/to/redis-server (or valkey-server)
  - on Debian or Ubuntu: `apt-get update`, so that one can be fetched without installing it
  - with Python: `python3 -m pip --version` has to work, so that one can be fetched
  - only for `cargo xtask demo`: REDIS_URL=redis://host:port of a server that runs already"
    ))
}

impl ServerBinary {
    /// Runs `path --version` and reads the answer.
    pub(crate) fn probe(path: &Path, env: Vec<(OsString, OsString)>, source: Source) -> Result<Self, Error> {
        let path = path::absolute(path)?;
        let mut command = process::command(&path, &["--version"]);
        command.envs(env.iter().map(|(key, value)| (key, value)));
        let said = process::run(&mut command, Duration::from_secs(10))?;
        let version = ServerVersion::parse(&said).ok_or_else(|| {
            Error::new(format!(
                "{} is no server: it says {:?}",
                path.display(),
                said.trim()
            ))
        })?;
        Ok(Self {
            path,
            env,
            version,
            source,
        })
    }
}

impl ServerVersion {
    /// Reads `Redis server v=7.0.15 sha=...`; what stands before ` v=` differs between servers.
    fn parse(said: &str) -> Option<Self> {
        let (before, after) = said.split_once(" v=")?;
        let name = if before.to_lowercase().contains("valkey") {
            "Valkey"
        } else {
            "Redis"
        };
        let number = after.split_whitespace().next()?;
        let mut parts = number.split('.').map(|part| part.parse().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = parts.next().flatten().unwrap_or(0);
        Some(Self {
            name: name.to_owned(),
            major,
            minor,
            patch,
        })
    }

    /// Whether it is at least `major.minor`.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor).cmp(&(major, minor)) != Ordering::Less
    }

    /// Whether Latchwork works with it: Redis 6.2 or later, any Valkey.
    pub fn is_supported(&self) -> bool {
        self.is_at_least(FLOOR.0, FLOOR.1)
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}.{}", self.name, self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variable => "named by REDIS_SERVER_BIN",
            Self::Installed => "installed",
            Self::Fetched => "fetched for this workspace",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake_server(folder: &Path, name: &str, says: &str) {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn reads_what_servers_say() {
        let redis =
            ServerVersion::parse("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
                .unwrap();
        assert_eq!(redis.to_string(), "Redis 7.0.15");
        let valkey = ServerVersion::parse("Valkey server v=9.1.2 sha=0:0").unwrap();
        assert_eq!(valkey.to_string(), "Valkey 9.1.2");
        assert!(valkey.is_at_least(9, 1) && !valkey.is_at_least(9, 2));
        assert_eq!(ServerVersion::parse("bash, version 5.2"), None);
    }

    #[test]
    fn prefers_redis_and_passes_over_what_is_too_old_or_broken() {
        let (old, broken, good) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        fake_server(old.path(), "redis-server", "Redis server v=5.0.6 sha=0");
        fake_server(broken.path(), "redis-server", "I am a teapot");
        fake_server(old.path(), "valkey-server", "Valkey server v=8.1.8 sha=0");
        fake_server(good.path(), "redis-server", "Redis server v=6.2.14 sha=0");
        let mut tried = Vec::new();
        let folders = [
            old.path().to_owned(),
            broken.path().to_owned(),
            good.path().to_owned(),
        ];
        let found = installed(&folders, &mut tried).unwrap();
        assert_eq!(found.path, good.path().join("redis-server"));
        assert_eq!(tried.len(), 2, "{tried:?}");

        let found = installed(&folders[..2], &mut tried).unwrap();
        assert_eq!(found.version.to_string(), "Valkey 8.1.8");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        fake_server(folder.path(), "redis-check-rdb", "Redis server v=7.0.15 sha=0");
        std::os::unix::fs::symlink("redis-check-rdb", folder.path().join("redis-server")).unwrap();
        let found = installed(&[folder.path().to_owned()], &mut Vec::new()).unwrap();
        assert_eq!(found.path.file_name().unwrap(), "redis-server");
    }

    #[test]
    fn the_error_lists_the_fixes() {
        let text = no_server(&["/bin/x is too old".to_owned()], &Error::new("no network")).to_string();
        for word in [
            "/bin/x",
            "no network",
            "REDIS_SERVER_BIN",
            "apt-get",
            "pip",
            "REDIS_URL",
        ] {
            assert!(text.contains(word), "{word} is missing in: {text}");
        }
    }
}
