//! An inspection says who holds and who waits, since when, and what for.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod purposes;
mod records;
mod times;

use std::time::{Duration, Instant};

use latchwork_core::{Client, LockInfo};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, mutex};

/// The lease of these tests: it outlasts the steps of the clock.
const LEASE: Duration = Duration::from_secs(3600);
/// A step of the server's clock. It is longer than a test takes, and a place is kept for longer.
const STEP: Duration = Duration::from_secs(20);

/// A server whose clock goes on in steps, and two clients there. Between two steps, no time passes but what the test takes.
struct World {
    server: TestServer,
    start: Instant,
}

impl World {
    fn new() -> Self {
        let server = TestServer::builder().clock_offset(0).start();
        Self {
            server: server.expect("a server"),
            start: Instant::now(),
        }
    }

    fn fixture(&self) -> Fixture<'_> {
        Fixture::on(&self.server)
    }

    /// The clock goes on by a step, and these clients know it.
    async fn step(&self, now: u32, clients: &[&Client]) {
        let offset = (STEP * now).as_millis().try_into().expect("a number");
        self.server.set_clock_offset(offset).expect("a step");
        for client in clients {
            let mutex = mutex(client, "what time is it");
            let guard = mutex.lock().await.expect("the time");
            guard.unlock().await.expect("released");
        }
    }

    /// Fails if it is not as long as so many steps.
    fn is_long(&self, what: &str, found: Option<Duration>, steps: u32) {
        let (found, taken) = (found.expect("it is known"), self.start.elapsed());
        let wrong = found.abs_diff(STEP * steps);
        assert!(
            wrong <= taken,
            "{what}: {found:?} and not {steps} steps ({taken:?})"
        );
    }

    /// The same for what the holder, or waiter, with this label has.
    fn is_held(&self, info: &LockInfo, label: &str, steps: u32) {
        let mut of = info
            .holders
            .iter()
            .filter(|it| it.label.as_deref() == Some(label));
        let holder = of.next().unwrap_or_else(|| panic!("{label} holds: {info:?}"));
        self.is_long(label, holder.held_for, steps);
    }

    fn waits(&self, info: &LockInfo, label: &str, steps: u32) {
        let mut of = info
            .waiters
            .iter()
            .filter(|it| it.label.as_deref() == Some(label));
        let waiter = of.next().unwrap_or_else(|| panic!("{label} waits: {info:?}"));
        self.is_long(label, waiter.waiting_for, steps);
    }
}

/// A client with this label.
async fn client(fixture: &Fixture<'_>, label: &str) -> Client {
    fixture
        .client_with(|builder| builder.lease(LEASE).label(label))
        .await
}

/// A client with this label that confirms nothing at once: the caller's thread is not the keeper's.
async fn unhurried(fixture: &Fixture<'_>, label: &str) -> Client {
    let options = |builder: latchwork_core::ClientBuilder| {
        let builder = builder.lease(LEASE).claim_window(Duration::from_secs(2));
        builder.label(label).keeper_thread(true)
    };
    fixture.client_with(options).await
}
