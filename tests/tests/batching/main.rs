//! Many attempts share one request, and none of them pays for another's failure.
//!
//! See "Many in one request" in `docs/design.md`.
#![allow(
    clippy::significant_drop_tightening,
    clippy::unwrap_used,
    reason = "guards are the subject; helpers of tests are tests"
)]

mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latchwork_mutex::{Client, ErrorKind, FairMutex, Mutex};
use latchwork_semaphore::Semaphore;
use latchwork_testkit::{ConnKind, TestServer};
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, MINUTE, eventually, go};

const MANY: usize = 200;

fn mutex(client: &Client, name: impl AsRef<[u8]>) -> Mutex {
    Mutex::builder(client, name).lease(MINUTE).build().unwrap()
}

fn mutexes(client: &Client) -> Vec<Mutex> {
    (0..MANY)
        .map(|number| mutex(client, format!("a{number}")))
        .collect()
}

#[tokio::test]
async fn many_at_once_take_fewer_requests_than_attempts() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.counted().await;
    let mut tasks = Vec::new();
    for mutex in mutexes(&client) {
        tasks.push(go(async move {
            let guard = mutex.lock().await.unwrap();
            (mutex, guard)
        }));
    }
    let mut held = Vec::new();
    for task in tasks {
        held.push(task.await.unwrap());
    }
    let sent = proxy.requests_of(ConnKind::Commands);
    assert!(sent < MANY as u64 / 4, "{sent} requests");
    for (mutex, guard) in &held {
        let info = mutex.inspect().await.unwrap();
        assert_eq!(info.holders[0].token, Some(guard.fencing_token()), "the holder");
        assert!(guard.is_valid(), "and knows");
    }
    proxy.reset_counts();
    let ends: Vec<_> = held.into_iter().map(|(_, guard)| go(guard.unlock())).collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    let sent = proxy.requests_of(ConnKind::Commands);
    assert!(sent < MANY as u64 / 4, "{sent} requests");
    for number in 0..MANY {
        assert!(
            fixture.named(format!("a{number}")).members().is_empty(),
            "nothing is left"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_on_one_name_exclude_each_other() {
    let fixture = Fixture::shared();
    let clients = [fixture.client().await, fixture.client().await];
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for turn in 0..MANY {
        let (mutex, inside) = (mutex(&clients[turn % 2], "a"), Arc::clone(&inside));
        tasks.push(go(async move {
            let mut tokens = Vec::new();
            for _ in 0..5 {
                let guard = mutex.lock().await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
                tokens.push(guard.fencing_token());
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.unlock().await.unwrap();
            }
            tokens
        }));
    }
    let mut tokens = Vec::new();
    for task in tasks {
        tokens.extend(task.await.unwrap());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), MANY * 5, "each has a token of its own");
    // A grant may overtake the answer to the request that is granted: its end leaves a tombstone.
    fixture.settled_within(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permits_never_exceed_the_capacity() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let semaphore = Semaphore::builder(&client, "a", 50)
        .lease(MINUTE)
        .build()
        .unwrap();
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..MANY {
        let (semaphore, inside) = (semaphore.clone(), Arc::clone(&inside));
        tasks.push(go(async move {
            for _ in 0..5 {
                let permit = semaphore.acquire().await.unwrap();
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 50, "no more than fifty");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                permit.release().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(semaphore.available_permits().await.unwrap(), 50, "all are back");
}

#[tokio::test]
async fn h14_abandoned_attempts_leave_nothing() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    for polls in 0..20 {
        let tasks: Vec<_> = mutexes(&client)
            .into_iter()
            .map(|mutex| go(async move { mutex.lock().await.map(drop) }))
            .collect();
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
        for task in &tasks {
            task.abort();
        }
        eventually("all is ended", || client.live() == 0).await;
        for number in (0..MANY).step_by(17) {
            fixture
                .named(format!("a{number}"))
                .settled_within(Duration::ZERO)
                .await;
        }
    }
}

#[tokio::test]
async fn h41_a_foreign_key_fails_only_its_own_requests() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    for number in (0..MANY).step_by(10) {
        fixture
            .server
            .admin(&["SET", &fixture.named(format!("a{number}")).key(), "x", "EX", "60"])
            .unwrap();
    }
    let tasks: Vec<_> = mutexes(&client)
        .into_iter()
        .map(|mutex| go(async move { mutex.lock().await }))
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(guard) if number % 10 != 0 => guard.unlock().await.unwrap(),
            Err(error) if number % 10 == 0 => {
                assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
                assert!(error.to_string().contains(&format!("`a{number}`")), "{error}");
            }
            other => panic!("a{number}: {other:?}"),
        }
    }
    assert_eq!(client.live(), 0, "nothing is under way");
}

#[tokio::test]
async fn h40_a_full_memory_refuses_all_and_takes_releases() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture.client().await;
    let mut held = Vec::new();
    for mutex in mutexes(&client) {
        held.push(mutex.lock().await.unwrap());
    }
    server.admin(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let tries: Vec<_> = (0..MANY)
        .map(|number| {
            let mutex = mutex(&client, format!("b{number}"));
            go(async move { mutex.lock().await })
        })
        .collect();
    for one in tries {
        let error = one.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    }
    let ends: Vec<_> = held.into_iter().map(|guard| go(guard.unlock())).collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    assert_eq!(client.live(), 0, "nothing is under way");
}

#[tokio::test]
async fn scripts_that_were_forgotten_are_loaded_once() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture.client().await;
    server.flush_scripts().unwrap();
    let tasks: Vec<_> = mutexes(&client)
        .into_iter()
        .map(|mutex| go(async move { mutex.lock().await.unwrap().unlock().await }))
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(client.script_loads(), 2, "at connect, and once after that");
}

#[tokio::test]
async fn h44_a_silent_server_is_an_error_in_time_for_all() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture
        .client_with(|b| {
            b.operation_timeout(Duration::from_millis(200))
                .unavailable_after(Duration::from_millis(400))
        })
        .await;
    server.freeze().unwrap();
    let tasks: Vec<_> = mutexes(&client)
        .into_iter()
        .map(|mutex| go(async move { mutex.lock().await }))
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    server.thaw().unwrap();
    eventually("all is ended", || client.live() == 0).await;
    for number in 0..MANY {
        fixture
            .named(format!("a{number}"))
            .settled_within(Duration::ZERO)
            .await;
    }
}

