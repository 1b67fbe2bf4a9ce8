//! Running a program to its end, but never for longer than a limit.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How often a running program is looked at.
const TICK: Duration = Duration::from_millis(2);

/// Runs `command` without stdin and returns what it wrote to stdout.
///
/// Fails if it cannot be started, ends badly (with the last lines of its stderr) or is still running after
/// `limit`; then it is killed.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::new(format!("{name} does not start: {error}")))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(Error::new(format!("{name} took longer than {limit:?}")));
        }
        thread::sleep(TICK);
    };
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    if status.success() {
        return Ok(stdout);
    }
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(Error::new(format!("{name} failed ({status}): {tail}")))
}

/// A command of the name with these arguments.
pub(crate) fn command<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

type Drained = Option<thread::JoinHandle<Vec<u8>>>;

/// Reads a pipe to its end on the side: a full pipe would stop the program.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Drained {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            match pipe.read_to_end(&mut bytes) {
                Ok(_) => bytes,
                Err(error) => error.to_string().into_bytes(),
            }
        })
    })
}

fn collect(drained: Drained) -> String {
    let bytes = drained.and_then(|thread| thread.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<String, Error> {
        run(&mut command("sh", &["-c", script]), limit)
    }

    #[test]
    fn returns_what_was_printed() {
        assert_eq!(sh("echo one", Duration::from_secs(5)), Ok("one\n".to_owned()));
    }

    #[test]
    fn tells_why_it_failed() {
        let error = sh("echo no such thing >&2; exit 3", Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[test]
    fn ends_what_takes_too_long() {
        let started = Instant::now();
        let error = sh("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("took longer"), "{error}");
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it waited for the sleep"
        );
    }
}
