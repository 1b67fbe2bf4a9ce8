//! Every error names its cause once, and its kind says what is wrong with the connection.

use std::error::Error as _;
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::time::Duration;

use latchwork_latch::CountdownLatch;
use latchwork_limiter::{Rate, RateLimiter};
use latchwork_mutex::{Client, Error, ErrorKind, Fence, FencingToken};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_testkit::{TestServer, shared_server};
use latchwork_tests::{Fixture, LEASE, LONG, Log, eventually, locked, mutex, soon};

use super::expect;

const SHORT: Duration = Duration::from_millis(100);

/// Neither `{}` nor `{:?}` nor the chain of sources, as `anyhow` prints it, says anything twice.
fn says_each_cause_once(error: &Error) {
    let mut whole = error.to_string();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        assert!(!whole.contains(&cause), "again, `{cause}`: {whole}");
        whole = format!("{whole}: {cause}");
    }
    assert_eq!(
        format!("{error:?}"),
        whole,
        "the same text, however it is printed"
    );
    // What the system and the server say is there once, whoever has copied it into a text.
    for word in [
        "os error",
        "NoPerm",
        "NOPERM",
        "WRONGTYPE",
        "READONLY",
        "refused (",
        "WRONGPASS",
    ] {
        assert!(whole.matches(word).count() <= 1, "`{word}` twice: {whole}");
    }
    for piece in whole.split(": ").filter(|piece| piece.len() > 12) {
        assert_eq!(whole.matches(piece).count(), 1, "`{piece}` twice: {whole}");
    }
}

async fn refused(url: &str) -> Error {
    let builder = Client::builder().url(url).operation_timeout(SHORT);
    soon("a refusal", builder.connect()).await.expect_err("refused")
}

#[tokio::test]
async fn errors_of_connecting_have_each_cause_once() {
    let server = TestServer::builder().arg("--requirepass", "right").start();
    let server = server.expect("a server");
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let silent = silent.local_addr().expect("an address");
    let closed = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let closed_at = closed.local_addr().expect("an address");
    drop(closed);
    for url in [
        "nonsense".to_owned(),
        "redis://localhost:port".to_owned(),
        format!("redis://{closed_at}"),
        format!("redis://{silent}"),
        "unix:///nowhere/at/all".to_owned(),
        "redis://nowhere.invalid".to_owned(),
        format!("redis://127.0.0.1:{}", server.port()),
        format!("redis://:wrong@127.0.0.1:{}", server.port()),
        format!("{}/99", shared_server().url()),
    ] {
        let error = refused(&url).await;
        says_each_cause_once(&error);
    }
    let error = refused(&format!("redis://{closed_at}")).await;
    assert!(
        error.to_string().contains("refused"),
        "in the first line: {error}"
    );
}

#[tokio::test]
async fn a_host_that_is_not_known_is_named() {
    let error = refused("redis://nowhere.invalid:7000").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    for word in ["resolve", "`nowhere.invalid`", "DNS"] {
        assert!(error.to_string().contains(word), "{word} is not in: {error}");
    }
}

/// A client whose calls do not wait for long.
async fn hasty(fixture: &Fixture<'_>, url: &str) -> Client {
    let builder = fixture.builder_at(url).unavailable_after(SHORT * 10);
    let builder = builder
        .operation_timeout(SHORT * 5)
        .reconnect_backoff(SHORT / 50, SHORT / 5);
    builder.connect().await.expect("a client")
}

