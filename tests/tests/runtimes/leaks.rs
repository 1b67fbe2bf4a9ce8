//! After everything is dropped, no task, connection or thread is left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use latchwork_mutex::Client;
use latchwork_testkit::{TestServer, drop_after_polls};
use latchwork_tests::{Fixture, eventually, granted, locking, mutex};

use crate::support::{block_until, current, multi};

/// The server's connections, without the testkit's own.
fn connections(server: &TestServer) -> usize {
    let list = server
        .admin(&["CLIENT", "LIST"])
        .expect("a list")
        .text()
        .expect("text");
    list.lines().count() - 1
}

/// Keepers' threads; only Linux lists a process's threads as files, elsewhere none are seen.
fn threads() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("latchwork-keep"))
        .count()
}

async fn a_busy_life(fixture: &Fixture<'_>, client: Client, other: Client) {
    let mutex = mutex(&client, "a");
    let guard = mutex.lock().await.expect("the lock");
    let waiting = locking(&other, "a");
    fixture.queued(1).await;
    let cancelled = drop_after_polls(mutex.lock(), 1).await;
    assert!(cancelled.is_dropped(), "busy");
    let token = guard.hold().cancellation_token();
    drop(guard);
    drop(granted(waiting).await);
    token.cancelled().await;
    drop(mutex.lock().await.expect("the lock"));
}

#[test]
fn no_task_and_no_connection_is_left() {
    for runtime in [current(), multi(2)] {
        let server = TestServer::start().expect("a server");
        let fixture = Fixture::on(&server);
        runtime.block_on(async {
            let tasks = tokio::runtime::Handle::current().metrics();
            assert_eq!(
                (tasks.num_alive_tasks(), connections(&server)),
                (0, 0),
                "at first"
            );
            for _ in 0..3 {
                let (client, other) = (fixture.client().await, fixture.client().await);
                assert_eq!(connections(&server), 4, "two for each");
                a_busy_life(&fixture, client, other).await;
                eventually("the tasks end", || tasks.num_alive_tasks() == 0).await;
                eventually("the connections are closed", || connections(&server) == 0).await;
            }
            fixture.settled_within(Duration::ZERO).await;
        });
        fixture.check_leftovers();
    }
}

#[test]
fn close_leaves_no_task_even_while_handles_live() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    current().block_on(async {
        let tasks = tokio::runtime::Handle::current().metrics();
        let client = fixture.client().await;
        let mutex = mutex(&client, "a");
        let guard = mutex.lock().await.expect("the lock");
        assert_eq!(client.close().await.unsent, 0, "all was sent");
        drop((mutex, guard, client));
        eventually("the tasks end", || tasks.num_alive_tasks() == 0).await;
        eventually("the connections are closed", || connections(&server) == 0).await;
    });
}

#[test]
fn a_connect_that_failed_or_was_dropped_leaves_nothing() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    current().block_on(async {
        let tasks = tokio::runtime::Handle::current().metrics();
        for polls in 0.. {
            let done = drop_after_polls(fixture.builder().connect(), polls).await;
            let done = done.completed().map(|client| client.expect("a client")).is_some();
            eventually("the tasks end", || tasks.num_alive_tasks() == 0).await;
            eventually("the connections are closed", || connections(&server) == 0).await;
            if done {
                break;
            }
        }
        let nobody = fixture.builder_at("redis://127.0.0.1:1").connect().await;
        drop(nobody.expect_err("nobody listens there"));
        eventually("the tasks end", || tasks.num_alive_tasks() == 0).await;
    });
}

/// Apart from other tests that have keeper threads, the count falls back to what it was.
#[test]
fn a_keeper_thread_ends_with_its_client() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let runtime = current();
    let client = runtime
        .block_on(fixture.builder().keeper_thread(true).connect())
        .expect("a client");
    let guard = runtime.block_on(mutex(&client, "a").lock()).expect("the lock");
    drop(client);
    assert!(threads() > 0, "it lives with the guard");
    drop(guard);
    block_until("its connections are closed", || connections(&server) == 0);
    runtime.block_on(fixture.settled_within(Duration::ZERO));
}

/// The ids of the threads that wake keepers.
fn alarms() -> BTreeSet<OsString> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return BTreeSet::new();
    };
    tasks
        .filter_map(Result::ok)
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.starts_with("latchwork-alarm"))
        })
        .map(|task| task.file_name())
        .collect()
}

/// Those of other tests end, too.
#[test]
fn an_alarm_ends_with_its_client_or_its_runtime() {
    let fixture = Fixture::shared();
    for runtime_first in [false, true] {
        let before = alarms();
        let runtime = multi(2);
        let client = runtime.block_on(fixture.client());
        let mut new = BTreeSet::new();
        // It gives itself its name when it first runs, which may be after the client was handed out.
        block_until("it has one", || {
            new = alarms().difference(&before).cloned().collect();
            !new.is_empty() || cfg!(not(target_os = "linux"))
        });
        if runtime_first {
            runtime.shutdown_background();
            block_until("it has ended", || alarms().is_disjoint(&new));
            drop(client);
        } else {
            drop(client);
            block_until("it has ended", || alarms().is_disjoint(&new));
        }
    }
}
