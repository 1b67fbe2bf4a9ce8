//! The server is killed, frozen, or forgets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use latchwork_mutex::{ErrorKind, Loss};
use latchwork_testkit::TestServer;
use latchwork_tests::{LEASE, Place, eventually, go};

use super::common::{LONG, granted, held, mutex, queued, soon, still_held, waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h52_a_restart_that_forgets_is_a_loss_for_the_holder() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let client = place.builder().lease(LONG).connect().await.expect("a client");
    let guard = held(&client, "a").await;
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
    soon("an unlock", held(&client, "a").await.unlock())
        .await
        .expect("released");
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h52_a_restart_that_forgets_gives_the_waiter_the_lock() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let (one, two) = (place.client().await, place.client().await);
    let first = held(&one, "a").await;
    let waiter = waiting(&two, "a");
    queued(&place, "a", 1).await;
    server.kill().expect("killed");
    assert!(!waiter.is_finished(), "it waits on");
    server.restart().expect("again");
    let second = granted(waiter).await;
    assert!(second.fencing_token() > first.fencing_token(), "tokens rise");
    let loss = soon("a loss", first.lost()).await;
    assert!(
        matches!(loss, Loss::Vanished | Loss::Expired | Loss::Taken),
        "{loss}"
    );
    let error = soon("an unlock", first.unlock()).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    still_held(&second, LEASE).await;
    soon("an unlock", second.unlock()).await.expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h53_a_restart_that_remembers_costs_nobody_anything() {
    let server = TestServer::builder().persist(true).start().expect("a server");
    let place = Place::on(&server);
    let connect = || place.builder().lease(LONG).connect();
    let (one, two, three) = (connect().await, connect().await, connect().await);
    let (one, two, three) = (one.expect("one"), two.expect("two"), three.expect("three"));
    let first = held(&one, "a").await;
    let waiter = waiting(&two, "a");
    queued(&place, "a", 1).await;
    server.restart().expect("again");
    still_held(&first, LONG).await;
    let other = soon("an answer", mutex(&three, "a").try_lock()).await;
    assert!(other.expect("an answer").is_none(), "busy");
    assert!(!waiter.is_finished(), "it waits on");
    let token = first.fencing_token();
    soon("an unlock", first.unlock()).await.expect("released");
    let second = granted(waiter).await;
    assert!(second.fencing_token() > token, "tokens rise");
    soon("an unlock", second.unlock()).await.expect("released");
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_for_less_than_the_lease_costs_nothing() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let builder = place.builder().lease(LONG);
    let client = builder
        .operation_timeout(Duration::from_millis(100))
        .connect()
        .await;
    let client = client.expect("a client");
    let guard = held(&client, "a").await;
    server.freeze().expect("frozen");
    let error = guard.extend(LONG).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.thaw().expect("thawed");
    still_held(&guard, LONG).await;
    soon("an unlock", guard.unlock()).await.expect("released");
    place.settled("a", Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h47_a_frozen_server_never_makes_two_valid_guards() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let (one, two) = (place.client().await, place.client().await);
    let mut lost = 0;
    for percent in [40, 60, 80, 90, 95, 100, 105, 110, 150, 250] {
        let name = format!("a{percent}");
        let first = held(&one, &name).await;
        let hold = first.hold();
        let lock = mutex(&two, &name).lock();
        let granted = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&granted);
        let second = go(async move {
            let second = lock.await.expect("the lock");
            // In this order: validity ends for good, so both were valid at once if both are here.
            let both = !hold.valid_for().is_zero() && !second.valid_for().is_zero();
            said.store(true, Ordering::SeqCst);
            assert!(!both, "two valid guards at {percent} %");
            second
        });
        queued(&place, &name, 1).await;
        server.freeze().expect("frozen");
        tokio::time::sleep(LEASE * percent / 100).await;
        server.thaw().expect("thawed");
        // Either the first one's time is over, or it goes on and releases.
        let over = Instant::now() + LEASE;
        while Instant::now() < over && !granted.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let token = first.fencing_token();
        match soon("an unlock", first.unlock()).await {
            Ok(()) => assert!(percent < 200, "the lease was over"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
                lost += 1;
            }
        }
        let second = soon("a grant", second).await.expect("one valid guard");
        assert!(second.fencing_token() > token, "tokens rise");
        drop(second);
    }
    assert!(lost > 0, "it was frozen for longer than the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h38_a_flush_is_a_loss_and_tokens_go_on_rising() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let (one, two, three) = (place.client().await, place.client().await, place.client().await);
    let mut last = 0;
    for _ in 0..5 {
        let first = held(&one, "a").await;
        assert!(first.fencing_token().get() > last, "tokens rise");
        let waiters = [waiting(&two, "a"), waiting(&three, "a")];
        queued(&place, "a", 2).await;
        server.admin(&["FLUSHALL"]).expect("flushed");
        let loss = soon("a loss", first.lost()).await;
        assert!(
            matches!(loss, Loss::Vanished | Loss::Expired | Loss::Taken),
            "{loss}"
        );
        // The two may come in any order: their places were forgotten, too.
        let (sender, mut tokens) = tokio::sync::mpsc::unbounded_channel();
        for waiter in waiters {
            let sender = sender.clone();
            drop(go(async move {
                let guard = granted(waiter).await;
                still_held(&guard, LEASE).await;
                sender.send(guard.fencing_token()).expect("the test waits");
                guard.unlock().await.expect("released");
            }));
        }
        let error = soon("an unlock", first.unlock()).await.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
        last = 0;
        for _ in 0..2 {
            let token = soon("a token", tokens.recv()).await.expect("a token").get();
            assert!(token > last, "each above the one before");
            last = token;
        }
        eventually("all is released", || two.live() + three.live() == 0).await;
    }
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h37_scripts_are_loaded_once_for_all_who_miss_them() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    // No time-outs: a connection that is made anew loads the scripts, too.
    let builder = place.builder().lease(LONG * 3).operation_timeout(LONG);
    let client = builder.connect().await.expect("a client");
    assert_eq!(client.script_loads(), 1, "at connect");
    for round in 1..=10 {
        server.flush_scripts().expect("flushed");
        let tasks: Vec<_> = (0..64).map(|n| waiting(&client, &format!("a{n}"))).collect();
        let mut guards = Vec::new();
        for task in tasks {
            guards.push(granted(task).await);
        }
        assert_eq!(client.script_loads(), 1 + round, "single flight");
        for guard in guards {
            soon("an unlock", guard.unlock()).await.expect("released");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h37_a_storm_of_script_flushes_fails_nothing() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let builder = place.builder().lease(LONG * 3).operation_timeout(LONG);
    let client = builder.connect().await.expect("a client");
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let mutex = mutex(&client, &format!("a{}", n % 8));
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
    place.check_leftovers();
}