#[tokio::test]
async fn a_client_that_is_closed_leaves_nobody_waiting() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let tasks: Vec<_> = mutexes(&client)
        .into_iter()
        .map(|mutex| go(async move { mutex.lock().await }))
        .collect();
    tokio::task::yield_now().await;
    let closed = client.close().await;
    assert_eq!(closed.unsent, 0, "{closed:?}");
    for task in tasks {
        if let Err(error) = task.await.unwrap() {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        }
    }
    for number in 0..MANY {
        fixture
            .named(format!("a{number}"))
            .settled_within(Duration::ZERO)
            .await;
    }
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let build = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    let fixture = Fixture::shared();
    let (first, second) = (build(), build());
    let client = first.block_on(fixture.client());
    let tasks: Vec<_> = mutexes(&client)
        .into_iter()
        .map(|mutex| second.spawn(async move { mutex.lock().await }))
        .collect();
    first.shutdown_background();
    second.block_on(async {
        for task in tasks {
            if let Err(error) = task.await.unwrap() {
                let kinds = [ErrorKind::Closed, ErrorKind::Unavailable];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
        }
    });
}

/// What says something else goes beside the others, not behind them.
#[tokio::test]
async fn requests_of_many_kinds_do_not_wait_for_each_other() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.counted().await;
    let mut tasks = Vec::new();
    for number in 0..MANY {
        let lease = MINUTE + Duration::from_secs(u64::try_from(number % 50).unwrap());
        let mutex = Mutex::builder(&client, format!("a{number}"));
        let mutex = mutex.lease(lease).build().unwrap();
        tasks.push(go(async move { mutex.lock().await.unwrap() }));
    }
    let mut held = Vec::new();
    for task in tasks {
        held.push(task.await.unwrap());
    }
    // By turns, two at a time, they would take longer than a client has for closing.
    proxy.delay(Duration::from_millis(100));
    drop(held);
    let closed = client.close().await;
    assert_eq!((closed.released, closed.unsent), (MANY, 0), "all of them");
}

#[tokio::test]
async fn fair_mutexes_and_semaphores_keep_their_order() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fair = FairMutex::builder(&client, "a").lease(MINUTE).build().unwrap();
    let semaphore = Semaphore::builder(&client, "a", 1).lease(MINUTE).build().unwrap();
    let (held, permit) = (fair.lock().await.unwrap(), semaphore.acquire().await.unwrap());
    let done = Arc::new(std::sync::Mutex::new((Vec::new(), Vec::new())));
    let mut tasks = Vec::new();
    for turn in 0..50 {
        let (fair, semaphore) = (fair.clone(), semaphore.clone());
        let (first, second) = (Arc::clone(&done), Arc::clone(&done));
        tasks.push(go(async move {
            let guard = fair.lock().await.unwrap();
            first.lock().unwrap().0.push(turn);
            guard.unlock().await.unwrap();
        }));
        tasks.push(go(async move {
            let permit = semaphore.acquire().await.unwrap();
            second.lock().unwrap().1.push(turn);
            permit.release().await.unwrap();
        }));
    }
    eventually("all wait", || {
        fixture.waiters() == 50 && fixture.clone().with(SEMAPHORE).waiters() == 50
    })
    .await;
    held.unlock().await.unwrap();
    permit.release().await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    let done = done.lock().unwrap();
    assert!(done.0.is_sorted() && done.1.is_sorted(), "{done:?}");
}
