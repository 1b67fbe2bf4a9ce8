//! Connecting fails with a useful error, or warns about settings that can lose locks.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use latchwork_mutex::{Client, ErrorKind, Warning};
use latchwork_testkit::{Direction, Proxy, TestServer, shared_server};
use latchwork_tests::{Fixture, LEASE, eventually, mutex, soon};

use super::expect;

#[tokio::test]
async fn wrong_urls() {
    for url in [
        "",
        "localhost",
        "127.0.0.1:6379",
        "http://localhost",
        "redis://",
        "redis://localhost:port",
        "redis://localhost:99999",
        "redis://localhost/database",
        "redis://user:secret@localhost:port",
        "redis://user:secret@/0/1/2",
    ] {
        let result = soon("a refusal", Client::connect(url)).await;
        let Err(error) = result else {
            panic!("connected to {url:?}")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url:?}: {error:?}");
        assert!(
            error.to_string().contains("redis://"),
            "{url:?}: says what is right: {error}"
        );
        let all = format!("{error} {error:?}");
        assert!(!all.contains("secret"), "{url:?}: a password in {all}");
    }
    expect(Client::builder().connect().await, ErrorKind::Invalid, &["url"]);
}

#[tokio::test]
async fn tls_without_the_feature_names_the_feature() {
    if latchwork_core::kit::TLS {
        return; // another package of this build has switched it on: `cargo xtask test` builds them apart
    }
    for url in ["rediss://127.0.0.1:1", "rediss://user:secret@127.0.0.1:1/0"] {
        let error = expect(
            soon("a refusal", Client::connect(url)).await,
            ErrorKind::Invalid,
            &["TLS", "tls-rustls"],
        );
        assert!(!format!("{error:?}").contains("secret"), "a password: {error:?}");
    }
}

#[tokio::test]
async fn no_server_at_the_port() {
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.local_addr().expect("an address").port()
    };
    expect(
        soon("a refusal", Client::connect(format!("redis://127.0.0.1:{port}"))).await,
        ErrorKind::Unavailable,
        &[&format!("127.0.0.1:{port}"), "refused", "running"],
    );
}

#[tokio::test]
async fn something_at_the_port_that_never_answers() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let builder = Client::builder().url(format!("redis://127.0.0.1:{port}"));
    let result = soon("a refusal", builder.operation_timeout(LEASE).connect()).await;
    let address = format!("127.0.0.1:{port}");
    expect(result, ErrorKind::Unavailable, &[&address, "does not answer"]);
}

#[tokio::test]
async fn wrong_password_and_wrong_user() {
    let server = TestServer::builder().arg("--requirepass", "right").start();
    let server = server.expect("a server");
    let port = server.port();
    for credentials in ["", ":wrong@", "nobody:right@", "default:wrong@"] {
        let url = format!("redis://{credentials}127.0.0.1:{port}");
        let error = expect(
            soon("a refusal", Client::connect(&url)).await,
            ErrorKind::Denied,
            &["password"],
        );
        assert!(!error.is_transient(), "trying again does not help: {error}");
    }
    let url = format!("redis://:right@127.0.0.1:{port}");
    let client = soon("a connection", Client::connect(&url))
        .await
        .expect("accepted");
    assert!(client.is_listening(), "the inbox, too");
}

/// A server of another age: answers `INFO` as Redis 5 does, and everything else with OK.
fn an_old_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || drop(answer_as_redis_5(&stream)));
        }
    });
    port
}

fn answer_as_redis_5(stream: &std::net::TcpStream) -> std::io::Result<()> {
    let (mut input, mut output) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: usize = line.trim_start_matches('*').trim().parse().unwrap_or(0);
        let mut command = Vec::new();
        for _ in 0..words {
            line.clear();
            input.read_line(&mut line)?;
            let mut word = vec![0; line.trim_start_matches('$').trim().parse::<usize>().unwrap_or(0) + 2];
            input.read_exact(&mut word)?;
            command.push(word);
        }
        let info = "redis_version:5.0.6\r\n";
        match command.first().map(Vec::as_slice) {
            Some(b"INFO\r\n") => write!(output, "${}\r\n{info}\r\n", info.len())?,
            _ => output.write_all(b"+OK\r\n")?,
        }
    }
}

#[tokio::test]
async fn h51_a_server_that_is_too_old() {
    let url = format!("redis://127.0.0.1:{}", an_old_server());
    expect(
        soon("a refusal", Client::connect(url)).await,
        ErrorKind::Unsupported,
        &["redis 5.0.6", "6.2"],
    );
}

