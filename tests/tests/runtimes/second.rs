//! A client can be used from a second runtime, from none, and after its own has ended.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join;
use latchwork_mutex::{Client, ErrorKind, Fence, Loss, Mutex};
use latchwork_tests::{Fixture, LEASE, mutex};
use tokio::sync::OnceCell;

use crate::support::{Driven, block_on, block_until, current};

/// Everything that a client can do, in whatever executes it.
async fn everything(fixture: &Fixture<'_>, client: &Client, other: &Client) {
    let mutex = mutex(client, "a");
    client.ping().await.expect("a pong");
    let guard = mutex.lock().await.expect("the lock");
    assert!(mutex.is_locked().await.expect("an answer"), "held");
    guard.extend(3 * LEASE).await.expect("extended");
    assert!(guard.valid_for() > 2 * LEASE, "longer than it was");
    let busy = mutex
        .try_lock_for(Duration::from_millis(20))
        .await
        .expect("an answer");
    assert!(busy.is_none(), "busy until its timer ended it");
    let fence = Fence::new(client, format!("{}-stock", fixture.prefix)).expect("a fence");
    assert!(
        fence.admit(guard.fencing_token()).await.expect("an answer"),
        "the newest"
    );
    let ticket = guard.into_ticket().await.expect("a ticket");
    let guard = mutex.resume(&ticket).await.expect("the same hold");
    let hold = guard.hold();
    assert!(mutex.force_unlock().await.expect("an answer"), "it was held");
    assert_eq!(hold.lost().await, Loss::Forced, "told");
    drop(guard);
    let contended = latchwork_tests::mutex(client, "b");
    let theirs = latchwork_tests::mutex(other, "b").lock().await.expect("the lock");
    let (waited, ()) = join(contended.lock(), async {
        while fixture.named("b").waiters() == 0 {
            other.ping().await.expect("a pong");
        }
        theirs.unlock().await.expect("released");
    })
    .await;
    waited.expect("handed over").unlock().await.expect("released");
    assert_eq!(mutex.run(async |_| 7).await.expect("it ran"), 7, "and its result");
}

#[test]
fn a_second_runtime_can_do_everything() {
    for driver in [Driven::current(), Driven::multi(), Driven::with_one_worker()] {
        let fixture = Fixture::shared();
        let (client, other) = (driver.client(&fixture), driver.client(&fixture));
        current().block_on(everything(&fixture, &client, &other));
        Driven::multi()
            .handle
            .block_on(everything(&fixture, &client, &other));
        block_until("no slot is left", || client.live() == 0);
        fixture.check_leftovers();
    }
}

#[test]
fn an_executor_other_than_tokio_can_do_everything() {
    for driver in [Driven::current(), Driven::multi()] {
        let fixture = Fixture::shared();
        let (client, other) = (driver.client(&fixture), driver.client(&fixture));
        block_on(everything(&fixture, &client, &other));
        block_until("no slot is left", || client.live() == 0);
    }
    // No runtime but the client's own.
    let fixture = Fixture::shared();
    let connect = || block_on(fixture.builder().keeper_thread(true).connect()).expect("a client");
    block_on(everything(&fixture, &connect(), &connect()));
}

#[test]
fn connecting_without_a_runtime_says_what_to_do() {
    let fixture = Fixture::shared();
    let error = block_on(fixture.builder().connect()).expect_err("no runtime");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("keeper_thread"), "{error}");
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without a timer");
    let error = bare.block_on(fixture.builder().connect()).expect_err("no timer");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn a_guard_can_be_used_renewed_and_dropped_in_a_second_runtime() {
    for driver in [Driven::current(), Driven::multi()] {
        let fixture = Fixture::shared();
        let client = driver.client(&fixture);
        let mutex = mutex(&client, "a");
        let guard = driver.run(async move { mutex.lock().await }).expect("the lock");
        current().block_on(async {
            tokio::time::sleep(2 * LEASE).await;
            assert!(!guard.is_lost(), "the first runtime renews");
            guard.extend(2 * LEASE).await.expect("extended");
            drop(guard);
        });
        block_until("released", || !fixture.is_held());
    }
}

#[test]
fn when_the_driving_runtime_ends_everything_is_closed() {
    for driver in [Driven::current(), Driven::multi()] {
        let fixture = Fixture::shared();
        let client = driver.client(&fixture);
        let mutex = mutex(&client, "a");
        let guard = block_on(mutex.lock()).expect("the lock");
        let (second, waiting) = (Driven::multi(), mutex.lock());
        let waiting = second.handle.spawn(waiting);
        block_until("it queues", || fixture.waiters() == 1);
        let lost = second.handle.spawn(guard.lost());

        driver.end();
        let start = Instant::now();
        let error = second
            .run(waiting)
            .expect("no panic")
            .expect_err("nobody drives it");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("keeper_thread"), "{error}");
        let fence = Fence::new(&client, format!("{}-x", fixture.prefix)).expect("a fence");
        second.handle.block_on(async {
            let kinds = [
                mutex.lock().await.map(drop),
                mutex.try_lock().await.map(drop),
                mutex.try_lock_for(LEASE).await.map(drop),
                mutex.run(async |_| ()).await,
                mutex.is_locked().await.map(drop),
                mutex.inspect().await.map(drop),
                mutex.force_unlock().await.map(drop),
                client.ping().await.map(drop),
                fence.highest().await.map(drop),
                fence.admit(guard.fencing_token()).await.map(drop),
                fence.set(guard.fencing_token(), "1").await.map(drop),
                fence
                    .eval(guard.fencing_token(), "return 1", &[], &[])
                    .await
                    .map(drop),
            ];
            for (index, result) in kinds.into_iter().enumerate() {
                let error = result.expect_err("nobody drives it");
                assert_eq!(error.kind(), ErrorKind::Closed, "number {index}: {error}");
            }
            assert_eq!(client.close().await.released, 0, "nothing can be sent");
        });
        assert!(start.elapsed() < LEASE, "at once");
        assert_eq!(
            second.run(lost).expect("no panic"),
            Loss::Expired,
            "at its deadline"
        );
        assert!(start.elapsed() < LEASE + Duration::from_secs(1), "not later");
        assert!(guard.is_lost(), "it was not renewed");
        drop(guard);
    }
}

