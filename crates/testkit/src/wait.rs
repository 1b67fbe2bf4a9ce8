//! Waiting until something is so, with a bound and an error that says what was missing.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How long a server may take to get ready or to notice something; a bound for broken machines.
const LIMIT: Duration = Duration::from_secs(30);
/// How often is looked.
const TICK: Duration = Duration::from_millis(5);

/// Asks `look` again and again until it has an answer. Its error says what is still missing; the
/// last one is in the error after [`LIMIT`].
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    wait_as_long_as(LIMIT, what, look)
}

/// The same with another limit.
pub(crate) fn wait_as_long_as<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(missing) if Instant::now() >= deadline => {
                return Err(missing.context(&format!("{what}, waited for {limit:?}")));
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}
