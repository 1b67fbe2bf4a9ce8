//! What the tests share: a [`Fixture`] for each of them, and every primitive behind one trait
//! (`subject`).

mod acquiring;
mod counted;
pub mod distance;
mod fixture;
mod log;
pub mod mutants;
mod mutexes;
mod process;
mod record;
pub mod subject;

use std::time::{Duration, Instant};

use distance::{Distance, scaled};

pub use acquiring::{Waiter, rises};
pub use counted::{commands, lose_forced, lose_grants, lose_the_reply, messages};
pub use fixture::{Fixture, LEASE, LONG, MEDIUM, MINUTE, sentinel_url};
pub use log::Log;
pub use mutexes::{granted, locked, locking, mutex, still_held, unlocked};
pub use process::Other;

/// A task on the current runtime: tests have only one.
#[allow(
    clippy::disallowed_methods,
    reason = "a test is not a library: its runtime is the one it runs in"
)]
pub fn go<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(Distance::here().at(future))
}

/// Fails the test when something hangs.
///
/// # Panics
/// If it does.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let limited = tokio::time::timeout(scaled(Duration::from_secs(25)), future);
    limited.await.unwrap_or_else(|_| panic!("it hangs: {what}"))
}

/// Polls a condition until it holds: for what another task or process does in its own time.
///
/// # Panics
/// If it does not hold after ten seconds, or longer far away.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let over = Instant::now() + scaled(Duration::from_secs(10));
    let pause = Duration::from_millis(1).max(Distance::here().trip() / 20);
    while !condition() {
        assert!(Instant::now() < over, "this did not happen: {what}");
        tokio::time::sleep(pause).await;
    }
}
