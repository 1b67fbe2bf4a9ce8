//! Locks work however far the server is: nothing is lost, and no call costs more.
//!
//! `LATCHWORK_FAR` sets the round trips at which `suite.rs` and `hand_offs.rs` run, in milliseconds, and
//! `LATCHWORK_HAND_OFFS` the number of hand-offs; see `tests/README.md`.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod hand_offs;
mod many;
mod suite;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchwork_mutex::{Client, ClientBuilder, Hold, Mutex, Result};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::{Action, Direction, Proxy};
use latchwork_tests::distance::Distance;
use latchwork_tests::{Fixture, MINUTE, eventually, go, soon};

/// A number in the environment.
fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// The environment sets the round trips.
fn is_set() -> bool {
    std::env::var_os("LATCHWORK_FAR").is_some()
}

/// The round trips in the environment, or these, in milliseconds.
fn distances(usual: &[u64]) -> Vec<Distance> {
    let set = std::env::var("LATCHWORK_FAR").ok();
    let set = set.map(|all| {
        all.split(',')
            .map(|ms| ms.parse().expect("milliseconds"))
            .collect()
    });
    let all: Vec<u64> = set.unwrap_or_else(|| usual.to_vec());
    all.into_iter().map(Distance::ms).collect()
}

/// Names of each kind that are contended at once.
const NAMES: usize = 12;

/// Clients at the end of a line of this round trip, connected over it.
struct Far {
    place: Fixture<'static>,
    proxy: Proxy,
    trip: Duration,
}

impl Far {
    fn new(trip: Duration) -> Self {
        let place = Fixture::shared();
        let proxy = Proxy::start(place.server.port()).expect("a proxy");
        proxy.delay(trip / 2);
        Self { place, proxy, trip }
    }

    async fn client(&self) -> Client {
        let builder = Client::builder().url(self.proxy.url());
        let client = builder.prefix(&self.place.prefix).connect().await;
        client.expect("connected, however far it is")
    }

    async fn near(&self) -> Client {
        let builder = Client::builder().url(self.place.server.url());
        builder
            .prefix(&self.place.prefix)
            .connect()
            .await
            .expect("a client")
    }

    /// Waits until so many hold or wait.
    async fn has(&self, kind: &'static str, name: &str, attempts: usize) {
        let key = self.place.clone().with_kind(kind).named(name).key();
        eventually("they are all there", || {
            let dump = self.place.server.dump_zset(&key).expect("a dump");
            dump.iter().filter(|(member, _)| member.contains(':')).count() == attempts
        })
        .await;
    }

    /// Longer than any claim window at this distance.
    fn long(&self) -> Duration {
        Duration::from_millis(1200).max(self.trip * 5)
    }
}

/// Holds it for that long; `true` if it was kept, and its release says so, too.
async fn keeps<F>(hold: Hold, release: impl FnOnce() -> F, long: Duration) -> bool
where
    F: Future<Output = Result<()>>,
{
    tokio::time::sleep(long).await;
    !hold.is_lost() && release().await.is_ok()
}

