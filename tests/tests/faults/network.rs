//! Connections that are cut, half-open or refused are replaced, and no others.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use latchwork_mutex::ErrorKind;
use latchwork_testkit::{Action, ConnId, Direction, Proxy, TestServer};
use latchwork_tests::{
    Fixture, LEASE, LONG, eventually, go, granted, locked, locking, mutex, soon, still_held, unlocked,
};

use super::common::connections;

const BEAT: Duration = Duration::from_millis(50);

/// Cuts these connections of a client that holds one lock and waits for another, at their next byte in `direction`.
async fn survives_a_cut(direction: Direction, commands_too: bool, inbox_too: bool) {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let fixture = Fixture::on(&server);
    let steady = fixture.steady().await;
    let builder = fixture.builder_at(proxy.url()).lease(LONG).heartbeat(BEAT);
    let shaky = builder.connect().await.expect("a client");
    let kept = locked(&shaky, "kept").await;
    let other = locked(&steady, "awaited").await;
    let waiter = locking(&shaky, "awaited");
    fixture.named("awaited").queued(1).await;

    let (commands, inbox) = connections(&proxy);
    let victims: BTreeSet<ConnId> = [(commands, commands_too), (inbox, inbox_too)]
        .into_iter()
        .filter_map(|(id, too)| too.then_some(id))
        .collect();
    let count = u64::try_from(victims.len()).expect("one or two");
    let left = Arc::new(Mutex::new(victims));
    let hooked = Arc::clone(&left);
    proxy.on_chunk(move |way, id, _| {
        let cut = way == direction && hooked.lock().expect("no panic").remove(&id);
        if cut { Action::Cut } else { Action::Pass }
    });
    eventually("they are cut", || left.lock().expect("no panic").is_empty()).await;
    unlocked(other).await;
    let won = granted(waiter).await;
    still_held(&kept, LONG).await;
    eventually("each is made anew", || proxy.accepted() >= 2 + count).await;
    assert_eq!(proxy.accepted(), 2 + count, "once");
    unlocked(won).await;
    unlocked(kept).await;
    fixture
        .named("awaited")
        .settled_within(Duration::from_secs(1))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_the_command_connection_is_cut_before_a_request() {
    survives_a_cut(Direction::ToServer, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h26_the_command_connection_is_cut_before_a_reply() {
    survives_a_cut(Direction::ToClient, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_the_inbox_is_cut_on_its_way_to_the_server() {
    survives_a_cut(Direction::ToServer, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_the_inbox_is_cut_on_its_way_to_the_client() {
    survives_a_cut(Direction::ToClient, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_connections_are_cut_on_their_way_to_the_server() {
    survives_a_cut(Direction::ToServer, true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_connections_are_cut_on_their_way_to_the_client() {
    survives_a_cut(Direction::ToClient, true, true).await;
}

/// Lets nothing of this connection through any more, in either direction, while it stays open. Returns whether it did.
fn half_open(proxy: &Proxy, victim: ConnId) -> Arc<AtomicBool> {
    let held = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&held);
    proxy.on_chunk(move |_, id, _| {
        if id == victim {
            said.store(true, Ordering::SeqCst);
            return Action::Hold;
        }
        Action::Pass
    });
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_a_half_open_inbox_is_replaced() {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let fixture = Fixture::on(&server);
    let steady = fixture.steady().await;
    let builder = fixture.builder_at(proxy.url()).lease(LONG).heartbeat(BEAT);
    let shaky = builder
        .operation_timeout(BEAT * 4)
        .connect()
        .await
        .expect("a client");
    let other = locked(&steady, "a").await;
    let waiter = locking(&shaky, "a");
    fixture.queued(1).await;
    let (commands, inbox) = connections(&proxy);
    let silent = half_open(&proxy, inbox);
    eventually("it is silent", || silent.load(Ordering::SeqCst)).await;
    unlocked(other).await;
    granted(waiter).await.unlock().await.expect("released");
    eventually("another inbox", || connections(&proxy).1 != inbox).await;
    eventually("it listens again", || shaky.is_listening()).await;
    assert_eq!(
        connections(&proxy).0,
        commands,
        "the other connection is the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_a_half_open_command_connection_is_replaced() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (proxy, shaky) = fixture
        .proxied_with(|b| b.lease(LONG).heartbeat(BEAT).operation_timeout(BEAT * 4))
        .await;
    let (commands, inbox) = connections(&proxy);
    let silent = half_open(&proxy, commands);
    // Nobody asks for anything: it is the heartbeat that notices.
    eventually("it is silent", || silent.load(Ordering::SeqCst)).await;
    eventually("another connection", || connections(&proxy).0 != commands).await;
    let kept = locked(&shaky, "a").await;
    assert_eq!(connections(&proxy).1, inbox, "the other connection is the same");
    unlocked(kept).await;
    fixture.settled_within(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h27_command_connections_are_killed_under_load() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let inside = Arc::new(Mutex::new(0_u64));
    let mut clients = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let client = fixture.steady().await;
        for _ in 0..4 {
            let (mutex, inside) = (mutex(&client, "a"), Arc::clone(&inside));
            tasks.push(go(async move {
                for _ in 0..15 {
                    let guard = soon("a lock", mutex.lock()).await.expect("the lock");
                    {
                        let mut last = inside.try_lock().expect("alone");
                        assert!(guard.fencing_token().get() > *last, "tokens rise");
                        *last = guard.fencing_token().get();
                    }
                    unlocked(guard).await;
                }
            }));
        }
        clients.push(client);
    }
    let mut kills = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        kills += server.kill_normal_clients().expect("killed");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for task in tasks {
        soon("a task", task).await.expect("no panic");
    }
    assert!(kills > 0, "connections were killed");
    fixture.settled_within(Duration::from_secs(5)).await;
    fixture.check_leftovers();
    let kept = locked(&clients[0], "b").await;
    for client in &clients {
        let connected = locked(client, "c").await;
        unlocked(connected).await;
    }
    assert!(server.kill_normal_clients().expect("killed") >= 3, "all of them");
    still_held(&kept, LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_client_outlives_any_number_of_refused_connections() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let builder = fixture.builder().heartbeat(BEAT);
    let backoff = (Duration::from_millis(1), Duration::from_millis(20));
    let client = builder.reconnect_backoff(backoff.0, backoff.1).connect().await;
    let client = client.expect("a client");
    server.kill().expect("killed");
    {
        let listener = TcpListener::bind(("127.0.0.1", server.port())).expect("its port");
        let refused = std::thread::spawn(move || {
            for _ in 0..30 {
                drop(listener.accept().expect("a connection"));
            }
        });
        eventually("30 were refused", || refused.is_finished()).await;
    }
    assert!(!client.is_listening(), "no inbox");
    server.restart().expect("again");
    // It comes back by itself: nobody asks it for anything.
    eventually("it listens", || client.is_listening()).await;
    soon("an unlock", locked(&client, "a").await.unlock())
        .await
        .expect("released");
}

#[tokio::test]
async fn short_waits_do_not_replace_the_connection() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.proxied().await;
    let mutex = mutex(&client, "a");
    let before = proxy.accepted();
    proxy.delay(Duration::from_millis(20));
    for _ in 0..10 {
        let error = mutex
            .try_lock_for(Duration::from_millis(5))
            .await
            .expect_err("no answer in that time");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    proxy.delay(Duration::ZERO);
    mutex
        .lock()
        .await
        .expect("the lock")
        .unlock()
        .await
        .expect("released");
    assert_eq!(proxy.accepted(), before, "the same connection");
    eventually("all is undone", || client.live() == 0).await;
    fixture.settled_within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn requests_that_are_dropped_do_not_replace_the_connection() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture.proxied_with(|b| b.operation_timeout(LEASE)).await;
    let mutex = mutex(&client, "a");
    let before = proxy.accepted();
    proxy.delay(Duration::from_millis(10));
    for _ in 0..5 {
        let dropped = tokio::time::timeout(Duration::from_millis(2), client.ping()).await;
        assert!(dropped.is_err(), "dropped before its reply");
        // Longer than the operation timeout: the next one looks as if nothing had come since.
        tokio::time::sleep(LEASE * 7 / 6).await;
        let error = mutex
            .try_lock_for(Duration::from_millis(4))
            .await
            .expect_err("too short");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(client.ping().await.is_ok(), "it answers");
    assert_eq!(proxy.accepted(), before, "the same connection");
}

/// Accepts connections, notes when a request comes over one of them, and ends it, until the test ends.
fn tries_at(listener: TcpListener) -> Arc<Mutex<Vec<Instant>>> {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::downgrade(&tries);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(noted) = noted.upgrade() else { return };
            let mut stream = stream.expect("a connection");
            let mut first = [0];
            // Other connections only find out whether the server speaks TLS.
            if stream.read(&mut first).is_ok_and(|length| length == 1) && first == *b"*" {
                // Noted before it ends: the client's pause cannot begin before that.
                noted.lock().expect("no panic").push(Instant::now());
            }
        }
    });
    tries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pauses_between_tries_to_connect_double_up_to_the_longest() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let (first, longest) = (Duration::from_millis(20), Duration::from_millis(320));
    let (proxy, client) = fixture
        .proxied_with(|builder| builder.reconnect_backoff(first, longest))
        .await;
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    proxy.lead_to(nobody.local_addr().expect("an address").port());
    let tries = tries_at(nobody);
    proxy.cut();
    let count = || tries.lock().expect("no panic").len();
    // Doubled without a bound, the fifteenth pause of each connection would take minutes.
    eventually("tries go on", || count() >= 30).await;
    let seen = tries.lock().expect("no panic").clone();
    // Each pause takes half of its time at least. One of the two connections, for commands and of the inbox, has made as
    // many by then.
    let mut pause = first;
    let mut least = Duration::ZERO;
    for pauses in 1..=12 {
        least += pause / 2;
        pause = (pause * 2).min(longest);
        let took = seen[2 * pauses].duration_since(seen[0]);
        assert!(took >= least, "{pauses} pauses in {took:?}, at least {least:?}");
    }
    proxy.lead_to(server.port());
    unlocked(
        soon("a lock", mutex(&client, "a").lock())
            .await
            .expect("the lock"),
    )
    .await;
}
