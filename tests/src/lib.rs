//! What the tests share: clients with a prefix of their own on a test server, what must be true after every test, and
//! the primitives as the tests that are written for all of them see them.

mod case;
mod counted;
mod process;
mod record;
pub mod subject;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use latchwork_core::{Client, ClientBuilder};
use latchwork_testkit::{TestServer, shared_server};

pub use case::{Case, LONG, MEDIUM, Waiter, rises, soon};
pub use counted::{commands, messages};
pub use process::Other;
pub use record::{MINUTE, Record};

/// The lease that most tests use: short, so that what has to wait for its end is quick.
pub const LEASE: Duration = Duration::from_millis(300);

/// A prefix on a server, which nobody else uses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Place<'a> {
    /// The server.
    pub server: &'a TestServer,
    /// The prefix of all keys and channels.
    pub prefix: String,
}

impl Place<'static> {
    /// A place on the server that the test process shares: for tests that do nothing to the server.
    pub fn shared() -> Self {
        Self::on(shared_server())
    }
}

impl<'a> Place<'a> {
    /// A place on this server.
    pub fn on(server: &'a TestServer) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            server,
            prefix: format!("t{}-{number}", std::process::id()),
        }
    }

    /// Options for a client here.
    pub fn builder(&self) -> ClientBuilder {
        self.builder_at(self.server.url())
    }

    /// Options for a client here that connects through another URL, as a proxy's.
    pub fn builder_at(&self, url: impl AsRef<str>) -> ClientBuilder {
        Client::builder()
            .url(url)
            .prefix(&self.prefix)
            .lease(LEASE)
            .reconnect_backoff(Duration::from_millis(5), Duration::from_millis(50))
    }

    /// A client with short leases.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn client(&self) -> Client {
        self.builder().connect().await.expect("a client")
    }

    /// The key of the lock of this name.
    pub fn key(&self, name: &str) -> String {
        self.key_of("lock", name)
    }

    /// The key of the primitive of this kind and name; the name must be one that is not escaped.
    pub fn key_of(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{{{name}}}", self.prefix)
    }

    /// The members of a lock's record with their scores, without the token's.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn members(&self, name: &str) -> Vec<String> {
        let dump = self.server.dump_zset(&self.key(name)).expect("a dump");
        dump.into_iter()
            .map(|(member, _)| member)
            .filter(|member| member != "t1")
            .collect()
    }

    /// Waits until nothing of any attempt is left in this lock's record: no hold, no place. Tombstones may be.
    ///
    /// # Panics
    /// If something is left after `within`.
    pub async fn settled(&self, name: &str, within: Duration) {
        self.settled_key(&self.key(name), &["t1"], within).await;
    }

    /// The same for any key, whose record always has these marks besides.
    ///
    /// # Panics
    /// If something is left after `within`.
    pub async fn settled_key(&self, key: &str, marks: &[&str], within: Duration) {
        let over = Instant::now() + within;
        loop {
            let dump = self.server.dump_zset(key).expect("a dump");
            let left: Vec<_> = dump
                .into_iter()
                .filter(|(member, _)| !marks.contains(&member.as_str()))
                .filter(|(_, score)| score.parse::<f64>().is_ok_and(|score| score < 1e14))
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < over, "left in {key}: {left:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What must be true after every test: every key has a TTL.
    ///
    /// # Panics
    /// If one has none.
    pub fn check_leftovers(&self) {
        let left = self.server.leftovers(&self.prefix).expect("the server answers");
        assert!(left.is_empty(), "keys without a TTL: {left:?}");
    }
}

/// A task on the present runtime: tests have only one.
#[allow(
    clippy::disallowed_methods,
    reason = "a test is not a library: its runtime is the one it runs in"
)]
pub fn go<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

/// Polls a condition until it holds: for what another task or process does in its own time.
///
/// # Panics
/// If it does not hold after ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let over = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < over, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
