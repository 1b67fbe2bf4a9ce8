//! A provider is asked for credentials before each connection, and exchanges them in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use latchwork_mutex::{Client, ClientBuilder, Credentials, ErrorKind};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LONG, eventually, granted, locked, locking, soon, unlocked};

use super::expect;

/// A server whose user `worker` has the password that was set last, and a provider that knows it.
struct Rotating<'a> {
    fixture: Fixture<'a>,
    version: Arc<AtomicU64>,
    asked: Arc<AtomicUsize>,
}

impl<'a> Rotating<'a> {
    fn on(server: &'a TestServer) -> Self {
        let rotating = Self {
            fixture: Fixture::on(server),
            version: Arc::default(),
            asked: Arc::default(),
        };
        rotating.rotate();
        rotating
    }

    /// Only the next password is right from now on.
    fn rotate(&self) {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let password = format!(">token-{version}");
        let words = [
            "ACL",
            "SETUSER",
            "worker",
            "on",
            "resetpass",
            &password,
            "~*",
            "&*",
            "+@all",
        ];
        self.fixture.server.admin(&words).expect("a user");
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A client whose provider says that a password is good for this long.
    fn builder(&self, good_for: Option<Duration>) -> ClientBuilder {
        let (version, asked) = (Arc::clone(&self.version), Arc::clone(&self.asked));
        self.fixture.builder().lease(LONG).credentials(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let token = format!("token-{}", version.load(Ordering::SeqCst));
            async move {
                let credentials = Credentials::new("worker", token);
                Ok::<_, std::io::Error>(match good_for {
                    Some(time) => credentials.good_for(time),
                    None => credentials,
                })
            }
        })
    }

    async fn client(&self, good_for: Option<Duration>) -> Client {
        self.builder(good_for).connect().await.expect("a client")
    }

