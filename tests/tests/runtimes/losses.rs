//! Each loss is logged once, with what led to it, and counts as lateness if the keeper was late.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use latchwork_mutex::{Loss, Renew};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, LONG, eventually, locked, locking, mutex, unlocked};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What is logged on this thread above `debug`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Logs until the guard is dropped. Everything of the client runs on this thread.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The warnings of losses.
    fn losses(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains("a hold was lost"));
        lines
    }
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = write!(self.0, " {field}={value:?}");
        written.expect("a string takes everything");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("latchwork") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Line(&mut line));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_loss_behind_a_cut_network_is_logged_once_with_its_cause() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.proxied().await;
    let guard = locked(&client, "a").await;
    proxy.refuse(true);
    proxy.cut();
    assert_eq!(guard.lost().await, Loss::Expired);
    eventually("it is logged", || !log.losses().is_empty()).await;
    tokio::time::sleep(LEASE * 2).await;
    drop(guard);
    let losses = log.losses();
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert!(losses[0].starts_with("WARN"), "{losses:?}");
    assert!(losses[0].contains("connect"), "names the cause: {losses:?}");
}

#[tokio::test]
async fn a_loss_after_refused_renewals_is_logged_with_the_refusal() {
    let (log, _logging) = Log::start();
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.builder_at(fixture.restricted(&[])).connect().await;
    let guard = locked(&client.expect("a client"), "a").await;
    server
        .admin(&["ACL", "SETUSER", "worker", "-evalsha"])
        .expect("fewer rights");
    assert_eq!(guard.lost().await, Loss::Expired);
    eventually("it is logged", || !log.losses().is_empty()).await;
    let losses = log.losses();
    assert!(losses.len() == 1 && losses[0].contains("+evalsha"), "{losses:?}");
}

#[tokio::test]
async fn a_blocked_runtime_that_cost_a_hold_shows_as_lateness_and_in_the_log() {
    for looks_first in [false, true] {
        let (log, _logging) = Log::start();
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let guard = locked(&client, "a").await;
        std::thread::sleep(LEASE * 4); // it was to be renewed after a third of the lease
        if looks_first {
            assert!(guard.is_lost(), "its lease is over");
            drop(guard);
        } else {
            assert_eq!(guard.lost().await, Loss::Expired);
        }
        eventually("it is logged", || !log.losses().is_empty()).await;
        let late = client.keeper_lateness();
        assert!(late >= LEASE * 3, "{late:?} with looks_first: {looks_first}");
        let losses = log.losses();
        assert!(losses.len() == 1 && losses[0].contains("late"), "{losses:?}");
    }
}

#[tokio::test]
async fn nothing_is_logged_of_what_is_no_loss() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let (client, other) = (fixture.client().await, fixture.client().await);
    let connected = log.lines().len();
    let guard = locked(&client, "a").await;
    let waiter = locking(&other, "a");
    fixture.queued(1).await;
    waiter.abort();
    eventually("its place is dropped", || other.live() == 0).await;
    assert!(mutex(&other, "a").try_lock().await.expect("an answer").is_none());
    tokio::time::sleep(LEASE).await; // renewals
    unlocked(guard).await;
    drop(locked(&client, "a").await);
    locked(&client, "a").await.forget();
    eventually("all is ended", || client.live() == 0).await;
    client.close().await;
    assert_eq!(log.lines()[connected..], [""; 0], "no news");
}

#[tokio::test]
async fn a_hold_that_nobody_renews_is_a_loss_like_others() {
    let (log, _logging) = Log::start();
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let manual = latchwork_mutex::Mutex::builder(&client, "a");
    let manual = manual.lease(Duration::from_millis(50)).renew(Renew::Manual);
    let guard = manual.build().expect("a mutex").lock().await.expect("the lock");
    let kept = locked(&client, "kept").await;
    assert_eq!(guard.lost().await, Loss::Expired);
    eventually("it is logged", || log.losses().len() == 1).await;
    assert!(kept.valid_for() > LONG / 2, "no other is affected");
    assert!(client.keeper_lateness() < LEASE, "nothing was late");
}