#[test]
fn a_release_that_cannot_be_sent_any_more_says_closed() {
    let driver = Driven::current();
    let fixture = Fixture::shared();
    let client = driver.client(&fixture);
    let lock = |name: &str| block_on(Mutex::new(&client, name).expect("a mutex").lock()).expect("the lock");
    let (one, two, three) = (lock("a"), lock("b"), lock("c"));
    driver.end();
    let start = Instant::now();
    current().block_on(async {
        for error in [
            one.unlock().await.expect_err("nobody sends it"),
            two.extend(LEASE).await.expect_err("nobody sends it"),
            three.into_ticket().await.expect_err("nobody sends it"),
        ] {
            assert!(
                matches!(error.kind(), ErrorKind::Closed | ErrorKind::Lost),
                "{error:?}"
            );
        }
    });
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
}

/// A request is under way when the runtime ends.
#[test]
fn calls_under_way_when_the_driving_runtime_ends_answer() {
    let server = latchwork_testkit::TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let driver = Driven::current();
    let client = driver.client(&fixture);
    let (mutex, second) = (mutex(&client, "a"), Driven::multi());
    server.freeze().expect("it stands still");
    let locking = second.handle.spawn(mutex.lock());
    let trying = second.handle.spawn(mutex.try_lock());
    let inspecting = second.handle.spawn(async move { mutex.is_locked().await });
    thread::sleep(Duration::from_millis(20));
    driver.end();
    let start = Instant::now();
    let kinds = [
        second
            .run(locking)
            .expect("no panic")
            .expect_err("nobody drives it")
            .kind(),
        second
            .run(trying)
            .expect("no panic")
            .expect_err("nobody drives it")
            .kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Closed; 2], "waiters");
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
    let error = second
        .run(inspecting)
        .expect("no panic")
        .expect_err("nobody drives it");
    assert!(
        matches!(error.kind(), ErrorKind::Closed | ErrorKind::Unavailable),
        "{error:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "within the operation timeout"
    );
    server.thaw().expect("it goes on");
}

/// One client for all tests of a process: each test has a runtime of its own, which ends with it.
async fn of_the_process() -> &'static Client {
    static CLIENT: OnceCell<Client> = OnceCell::const_new();
    let connect = || async {
        let connecting = place_of_the_process().builder().keeper_thread(true).connect();
        connecting.await.expect("a client")
    };
    CLIENT.get_or_init(connect).await
}

fn place_of_the_process() -> &'static Fixture<'static> {
    static PLACE: OnceLock<Fixture<'static>> = OnceLock::new();
    PLACE.get_or_init(Fixture::shared)
}

async fn use_the_static_client() {
    let mutex = Mutex::new(of_the_process().await, "shared").expect("a mutex");
    for _ in 0..10 {
        let guard = mutex.lock().await.expect("the lock");
        tokio::time::sleep(Duration::from_millis(2)).await;
        guard.unlock().await.expect("released");
    }
    let guard = mutex.lock().await.expect("the lock");
    tokio::time::sleep(2 * LEASE).await;
    assert!(!guard.is_lost(), "renewed by the thread");
}

#[tokio::test]
async fn a_static_client_in_a_first_test() {
    use_the_static_client().await;
}

#[tokio::test]
async fn a_static_client_in_a_second_test() {
    use_the_static_client().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_client_in_a_third_test() {
    use_the_static_client().await;
}

/// What two `#[tokio::test]`s are, in a fixed order: the runtime of the first has ended.
#[test]
fn a_static_client_without_a_keeper_thread_says_what_to_do() {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let fixture = Fixture::shared();
    current().block_on(async {
        let client = fixture.client().await;
        let mutex = Mutex::new(CLIENT.get_or_init(|| client), "a").expect("a mutex");
        mutex
            .lock()
            .await
            .expect("the lock")
            .unlock()
            .await
            .expect("released");
    });
    current().block_on(async {
        let client = CLIENT.get().expect("a client");
        let mutex = mutex(client, "a");
        let start = Instant::now();
        let error = mutex.lock().await.expect_err("its runtime is gone");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(error.to_string().contains("keeper_thread"), "{error}");
        assert!(start.elapsed() < Duration::from_millis(500), "at once");
    });
}
