//! One release lets thousands of tasks of one process in, and no hold is lost.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod ticks;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use latchwork_mutex::{Client, Hold, Mutex, Result};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, go};
use tokio::task::JoinHandle;

const CROWD: usize = 5000;
/// Waiters whose first requests are under way at a time.
const WAVE: usize = 100;

/// A client with defaults, but for the claim window: without optimization, on a busy machine, a client may need more than
/// half a second to confirm 5 000 claims.
async fn client(place: &Fixture<'_>) -> Client {
    let builder = Client::builder().url(place.server.url()).prefix(&place.prefix);
    let builder = builder.claim_window(Duration::from_secs(5));
    builder.connect().await.unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let over = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < over, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many wait; the server counts, as the crowd is not to be read again and again.
fn waiting(server: &TestServer, key: &str) -> i64 {
    let reply = server.admin(&["ZCOUNT", key, "-inf", "(0"]).unwrap();
    reply.int().unwrap()
}

/// Holds whose claims were confirmed: their scores have no fraction.
fn confirmed(server: &TestServer, key: &str) -> i64 {
    const COUNT: &str =
        "local found, count = redis.call('ZRANGEBYSCORE', KEYS[1], 1e12, 1e14, 'WITHSCORES'), 0
        for i = 2, #found, 2 do
          count = count + (found[i] % 1 == 0 and 1 or 0)
        end
        return count";
    let reply = server.admin(&["EVAL", COUNT, "1", key]).unwrap();
    reply.int().unwrap()
}

/// Locks and unlocks a mutex of its own until it is told to stop; returns how often it did while `busy` was set.
fn bystander(client: Client, busy: Arc<AtomicBool>, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    go(async move {
        let mutex = Mutex::new(&client, "another").unwrap();
        let mut turns = 0;
        while !stop.load(Ordering::Relaxed) {
            let before = busy.load(Ordering::Relaxed);
            mutex.lock().await.unwrap().unlock().await.unwrap();
            turns += usize::from(before && busy.load(Ordering::Relaxed));
        }
        turns
    })
}

/// What the crowd waits for, and how much of it is there.
struct Crowd {
    tasks: Vec<JoinHandle<()>>,
    inside: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    leave: Arc<tokio::sync::Notify>,
}

impl Crowd {
    /// All of them wait when this returns.
    async fn gather<G, F>(place: &Fixture<'_>, key: &str, acquire: impl Fn() -> F) -> Self
    where
        G: Deref<Target = Hold> + Send + Sync + 'static,
        F: Future<Output = Result<G>> + Send + 'static,
    {
        let mut crowd = Self {
            tasks: Vec::new(),
            inside: Arc::default(),
            lost: Arc::default(),
            leave: Arc::default(),
        };
        while crowd.tasks.len() < CROWD {
            for _ in 0..WAVE {
                let (inside, lost) = (Arc::clone(&crowd.inside), Arc::clone(&crowd.lost));
                let (waiting, leave) = (acquire(), Arc::clone(&crowd.leave));
                crowd.tasks.push(go(async move {
                    let leave = leave.notified();
                    let guard = waiting.await.unwrap();
                    inside.fetch_add(1, Ordering::Relaxed);
                    leave.await;
                    lost.fetch_add(usize::from(guard.is_lost()), Ordering::Relaxed);
                }));
            }
            let there = i64::try_from(crowd.tasks.len()).unwrap();
            until("they wait", || waiting(place.server, key) == there).await;
        }
        crowd
    }
}

/// `release` lets the crowd in.
async fn let_in(place: &Fixture<'_>, key: &str, crowd: Crowd, release: impl Future<Output = Result<()>>) {
    let (busy, stop) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicBool>::default());
    let other = bystander(client(place).await, Arc::clone(&busy), Arc::clone(&stop));
    busy.store(true, Ordering::Relaxed);
    release.await.unwrap();
    busy.store(false, Ordering::Relaxed);
    until("all are inside", || crowd.inside.load(Ordering::Relaxed) == CROWD).await;
    let all = i64::try_from(CROWD).unwrap();
    until("all are confirmed", || confirmed(place.server, key) == all).await;
    stop.store(true, Ordering::Relaxed);
    let turns = other.await.unwrap();
    crowd.leave.notify_waiters();
    for task in crowd.tasks {
        task.await.unwrap();
    }
    assert_eq!(crowd.lost.load(Ordering::Relaxed), 0, "no hold was lost");
    assert!(
        turns >= 10,
        "another lock was served {turns} times during the release"
    );
}

/// One crowd at a time is enough for a small machine.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_lets_5000_readers_in() {
    let _alone = ALONE.lock().await;
    let server = TestServer::start().unwrap();
    let place = Fixture::on(&server);
    let key = place.clone().with_kind("rwlock").named("config").key();
    let (ours, theirs) = (client(&place).await, client(&place).await);
    let held = RwLock::new(&ours, "config").unwrap().write().await.unwrap();
    let lock = RwLock::new(&theirs, "config").unwrap();
    let crowd = Crowd::gather(&place, &key, || lock.read()).await;
    let_in(&place, &key, crowd, async { held.unlock().await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_of_everything_lets_5000_in() {
    let _alone = ALONE.lock().await;
    let server = TestServer::start().unwrap();
    let place = Fixture::on(&server);
    let key = place.clone().with_kind("semaphore").named("pool").key();
    let (ours, theirs) = (client(&place).await, client(&place).await);
    let all = u32::try_from(CROWD).unwrap();
    let permits = |client| Semaphore::new(client, "pool", all).unwrap();
    let held = permits(&ours).acquire_many(all).await.unwrap();
    let semaphore = permits(&theirs);
    let crowd = Crowd::gather(&place, &key, || semaphore.acquire()).await;
    let_in(&place, &key, crowd, async { held.release().await }).await;
}
