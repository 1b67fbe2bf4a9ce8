//! Sentinels are found by a URL or by options, and what is wrong with them is said at once.

use latchwork_mutex::{Client, Error, ErrorKind, Sentinel, Warning};
use latchwork_testkit::{TestSentinel, shared_sentinel};
use latchwork_tests::{Fixture, eventually, locked, sentinel_url, unlocked};

use super::address;

/// The error, of this kind, with these words in its text.
fn expect<T>(result: Result<T, Error>, kind: ErrorKind, words: &[&str]) {
    let Err(error) = result else {
        panic!("not refused: {kind:?} {words:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word} is not in: {error}");
    }
}

#[tokio::test]
async fn a_url_leads_to_the_primary() {
    let all = shared_sentinel();
    let client = Fixture::behind(all).client().await;
    let primary = all.master().expect("a primary");
    assert_eq!(address(&client), format!("127.0.0.1:{}", primary.port()), "there");
    unlocked(locked(&client, "a").await).await;
    let warnings = client.warnings();
    assert!(
        warnings.contains(&Warning::NoMinReplicas),
        "it can split: {warnings:?}"
    );
}

#[tokio::test]
async fn a_primary_that_needs_its_replicas_is_nothing_to_warn_of() {
    let builder = TestSentinel::builder(1, 1, 3)
        .arg("--min-replicas-to-write", "1")
        .arg("--min-replicas-max-lag", "10");
    let all = builder.start().expect("sentinels");
    let client = Fixture::behind(&all).client().await;
    let warnings = client.warnings();
    assert!(!warnings.contains(&Warning::NoMinReplicas), "{warnings:?}");
    unlocked(locked(&client, "a").await).await;
}

#[tokio::test]
async fn servers_and_sentinels_have_passwords_of_their_own() {
    let builder = TestSentinel::builder(1, 1, 3)
        .password("of-the-servers")
        .sentinel_password("of/the/sentinels");
    let all = builder.start().expect("sentinels");
    let urls = all.sentinel_urls();
    let with = |password: &str| -> Vec<String> {
        let bare = urls.iter().map(|url| {
            let (_, rest) = url.split_once("://").expect("an URL");
            rest.rsplit_once('@').map_or(rest, |(_, host)| host)
        });
        bare.map(|host| format!("redis://:{password}@{host}")).collect()
    };
    let sentinel = |password: &str| Sentinel::new(all.name(), with(password));
    let right = sentinel("of%2Fthe%2Fsentinels");
    let builder = Client::builder().sentinel(right.clone().password("of-the-servers"));
    let client = builder.connect().await.expect("a client");
    unlocked(locked(&client, "a").await).await;
    let builder = Client::builder().sentinel(right);
    expect(builder.connect().await, ErrorKind::Denied, &["password"]);
    let builder = Client::builder().sentinel(sentinel("wrong").password("of-the-servers"));
    expect(builder.connect().await, ErrorKind::Denied, &["password"]);
}

#[tokio::test]
async fn a_client_has_one_idle_connection_to_each_sentinel() {
    let all = TestSentinel::start(1, 0, 3).expect("sentinels");
    let fixture = Fixture::behind(&all);
    let clients = [fixture.client().await, fixture.client().await];
    for sentinel in all.sentinels() {
        // Sentinels have no subscriptions of each other.
        eventually("each client watches it, and asks nothing more", || {
            let reply = sentinel.admin(&["CLIENT", "LIST"]).expect("an answer");
            let list = reply.text().expect("a text");
            let doing = |command: &str| list.matches(&format!(" cmd={command} ")).count();
            doing("subscribe") == clients.len() && doing("sentinel|master") + doing("sentinel") == 0
        })
        .await;
    }
}

#[tokio::test]
async fn one_sentinel_that_answers_is_enough() {
    let all = shared_sentinel();
    let url = sentinel_url(all);
    // Nobody is at these ports.
    let url = url.replacen(
        "redis+sentinel://",
        "redis+sentinel://127.0.0.1:1,127.0.0.1:2,",
        1,
    );
    let fixture = Fixture::behind(all);
    let client = fixture.builder_at(url).connect().await.expect("a client");
    unlocked(locked(&client, "a").await).await;
}

#[tokio::test]
async fn what_is_wrong_with_sentinels_is_said() {
    let all = shared_sentinel();
    let url = sentinel_url(all);
    let other = url.replace(all.name(), "othermaster");
    expect(Client::connect(other).await, ErrorKind::Invalid, &["othermaster"]);
    let nobody = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster";
    let words = ["127.0.0.1:1", "127.0.0.1:2", "no sentinel"];
    expect(Client::connect(nobody).await, ErrorKind::Unavailable, &words);
    let primary = all.master().expect("a primary");
    let server = format!("redis+sentinel://127.0.0.1:{}/mymaster", primary.port());
    expect(
        Client::connect(server).await,
        ErrorKind::Invalid,
        &["not a sentinel"],
    );
    // A sentinel in the place of a server says where to go.
    let urls = all.sentinel_urls();
    let words = ["sentinel", all.name(), "redis+sentinel://"];
    expect(Client::connect(&urls[0]).await, ErrorKind::Unsupported, &words);
}

#[tokio::test]
async fn a_database_is_that_of_the_primary() {
    let all = shared_sentinel();
    let fixture = Fixture::behind(all);
    let (zero, three) = (fixture.client().await, format!("{}/3", sentinel_url(all)));
    let three = fixture.builder_at(three).connect().await.expect("a client");
    let (first, second) = (locked(&zero, "a").await, locked(&three, "a").await);
    unlocked(first).await;
    unlocked(second).await;
}