#[tokio::test]
async fn errors_of_calls_have_each_cause_once() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = hasty(&fixture, &server.url()).await;
    let set = |value: &str| {
        server.admin(&["SET", &fixture.key(), value]).expect("set");
    };
    set("foreign");
    let lock = || async { soon("a refusal", mutex(&client, "a").lock()).await };
    let mut errors = vec![lock().await.expect_err("foreign")];
    assert_eq!(errors[0].kind(), ErrorKind::WrongType, "{errors:?}");
    server.admin(&["DEL", &fixture.key()]).expect("gone");

    let url = fixture.restricted(&["-zadd"]);
    let worker = hasty(&fixture, &url).await;
    let denied = mutex(&worker, "b").try_lock().await.expect_err("denied");
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied:?}");
    errors.push(denied);

    let fence = Fence::new(&client, "stock").expect("a fence");
    let token = FencingToken::new(1);
    let script = fence.eval(
        token,
        "return redis.call('NOTHING')",
        &[] as &[&[u8]],
        &[] as &[&[u8]],
    );
    errors.push(script.await.expect_err("no such command"));

    let guard = locked(&client, "kept").await;
    server
        .admin(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .expect("set");
    errors.push(lock().await.expect_err("too few replicas"));
    server
        .admin(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .expect("set");
    server.admin(&["REPLICAOF", "127.0.0.1", "1"]).expect("a replica");
    errors.push(lock().await.expect_err("a replica"));
    errors.push(guard.extend(LONG).await.expect_err("refused"));

    server.kill().expect("killed");
    errors.push(lock().await.expect_err("no server"));
    errors.push(mutex(&client, "a").inspect().await.expect_err("no server"));
    errors.push(soon("an answer", guard.unlock()).await.expect_err("no server"));
    errors.push(soon("an answer", client.ping()).await.expect_err("no server"));
    for error in &errors {
        says_each_cause_once(error);
    }
}

/// Every call that can meet a demoted server, by its name.
async fn calls(client: &Client) -> Vec<(&'static str, Option<Error>)> {
    fn refusal<T>(result: Result<T, Error>) -> Option<Error> {
        result.err()
    }
    let wait = SHORT * 3;
    let lock = mutex(client, "a");
    let semaphore = Semaphore::new(client, "a", 3).expect("a semaphore");
    let shared = RwLock::new(client, "a").expect("a lock");
    let latch = CountdownLatch::new(client, "a", 3).expect("a latch");
    let rate = Rate::per_second(NonZeroU32::new(10).expect("not zero"));
    let limiter = RateLimiter::new(client, "a", rate).expect("a limiter");
    let fence = Fence::new(client, "a").expect("a fence");
    let token = FencingToken::new(1);
    vec![
        ("try_lock", refusal(lock.try_lock().await)),
        ("try_lock_for", refusal(lock.try_lock_for(wait).await)),
        ("lock", refusal(lock.lock().await)),
        ("try_acquire", refusal(semaphore.try_acquire().await)),
        (
            "try_acquire_many_for",
            refusal(semaphore.try_acquire_many_for(2, wait).await),
        ),
        ("resize", refusal(semaphore.resize(5).await)),
        ("try_read", refusal(shared.try_read().await)),
        ("try_write_for", refusal(shared.try_write_for(wait).await)),
        ("count_down", refusal(latch.count_down().await)),
        ("latch.wait", refusal(latch.wait().await)),
        ("limiter.acquire", refusal(limiter.acquire().await)),
        ("limiter.try_acquire", refusal(limiter.try_acquire().await)),
        ("set_rate", refusal(limiter.set_rate(rate).await)),
        ("admit", refusal(fence.admit(token).await)),
        ("fence.set", refusal(fence.set(token, "x").await)),
    ]
}

/// Every call to a server that was demoted says so, with these pauses between tries to connect again.
async fn all_say_read_only(pause: Duration) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let time = SHORT * 4;
    let builder = fixture.builder().unavailable_after(time).operation_timeout(time);
    let client = builder.reconnect_backoff(pause, pause).connect().await;
    let client = client.expect("a client");
    let (kept, other) = (locked(&client, "kept").await, locked(&client, "other").await);
    server
        .admin(&["REPLICAOF", "127.0.0.1", "1"])
        .expect("a replica of nobody");
    let first = mutex(&client, "a").try_lock_for(SHORT * 10).await;
    expect(first, ErrorKind::ReadOnly, &["`a`", "replica"]);
    for (call, error) in soon("refusals", calls(&client)).await {
        let error = error.unwrap_or_else(|| panic!("{call} worked"));
        says_each_cause_once(&error);
        // What is sent once may be cut short by the deadline, and then nobody knows whether it has run.
        let cannot_repeat = call.starts_with("limiter.") || call == "fence.set";
        let cut = cannot_repeat && error.to_string().contains("did not answer in time");
        assert!(cut || error.kind() == ErrorKind::ReadOnly, "{call}: {error:?}");
    }
    let extended = kept.extend(LONG).await.expect_err("refused");
    let released = soon("an answer", other.unlock()).await.expect_err("unknown");
    for error in [extended, released] {
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::ReadOnly | ErrorKind::Lost), "{error:?}");
    }
}

#[tokio::test]
async fn h42_calls_that_are_refused_by_a_demoted_server_say_read_only() {
    all_say_read_only(SHORT / 20).await;
}

#[tokio::test]
async fn h42_calls_that_find_no_connection_to_a_demoted_server_say_read_only() {
    all_say_read_only(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_changed_password_is_denied_and_logged_once() {
    let (log, _logging) = Log::start();
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = hasty(&fixture, &server.url()).await;
    locked(&client, "a").await.unlock().await.expect("released");
    let password = |text: &str| {
        server
            .admin(&["CONFIG", "SET", "requirepass", text])
            .expect("set");
        server.kill_normal_clients().expect("killed");
    };
    password("new");
    let denied = |error: Error| {
        assert!(!error.is_transient(), "it needs somebody: {error:?}");
        assert!(error.to_string().contains("password"), "the cause: {error:?}");
        says_each_cause_once(&error);
    };
    let lock = mutex(&client, "a");
    for _ in 0..3 {
        denied(expect(
            lock.try_lock_for(LEASE * 2).await,
            ErrorKind::Denied,
            &["`a`"],
        ));
        denied(expect(lock.inspect().await, ErrorKind::Denied, &["`a`"]));
        denied(expect(client.ping().await, ErrorKind::Denied, &[]));
    }
    let logged = log.with("cannot connect again");
    assert!(logged.iter().any(|text| text.contains("password")), "{logged:?}");
    assert!(
        logged.windows(2).all(|two| two[0] != two[1]),
        "no change: {logged:?}"
    );
    password("");
    soon("a lock", lock.lock())
        .await
        .expect("again")
        .unlock()
        .await
        .expect("released");
    server.kill().expect("killed");
    eventually("another cause", || !log.with("cannot connect to").is_empty()).await;
}