#[tokio::test]
async fn a_server_that_speaks_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let error = expect(
        soon("a refusal", Client::connect(url)).await,
        ErrorKind::Protocol,
        &["127.0.0.1", "does not speak"],
    );
    assert!(!error.is_transient(), "trying again does not help: {error}");
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_an_answer() {
    let proxy = Proxy::start(shared_server().port()).expect("a proxy");
    let mut cut = 0;
    for bytes in (0..8000).step_by(61) {
        proxy.cut_after(Direction::ToClient, bytes);
        let Err(error) = soon("an answer", Client::connect(proxy.url())).await else {
            continue; // the cut came later, or met the inbox, which is made anew
        };
        let whole = format!("after {bytes} bytes: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{whole}");
        assert!(error.is_transient(), "trying again helps, {whole}");
        cut += 1;
    }
    assert!(cut > 10, "only {cut} were cut");
}

#[tokio::test]
async fn a_database_that_is_not_there() {
    let url = format!("{}/99", shared_server().url());
    expect(
        soon("a refusal", Client::connect(url)).await,
        ErrorKind::Invalid,
        &["database"],
    );
}

#[tokio::test]
async fn warnings_of_a_server_that_can_lose_locks() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let warnings = fixture.client().await.warnings();
    assert_eq!(warnings, [Warning::NoPersistence], "nothing else is wrong");

    let config = |name: &str, value: &str| {
        server.admin(&["CONFIG", "SET", name, value]).expect("set");
    };
    config("maxmemory-policy", "volatile-lru");
    let warnings = fixture.client().await.warnings();
    assert_eq!(
        warnings,
        [Warning::NoPersistence],
        "without a limit nothing is evicted"
    );
    config("maxmemory", "100mb");
    config("save", "3600 1");
    let warnings = fixture.client().await.warnings();
    let policy = "volatile-lru".to_owned();
    let [eviction @ Warning::Eviction { policy: found }] = &warnings[..] else {
        panic!("not the eviction alone: {warnings:?}");
    };
    assert_eq!(*found, policy, "which");
    assert!(
        eviction.to_string().contains("noeviction"),
        "the remedy: {eviction}"
    );
    config("maxmemory-policy", "noeviction");
    assert_eq!(fixture.client().await.warnings(), [], "all is well");
    server.admin(&["REPLICAOF", "127.0.0.1", "1"]).expect("a replica");
    let client = fixture.client().await;
    assert_eq!(client.warnings(), [Warning::Replica], "refuses writes");
    let wait = mutex(&client, "a").try_lock_for(LEASE * 4);
    expect(
        soon("a refusal", wait).await,
        ErrorKind::ReadOnly,
        &["`a`", "replica"],
    );
}

#[tokio::test]
async fn no_warnings_with_a_log() {
    let server = TestServer::builder().persist(true).start().expect("a server");
    let fixture = Fixture::on(&server);
    assert_eq!(fixture.client().await.warnings(), [], "all is well");
}

#[test]
fn outside_of_a_runtime() {
    let fixture = Fixture::shared();
    let mut connecting = std::pin::pin!(fixture.builder().connect());
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(result) = connecting.as_mut().poll(&mut cx) else {
        panic!("it waits for a runtime that is not there");
    };
    expect(result, ErrorKind::Invalid, &["runtime", "keeper_thread"]);
}

#[test]
fn in_a_runtime_without_timer_or_without_io() {
    let fixture = Fixture::shared();
    let mut without_timer = tokio::runtime::Builder::new_current_thread();
    let mut without_io = tokio::runtime::Builder::new_current_thread();
    for builder in [without_timer.enable_io(), without_io.enable_time()] {
        let runtime = builder.build().expect("a runtime");
        let result = runtime.block_on(fixture.builder().connect());
        expect(
            result,
            ErrorKind::Invalid,
            &["runtime", "enable_all", "keeper_thread"],
        );
    }
}

/// An executor that knows nothing of tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn with_a_keeper_thread_no_runtime_is_needed() {
    let fixture = Fixture::shared();
    block_on(async {
        let client = fixture.client_with(|b| b.keeper_thread(true)).await;
        let guard = mutex(&client, "a").lock().await.expect("the lock");
        let busy = mutex(&client, "a").try_lock_for(Duration::from_millis(20)).await;
        assert!(busy.expect("an answer").is_none(), "busy");
        guard.unlock().await.expect("released");
    });
}

#[tokio::test]
async fn a_connection_that_is_given_up_leaves_no_task() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    {
        let builder = Client::builder().url(format!("redis://127.0.0.1:{port}"));
        let mut connecting = Box::pin(builder.connect());
        poll_fn(|cx| {
            assert!(connecting.as_mut().poll(cx).is_pending(), "nobody answers");
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        assert!(
            tokio::time::timeout(Duration::from_millis(20), connecting)
                .await
                .is_err(),
            "nobody answers"
        );
    }
    eventually("its tasks are gone", || {
        tokio::runtime::Handle::current().metrics().num_alive_tasks() == before
    })
    .await;
}
