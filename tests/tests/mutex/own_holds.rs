//! A client that waits for a lease for what it holds itself says so once, in its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use latchwork_tests::{Fixture, LONG, MEDIUM, eventually, granted, locked, locking, unlocked};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts the warnings about own holds.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Warnings {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Visit for Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && text.contains("for what it holds itself") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_wait_for_an_own_hold_is_logged_once_after_a_lease() {
    let warnings = Warnings::default();
    let _logs = tracing::subscriber::set_default(warnings.clone());
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let guard = locked(&client, "a").await;
    let waiters = [locking(&client, "a"), locking(&client, "a")];
    eventually("the warning", || warnings.count() == 1).await;
    tokio::time::sleep(MEDIUM).await;
    assert_eq!(warnings.count(), 1, "once, though two wait for several leases");
    unlocked(guard).await;
    for waiter in waiters {
        drop(granted(waiter).await);
    }
}

#[tokio::test]
async fn a_wait_for_the_hold_of_another_client_is_not_logged() {
    let warnings = Warnings::default();
    let _logs = tracing::subscriber::set_default(warnings.clone());
    let fixture = Fixture::shared();
    let (one, two) = (
        fixture.client_with(|b| b.lease(LONG)).await,
        fixture.client().await,
    );
    let guard = locked(&one, "a").await;
    let _other = locked(&two, "b").await;
    let waiter = locking(&two, "a");
    tokio::time::sleep(MEDIUM).await;
    assert_eq!(warnings.count(), 0, "nobody waits for itself");
    unlocked(guard).await;
    drop(granted(waiter).await);
}