/// Of every kind, `NAMES` times: somebody near holds, two far away wait in turn. Counts who kept and who lost a hand-off.
async fn hand_over(trip: Duration) {
    let far = Far::new(trip);
    let near = far.near().await;
    let (first, second) = tokio::join!(far.client(), far.client());
    let mut held: Vec<Box<dyn std::any::Any + Send>> = Vec::new();
    let mut waiters = Vec::new();
    let long = far.long();
    for name in 0..NAMES {
        let (mutex, rwlock, semaphore) = (format!("m{name}"), format!("r{name}"), format!("s{name}"));
        let near_mutex = Mutex::new(&near, &mutex).expect("a mutex");
        held.push(Box::new(near_mutex.lock().await.expect("free")));
        let near_lock = RwLock::new(&near, &rwlock).expect("a lock");
        held.push(Box::new(near_lock.write().await.expect("free")));
        let near_semaphore = Semaphore::new(&near, &semaphore, 1).expect("a semaphore");
        held.push(Box::new(near_semaphore.acquire().await.expect("free")));
        for client in [&first, &second] {
            let lock = Mutex::new(client, &mutex).expect("a mutex");
            waiters.push(go(async move {
                let guard = lock.lock().await.expect("granted");
                keeps(guard.hold().clone(), || guard.unlock(), long).await
            }));
            let lock = RwLock::new(client, &rwlock).expect("a lock");
            waiters.push(go(async move {
                let guard = lock.write().await.expect("granted");
                keeps(guard.hold().clone(), || guard.unlock(), long).await
            }));
            let semaphore = Semaphore::new(client, &semaphore, 1).expect("a semaphore");
            waiters.push(go(async move {
                let permit = semaphore.acquire().await.expect("granted");
                keeps(permit.hold().clone(), || permit.release(), long).await
            }));
        }
    }
    for name in 0..NAMES {
        for (kind, letter) in [("lock", "m"), ("rwlock", "r"), ("semaphore", "s")] {
            far.has(kind, &format!("{letter}{name}"), 3).await;
        }
    }
    drop(held);
    let mut kept = 0;
    for waiter in waiters {
        kept += usize::from(waiter.await.expect("no panic"));
    }
    assert_eq!(kept, NAMES * 6, "hand-offs that were kept, of {}", NAMES * 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hand_off_is_lost_at_a_fifth_of_a_second() {
    hand_over(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hand_off_is_lost_at_half_a_second() {
    hand_over(Duration::from_millis(500)).await;
}

/// Here a hand-off is confirmed before it is handed out (rule 7).
#[tokio::test]
async fn no_hand_off_is_lost_at_half_a_second_on_one_thread() {
    hand_over(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_lease_of_three_round_trips_is_enough() {
    let far = Far::new(Duration::from_millis(400));
    let client = far.client().await;
    let lock = Mutex::builder(&client, "a").lease(far.trip * 3).build();
    let guard = lock.expect("a mutex").try_lock().await.expect("an answer");
    let guard = guard.expect("free");
    let kept = keeps(guard.hold().clone(), || guard.unlock(), far.trip * 9).await;
    assert!(kept, "renewed in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_gets_longer_costs_no_hold() {
    let far = Far::new(Duration::ZERO);
    let client = far.client().await;
    let near = far.near().await;
    let mutex = Mutex::new(&near, "a").expect("a mutex");
    let held = mutex.lock().await.expect("free");
    let lock = Mutex::new(&client, "a").expect("a mutex");
    let waiter = go(async move { lock.lock().await.expect("granted") });
    far.has("lock", "a", 2).await;
    held.unlock().await.expect("released");
    let guard = waiter.await.expect("no panic");
    // All that the client has measured says that an answer takes no time. The first confirmation takes longer than half of
    // what is left of the claim; its answer is late, but not too late.
    far.proxy.delay(Duration::from_millis(150));
    let kept = keeps(guard.hold().clone(), || guard.unlock(), far.long()).await;
    assert!(kept, "confirmed before its deadline");
}

/// The answer to a confirmation may come after the time until which the client knew that it held. It counts: another
/// acquire would find as little time left, and so on, while each confirmation keeps the lock for one who never gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_confirmed_late_is_handed_out() {
    const WINDOW: Duration = Duration::from_secs(2);
    let place = Fixture::shared();
    let near = place.patient().await;
    let options = |b: ClientBuilder| b.lease(MINUTE).heartbeat(MINUTE).claim_window(WINDOW);
    let (proxy, client) = place
        .proxied_with(|b| options(b).operation_timeout(WINDOW * 3))
        .await;
    let held = place.all(&near).await;
    let mut waiting = Box::pin(Mutex::new(&client, "a").expect("a mutex").lock());
    tokio::select! {
        _ = &mut waiting => panic!("it is held"),
        () = place.queued(1) => {}
    }
    proxy.block(Direction::ToClient);
    place.released(held).await;
    tokio::time::sleep(WINDOW * 11 / 20).await;
    // The message comes when less than half of the claim is left, so it is confirmed first. That answer waits.
    proxy.reset_counts();
    let asked = AtomicBool::new(false);
    proxy.on_chunk(move |direction, _, _| {
        asked.fetch_or(direction == Direction::ToServer, Ordering::SeqCst);
        let is_answer = direction == Direction::ToClient && asked.load(Ordering::SeqCst);
        if is_answer { Action::Hold } else { Action::Pass }
    });
    proxy.unblock(Direction::ToClient);
    let over = tokio::time::Instant::now() + WINDOW / 2;
    while tokio::time::Instant::now() < over {
        // Polled by a caller who does other things as well.
        let polled = tokio::time::timeout(Duration::from_millis(20), &mut waiting);
        assert!(polled.await.is_err(), "not handed out before it is confirmed");
    }
    proxy.no_hook();
    proxy.release();
    let guard = soon("a grant", waiting).await.expect("granted");
    assert_eq!(proxy.requests(), 1, "the confirmation, and not another acquire");
    guard.unlock().await.expect("held");
}
