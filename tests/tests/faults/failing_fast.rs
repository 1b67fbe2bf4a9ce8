//! While a server is known to be down, calls fail at once if the client was told so.

use std::time::{Duration, Instant};

use latchwork_latch::CountdownLatch;
use latchwork_mutex::{Client, ClientBuilder, ErrorKind, Fence, FencingToken};
use latchwork_semaphore::Semaphore;
use latchwork_testkit::TestServer;
use latchwork_tests::{
    Fixture, LONG, MINUTE, eventually, granted, locked, locking, mutex, soon, still_held, unlocked,
};

const AFTER: Duration = Duration::from_millis(300);

/// A server that forgets nothing when it is killed.
fn server() -> TestServer {
    let builder = TestServer::builder().persist(true);
    builder.arg("--appendfsync", "always").start().expect("a server")
}

/// A client whose calls have long to wait, and fail at once when the server was down for `after`.
async fn patient(fixture: &Fixture<'_>, after: Duration) -> Client {
    let builder = fixture.builder().lease(LONG).operation_timeout(LONG);
    let builder = builder.unavailable_after(MINUTE).fail_fast_after(after);
    builder.connect().await.expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_at_once_when_the_server_is_known_to_be_down() {
    let server = server();
    let fixture = Fixture::on(&server);
    let client = patient(&fixture, AFTER).await;
    let kept = locked(&client, "kept").await;
    let mine = locked(&client, "a").await;
    let waiter = locking(&client, "a");
    fixture.queued(1).await;
    let start = Instant::now();
    server.kill().expect("killed");

    // The one that waits, and the first that asks, take as long as it was said.
    let late = soon("a refusal", mutex(&client, "b").lock());
    let (queued, late) = tokio::join!(soon("a refusal", waiter), late);
    let queued = queued.expect("no panic");
    assert!(start.elapsed() >= AFTER, "not before");
    for error in [queued.expect_err("down"), late.expect_err("down")] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.to_string().contains("refused"), "the cause: {error}");
    }
    // Each of these alone has more time than the whole test.
    let semaphore = Semaphore::new(&client, "a", 3).expect("a semaphore");
    let latch = CountdownLatch::new(&client, "a", 3).expect("a latch");
    let fence = Fence::new(&client, "a").expect("a fence");
    let calls = async {
        for _ in 0..50 {
            let errors = [
                mutex(&client, "b").lock().await.err(),
                mutex(&client, "b").try_lock().await.err(),
                mutex(&client, "b").try_lock_for(MINUTE).await.err(),
                mutex(&client, "b").inspect().await.err(),
                semaphore.acquire().await.err(),
                semaphore.resize(4).await.err(),
                latch.wait().await.err(),
                latch.count_down().await.err(),
                fence.admit(FencingToken::new(1)).await.err(),
                fence.eval(FencingToken::new(1), "return 1", &[], &[]).await.err(),
                client.list(0).await.err(),
                client.ping().await.err(),
            ];
            for error in errors {
                let error = error.expect("down");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
        }
    };
    soon("refusals", calls).await;

    server.restart().expect("again");
    let guard = async {
        loop {
            if let Ok(guard) = mutex(&client, "b").lock().await {
                return guard;
            }
        }
    };
    unlocked(soon("a lock", guard).await).await;
    still_held(&kept, LONG).await; // renewals have gone on trying
    unlocked(mine).await;
    unlocked(kept).await;
    eventually("nothing is left to undo", || client.live() == 0).await;
    for name in ["a", "b", "kept"] {
        fixture.named(name).settled_within(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_interruption_fails_nothing() {
    let server = server();
    let fixture = Fixture::on(&server);
    let client = patient(&fixture, MINUTE).await;
    let first = locked(&client, "a").await;
    let waiter = locking(&client, "a");
    fixture.queued(1).await;
    server.kill().expect("killed");
    let late = locking(&client, "b");
    server.restart().expect("again");
    unlocked(granted(late).await).await;
    unlocked(first).await;
    unlocked(granted(waiter).await).await;
}

/// Only the commands are cut off: the waiter's place would stay for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_is_told_when_calls_begin_to_fail() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let options = |builder: ClientBuilder| {
        let builder = builder.lease(MINUTE).unavailable_after(MINUTE);
        builder.fail_fast_after(AFTER).heartbeat(AFTER / 3)
    };
    let (proxy, client) = fixture.proxied_with(options).await;
    let other = fixture.steady().await;
    let held = locked(&other, "a").await;
    let waiter = locking(&client, "a");
    fixture.queued(1).await;
    proxy.refuse(true);
    server.kill_normal_clients().expect("killed");
    let error = soon("a refusal", waiter)
        .await
        .expect("no panic")
        .expect_err("cut off");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(client.is_listening(), "the inbox was left alone");
    proxy.refuse(false);
    unlocked(held).await;
    eventually("its place is given up", || client.live() == 0).await;
}

/// The connections end, and the server is there: the time counts from then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_cut_is_no_outage_that_has_lasted() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let builder = fixture.builder().lease(LONG).fail_fast_after(MINUTE);
    for round in 0..10 {
        let client = builder.clone().connect().await.expect("a client");
        server
            .admin(&["CLIENT", "KILL", "TYPE", "normal"])
            .expect("killed");
        for _ in 0..3 {
            let guard = soon("the lock", mutex(&client, "a").lock()).await;
            let guard = guard.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            unlocked(guard).await;
        }
    }
}
