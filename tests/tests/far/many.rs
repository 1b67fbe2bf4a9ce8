//! Thousands of calls at once are each sent once, and no hold is lost, however far the server is.

use std::time::Duration;

use latchwork_mutex::{Mutex, MutexGuard};
use latchwork_testkit::{ConnKind, Proxy};
use latchwork_tests::{Fixture, go};
use tokio::task::JoinHandle;

const MANY: usize = 3000;

async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

/// One client locks many free mutexes at once, keeps them for more than a lease, and unlocks them
/// at once.
async fn many_at_once(trip: Duration, lease: Duration) {
    let fixture = Fixture::shared();
    let proxy = Proxy::start(fixture.server.port()).expect("a proxy");
    proxy.delay(trip / 2);
    let client = fixture.builder_at(proxy.url()).lease(lease).connect().await;
    let client = client.expect("a client");
    let requests = || proxy.requests_of(ConnKind::Commands);
    proxy.reset_counts();
    let mut tasks = Vec::new();
    for name in 0..MANY {
        let mutex = Mutex::new(&client, name.to_string()).expect("a mutex");
        tasks.push(go(async move { mutex.lock().await }));
    }
    let locked = all(tasks).await;
    let failed = locked.iter().filter(|lock| lock.is_err()).count();
    assert_eq!(failed, 0, "free locks that were not acquired, of {MANY}");
    let few = u64::try_from(MANY / 8).expect("small");
    assert!(
        requests() < few,
        "each is asked for once: {} requests",
        requests()
    );
    let guards: Vec<MutexGuard> = locked.into_iter().filter_map(Result::ok).collect();
    tokio::time::sleep(lease).await;
    let lost = guards.iter().filter(|guard| guard.is_lost()).count();
    assert_eq!(lost, 0, "holds that were lost, of {MANY}");

    proxy.reset_counts();
    let released = all(guards.into_iter().map(|guard| go(guard.unlock())).collect()).await;
    let failed: Vec<_> = released.into_iter().filter_map(Result::err).collect();
    assert_eq!(
        failed.len(),
        0,
        "releases that failed, such as: {:?}",
        failed.first()
    );
    assert!(requests() < few, "each is released once: {} requests", requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_locks_at_a_fifth_of_a_second_with_a_short_lease() {
    many_at_once(Duration::from_millis(200), Duration::from_secs(2)).await;
}
