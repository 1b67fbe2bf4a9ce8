//! Every lock works behind `dyn Lock`, and an application can substitute a fake.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchwork_mutex::dynamic::{Guard, Lock, async_trait};
use latchwork_mutex::{
    Client, ErrorKind, FairMutex, FencingToken, Loss, Mutex, Name, Owner, ReentrantMutex, Result,
};
use latchwork_rwlock::RwLock;
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, LEASE, MINUTE, eventually, go, soon};

const WAIT: Duration = Duration::from_millis(20);

/// A part of an application that does not know which lock it has.
#[derive(Debug, Clone)]
struct Ledger {
    lock: Arc<dyn Lock>,
}

impl Ledger {
    async fn book(&self) -> Result<Option<FencingToken>> {
        let guard = self.lock.lock().await?;
        let token = guard.fencing_token();
        guard.unlock().await?;
        Ok(token)
    }
}

/// All there are, of names of their own; whether it excludes itself, and has a token.
async fn all(fixture: &Fixture<'_>) -> (Client, Vec<(Arc<dyn Lock>, bool, bool)>) {
    let client = fixture.patient().await;
    let owned = ReentrantMutex::new(&client, "owned").unwrap();
    let rwlock = |name: &str| RwLock::new(&client, name).unwrap();
    let locks: Vec<(Arc<dyn Lock>, bool, bool)> = vec![
        (Arc::new(Mutex::new(&client, "mutex").unwrap()), true, true),
        (Arc::new(FairMutex::new(&client, "fair").unwrap()), true, true),
        (Arc::new(owned.with_owner(&Owner::new())), false, true),
        (Arc::new(rwlock("read").read_lock()), false, false),
        (Arc::new(rwlock("write").write_lock()), true, true),
        (Arc::new(Fake::new()), true, false),
    ];
    (client, locks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lock_behaves_the_same_behind_the_trait() {
    let fixture = Fixture::shared();
    let (client, locks) = all(&fixture).await;
    for (lock, excludes, has_token) in locks {
        let name = lock.name().to_string();
        let guard = lock.lock().await.unwrap();
        assert_eq!(guard.fencing_token().is_some(), has_token, "{name}");
        assert!(!guard.is_lost() && guard.valid_for() > MINUTE / 2, "{name}");
        for found in [
            lock.try_lock().await.unwrap(),
            lock.try_lock_for(Duration::ZERO).await.unwrap(),
            lock.try_lock_for(WAIT).await.unwrap(),
            lock.try_lock_until(Instant::now()).await.unwrap(),
            lock.try_lock_until(Instant::now() + WAIT).await.unwrap(),
        ] {
            assert_eq!(found.is_none(), excludes, "{name}");
        }
        guard.extend(MINUTE).await.unwrap();
        // Those who gave up take their places back in the background.
        eventually("nobody waits", || client.live() <= 1).await;
        // Unlocked by another task than the one that locked.
        soon("another task", go(guard.unlock())).await.unwrap().unwrap();
        for how in 0..4 {
            let found = match how {
                0 => lock.try_lock().await,
                1 => lock.try_lock_for(MINUTE).await,
                2 => soon("it is free", lock.try_lock_for(Duration::MAX)).await,
                _ => lock.try_lock_until(Instant::now()).await,
            };
            let guard: Box<dyn Guard> = found.unwrap().unwrap_or_else(|| panic!("{name}: {how}: free"));
            guard.unlock().await.unwrap();
        }
        let ledger = Ledger { lock };
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let ledger = ledger.clone();
                go(async move { ledger.book().await })
            })
            .collect();
        let mut tokens = Vec::new();
        for task in tasks {
            tokens.push(soon("a booking", task).await.unwrap().unwrap());
        }
        assert!(tokens.iter().all(|token| token.is_some() == has_token), "{name}");
    }
    eventually("all is given up", || client.live() == 0).await;
    for name in ["mutex", "fair", "owned"] {
        fixture.named(name).settled().await;
    }
    for name in ["read", "write"] {
        fixture.named(name).with(READ).settled().await;
    }
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_dropped_dyn_guard_releases_and_a_dropped_future_leaves_nothing() {
    let fixture = Fixture::shared();
    let (client, locks) = all(&fixture).await;
    for (lock, excludes, _) in locks {
        let name = lock.name().to_string();
        let guard = lock.lock().await.unwrap();
        if excludes {
            let waiting = tokio::time::timeout(WAIT, lock.lock()).await;
            assert!(waiting.is_err(), "{name}: held");
        }
        drop(guard);
        let guard = soon("it is free", lock.lock()).await.unwrap();
        guard.unlock().await.unwrap();
    }
    eventually("all is given up", || client.live() == 0).await;
}

#[tokio::test]
async fn a_dyn_guard_reports_its_loss() {
    let fixture = Fixture::shared();
    let (client, locks) = all(&fixture).await;
    for (lock, _, _) in locks.iter().take(5) {
        let guard = lock.lock().await.unwrap();
        let name = lock.name();
        let forced = match lock.name().as_bytes() {
            b"read" | b"write" => RwLock::new(&client, name).unwrap().force_unlock().await,
            _ => Mutex::new(&client, name).unwrap().force_unlock().await,
        };
        assert!(forced.unwrap(), "{name}: held");
        assert_eq!(soon("loss", guard.lost()).await, Loss::Forced, "{name}");
        assert!(guard.is_lost() && guard.valid_for().is_zero(), "{name}");
        let error = guard.extend(LEASE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost, "{name}: {error}");
        let error = guard.unlock().await.unwrap_err();
        assert_eq!(error.loss(), Some(Loss::Forced), "{name}: {error}");
    }
}

/// A lock for tests of an application, without a server.
#[derive(Debug)]
struct Fake {
    name: Name,
    inner: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct FakeGuard {
    _inner: tokio::sync::OwnedMutexGuard<()>,
}

impl Fake {
    fn new() -> Self {
        let name = Name::new("fake").unwrap();
        Self {
            name,
            inner: Arc::default(),
        }
    }

    async fn guard(&self) -> Box<dyn Guard> {
        let inner = Arc::clone(&self.inner).lock_owned().await;
        Box::new(FakeGuard { _inner: inner })
    }
}

#[async_trait]
impl Lock for Fake {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn lock(&self) -> Result<Box<dyn Guard>> {
        Ok(self.guard().await)
    }

    async fn try_lock_until(&self, deadline: Instant) -> Result<Option<Box<dyn Guard>>> {
        Ok(tokio::time::timeout_at(deadline.into(), self.guard()).await.ok())
    }
}

#[async_trait]
impl Guard for FakeGuard {
    fn fencing_token(&self) -> Option<FencingToken> {
        None
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn valid_for(&self) -> Duration {
        Duration::MAX
    }

    async fn lost(&self) -> Loss {
        std::future::pending().await
    }

    async fn extend(&self, _lease: Duration) -> Result<()> {
        Ok(())
    }

    async fn unlock(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_releases_and_drops_its_body_when_the_hold_is_lost() {
    let fixture = Fixture::shared();
    let (_client, locks) = all(&fixture).await;
    for (lock, excludes, has_token) in &locks {
        let name = lock.name().to_string();
        let ran = lock.run(async |guard| {
            let busy = lock.try_run(async |_| ()).await.unwrap().is_none();
            (guard.fencing_token().is_some(), busy)
        });
        assert_eq!(ran.await.unwrap(), (*has_token, *excludes), "{name}");
        assert_eq!(
            lock.try_run(async |_| 5).await.unwrap(),
            Some(5),
            "{name}: released"
        );
    }
    let client = fixture.client().await;
    let mutex = Mutex::new(&client, "forced").unwrap();
    let lock: Arc<dyn Lock> = Arc::new(mutex.clone());
    let begun = tokio::sync::Notify::new();
    let running = lock.run(async |_| {
        begun.notify_one();
        std::future::pending::<()>().await;
    });
    let forcing = async {
        begun.notified().await;
        mutex.force_unlock().await.unwrap();
    };
    let (ran, ()) = soon("the end of the body", async { tokio::join!(running, forcing) }).await;
    let error = ran.unwrap_err();
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
}
