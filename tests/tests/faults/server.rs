//! A server that is killed, frozen or loses its scripts is survived, or the loss reported.

use std::time::{Duration, Instant};

use latchwork_mutex::{ErrorKind, Loss};
use latchwork_testkit::TestServer;
use latchwork_tests::{
    Fixture, LEASE, LONG, go, granted, locked, locking, mutex, soon, still_held, unlocked,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h52_a_restart_that_forgets_is_a_loss_for_the_holder() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.steady().await;
    let guard = locked(&client, "a").await;
    let start = Instant::now();
    server.restart().expect("again");
    let loss = soon("a loss", guard.lost()).await;
    if start.elapsed() < LONG / 2 {
        assert_eq!(
            loss,
            Loss::Vanished,
            "the server's word comes before the deadline"
        );
    }
    assert!(guard.is_lost(), "and it stays so");
    let error = soon("an unlock", guard.unlock()).await.expect_err("lost");
    assert_eq!(error.loss(), Some(loss), "{error}");
    // The client is as good as new.
    soon("an unlock", locked(&client, "a").await.unlock())
        .await
        .expect("released");
    fixture.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_for_less_than_the_lease_costs_nothing() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    // Less than the lease, and enough for a busy machine to answer in.
    let client = fixture
        .client_with(|b| b.lease(LONG).operation_timeout(LEASE * 2))
        .await;
    let guard = locked(&client, "a").await;
    server.freeze().expect("frozen");
    let error = guard.extend(LONG).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.thaw().expect("thawed");
    still_held(&guard, LONG).await;
    unlocked(guard).await;
    fixture.settled_within(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h37_scripts_are_loaded_once_for_all_who_miss_them() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    // No time-outs: a connection that is made anew loads the scripts, too.
    let client = fixture
        .client_with(|b| b.lease(LONG * 3).operation_timeout(LONG))
        .await;
    assert_eq!(client.script_loads(), 1, "at connect");
    for round in 1..=10 {
        server.flush_scripts().expect("flushed");
        let tasks: Vec<_> = (0..64).map(|n| locking(&client, format!("a{n}"))).collect();
        let mut guards = Vec::new();
        for task in tasks {
            guards.push(granted(task).await);
        }
        assert_eq!(client.script_loads(), 1 + round, "single flight");
        for guard in guards {
            unlocked(guard).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h37_a_storm_of_script_flushes_fails_nothing() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let minute = Duration::from_secs(60); // how fast a busy machine gets through it is not the point
    let client = fixture
        .client_with(|b| b.lease(minute).operation_timeout(minute))
        .await;
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let mutex = mutex(&client, format!("a{}", n % 8));
            go(async move {
                for _ in 0..20 {
                    let guard = mutex.lock().await.expect("the lock");
                    guard.unlock().await.expect("released");
                }
            })
        })
        .collect();
    let mut flushes = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        server.flush_scripts().expect("flushed");
        flushes += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for task in tasks {
        soon("a task", task).await.expect("no panic");
    }
    let loads = client.script_loads();
    assert!(loads > 1, "they were missed");
    assert!(loads <= 1 + flushes, "{loads} loads for {flushes} flushes");
    fixture.check_leftovers();
}