    /// The connections of this user, by what they do.
    fn connections(&self, kind: &str) -> usize {
        let list = self.fixture.server.admin(&["CLIENT", "LIST", "TYPE", kind]);
        let list = list.expect("an answer").text().expect("a list");
        list.lines().filter(|line| line.contains("user=worker")).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_asks_for_the_password_of_that_moment() {
    let server = TestServer::start().expect("a server");
    let rotating = Rotating::on(&server);
    let client = rotating.client(None).await;
    let held = locked(&client, "a").await;
    assert_eq!(rotating.asked(), 2, "once for the commands, once for the inbox");
    rotating.rotate();
    server.kill_normal_clients().expect("killed");
    server.kill_pubsub_clients().expect("killed");
    unlocked(locked(&client, "b").await).await;
    eventually("the inbox is back", || client.is_listening()).await;
    assert!(rotating.asked() >= 4, "both asked again");
    assert!(!held.is_lost(), "nothing was lost");
    unlocked(held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_half_of_their_time_credentials_are_exchanged_without_an_interruption() {
    let server = TestServer::start().expect("a server");
    let rotating = Rotating::on(&server);
    let (proxy, other) = (rotating.fixture.proxy(), rotating.fixture.steady().await);
    let client = rotating
        .builder(Some(Duration::from_secs(1)))
        .url(proxy.url())
        .connect()
        .await
        .expect("a client");
    let accepted = proxy.accepted();
    assert_eq!(accepted, 2, "commands and inbox");
    let guard = locked(&other, "a").await;
    let waiter = locking(&client, "a");
    rotating.fixture.queued(1).await;
    rotating.rotate();
    // Commands stay on their connection, and the inbox makes another one before it leaves the
    // first.
    eventually("both have shown others", || {
        assert!(client.is_listening(), "always");
        let by_connection = proxy.requests_by_connection();
        let commands = by_connection.values().find(|names| names.contains_key("INFO"));
        let shown = commands.and_then(|names| names.get("AUTH"));
        shown >= Some(&2) && proxy.accepted() > accepted
    })
    .await;
    eventually("one of each is left", || {
        rotating.connections("pubsub") == 1 && rotating.connections("normal") == 1
    })
    .await;
    unlocked(guard).await;
    unlocked(granted(waiter).await).await;
}

/// The clock of a token is short here: two rotations a second, and all connections are killed at
/// each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_killed_connections_lose_nothing() {
    let server = TestServer::start().expect("a server");
    let rotating = Rotating::on(&server);
    let client = rotating.client(Some(Duration::from_millis(400))).await;
    let held = locked(&client, "held").await;
    for _ in 0..10 {
        rotating.rotate();
        server.kill_normal_clients().expect("killed");
        server.kill_pubsub_clients().expect("killed");
        for _ in 0..20 {
            unlocked(locked(&client, "a").await).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!held.is_lost(), "held all the time");
    unlocked(held).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_an_error_of_its_own() {
    let fixture = Fixture::shared();
    let failing = || async { Err::<Credentials, _>(std::io::Error::other("no token today")) };
    let result = fixture.builder().credentials(failing).connect().await;
    let error = expect(result, ErrorKind::Credentials, &["provider"]);
    assert!(
        format!("{error:?}").contains("no token today"),
        "with its cause: {error:?}"
    );
    assert!(error.is_transient(), "it may work later");
}

#[tokio::test]
async fn a_provider_that_panics_is_an_error_and_ends_nothing_else() {
    #[allow(clippy::unused_async, reason = "a provider is async")]
    async fn panics() -> Result<Credentials, std::io::Error> {
        panic!("not today")
    }
    let fixture = Fixture::shared();
    let result = fixture.builder().credentials(panics).connect().await;
    expect(result, ErrorKind::Credentials, &["provider"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_later_costs_nothing_while_the_connections_live() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let words = ["ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all"];
    server.admin(&words).expect("a user");
    let provider = move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if number > 0 {
                return Err(std::io::Error::other("no token today"));
            }
            Ok(Credentials::new("worker", "secret").good_for(Duration::from_millis(200)))
        }
    };
    let client = fixture.builder().lease(LONG).credentials(provider).connect();
    let client = client.await.expect("a client");
    let held = locked(&client, "a").await;
    eventually("it was asked again and again", || {
        calls.load(Ordering::SeqCst) > 4
    })
    .await;
    assert!(client.is_listening(), "the inbox is there");
    unlocked(held).await;
    // Without a connection the reason is known.
    server.kill_normal_clients().expect("killed");
    let error = soon("an answer", latchwork_tests::mutex(&client, "b").try_lock()).await;
    expect(error, ErrorKind::Credentials, &["provider"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_the_server_refuses_are_asked_for_again() {
    let server = TestServer::start().expect("a server");
    let rotating = Rotating::on(&server);
    // They would be good for an hour, were they not changed at once.
    let client = rotating.client(Some(Duration::from_secs(3600))).await;
    assert_eq!(rotating.asked(), 1, "the inbox shares them");
    rotating.rotate();
    server.kill_normal_clients().expect("killed");
    server.kill_pubsub_clients().expect("killed");
    unlocked(locked(&client, "a").await).await;
    eventually("the inbox is back", || client.is_listening()).await;
}

#[tokio::test]
async fn wrong_credentials_are_denied_at_once() {
    let server = TestServer::start().expect("a server");
    let rotating = Rotating::on(&server);
    let wrong = || async { Ok::<_, std::io::Error>(Credentials::new("worker", "wrong")) };
    let result = rotating.builder(None).credentials(wrong).connect().await;
    expect(result, ErrorKind::Denied, &["password"]);
    let default = || async { Ok::<_, std::io::Error>(Credentials::password("wrong")) };
    server
        .admin(&["CONFIG", "SET", "requirepass", "right"])
        .expect("set");
    let result = rotating.builder(None).credentials(default).connect().await;
    expect(result, ErrorKind::Denied, &["password"]);
}
