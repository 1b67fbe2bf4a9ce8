//! Bad arguments, foreign data, full memory and missing rights are typed errors with a remedy.
//!
//! Nothing is half done then.

use std::time::Duration;

use latchwork_mutex::{Client, Error, ErrorKind, MAX_LEASE, MAX_NAME, MIN_LEASE, Renew};
use latchwork_testkit::TestServer;
use latchwork_tests::distance::{Distance, lease, long, medium};
use latchwork_tests::subject::{Guard, Options, Subject};
use latchwork_tests::{Fixture, eventually, soon};

const MS: Duration = Duration::from_millis(1);

/// The error, of this kind, with these words in its text.
fn expect<T>(result: Result<T, Error>, kind: ErrorKind, words: &[&str]) -> Error {
    let Err(error) = result else {
        panic!("not refused: {kind:?} {words:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word} is not in: {error}");
    }
    error
}

pub(crate) async fn names_of_the_wrong_length(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let long = vec![b'a'; MAX_NAME + 1];
    let handle = |name: &[u8]| subject.handle(&client, name, &Options::NONE);
    expect(handle(b""), ErrorKind::Invalid, &["empty", "512"]);
    expect(handle(&long), ErrorKind::Invalid, &["513", "512"]);
    let longest = handle(&long[1..]).expect("512 bytes");
    fixture.released(longest.acquire().await.expect("a hold")).await;
    fixture.check_leftovers();
}

/// H59: names of any bytes, which are all something else.
pub(crate) async fn h59_names_of_any_bytes_are_distinct(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let names: [&[u8]; 24] = [
        b"a",
        b"A",
        b"a ",
        b" a",
        b"a\0",
        b"a\0b",
        b"\0",
        b"\n",
        b"\r\n",
        b"{",
        b"}",
        b"{}",
        b"{a}",
        b"a}b{c",
        b"}x",
        b"%",
        b"%7B",
        b"%00",
        b"*",
        b"\xff",
        b"\xfe",
        "\u{e4}".as_bytes(),
        b"a\xcc\x88",
        &all_bytes,
    ];
    let mut guards = Vec::new();
    for name in names {
        // It would wait if it were another's.
        let all = soon("a name of its own", subject.take_all(&one, name)).await;
        guards.push(all.expect("all there is"));
    }
    for name in names {
        let handle = subject.handle(&two, name, &Options::NONE).expect("a handle");
        let busy = handle.try_acquire().await.expect("an answer");
        assert!(busy.is_none(), "{} is held", name.escape_ascii());
    }
    for guard in guards {
        fixture.released(guard).await;
    }
    fixture.check_leftovers();
}

pub(crate) async fn h62_leases_and_maxima_out_of_range(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let build = |options: Options| subject.handle(&client, b"a", &options);
    let leased = |lease| Options {
        lease: Some(lease),
        ..Options::NONE
    };
    for lease in [
        Duration::ZERO,
        9 * MS,
        MIN_LEASE.saturating_sub(Duration::from_nanos(1)),
        MAX_LEASE + MS,
        Duration::MAX,
    ] {
        expect(build(leased(lease)), ErrorKind::Invalid, &["`a`", "lease"]);
    }
    for most in [Duration::ZERO, lease().saturating_sub(MS), Duration::MAX] {
        let options = Options {
            max_hold: Some(most),
            ..leased(lease())
        };
        expect(build(options), ErrorKind::Invalid, &["`a`", "maximum hold"]);
    }
    // A lease that is over before an answer can be there is of no use.
    for lease in [MIN_LEASE.max(Distance::here().trip() * 4), MAX_LEASE] {
        let handle = build(Options {
            renew: Renew::Manual,
            ..leased(lease)
        });
        drop(
            soon("an acquire", handle.expect("in range").acquire())
                .await
                .expect("a hold"),
        );
    }
    let steady = fixture.steady().await;
    let all = fixture.named("b").all(&steady).await;
    for lease in [Duration::ZERO, 9 * MS, MAX_LEASE + MS] {
        expect(all.extend(lease).await, ErrorKind::Invalid, &["`b`", "lease"]);
    }
    assert!(!all.is_lost(), "a refused extension costs nothing");
    fixture.released(all).await;
    fixture.over().await;
}

type Outcome = (&'static str, Result<(), Error>);

/// What comes of every call that acquires. What a refused one may have written is undone before the next.
async fn acquires(fixture: &Fixture<'_>, client: &Client) -> Vec<Outcome> {
    let (handle, before) = (fixture.handle(client), client.live());
    let had = |had: Result<Option<Guard>, Error>| had.map(drop);
    let entry = |(_, score): &(String, f64)| *score < 0.0 || (1e12..1e14).contains(score);
    // If the right to do so is missing, the client continues to try.
    let undone = || client.live() == before || !fixture.members().iter().any(entry);
    let mut all = vec![("acquire", soon("acquire", handle.acquire()).await.map(drop))];
    eventually("it is undone", undone).await;
    all.push(("try", had(soon("try", handle.try_acquire()).await)));
    eventually("it is undone", undone).await;
    all.push((
        "try for",
        had(soon("try for", handle.try_acquire_for(lease())).await),
    ));
    eventually("it is undone", undone).await;
    let run = handle.run(Box::new(|_| panic!("no hold")));
    all.push(("run", soon("run", run).await));
    eventually("it is undone", undone).await;
    all
}

/// What comes of those, and of looking and forcing.
async fn calls(fixture: &Fixture<'_>, client: &Client) -> Vec<Outcome> {
    let handle = fixture.handle(client);
    let mut all = acquires(fixture, client).await;
    all.push(("inspect", soon("inspect", handle.inspect()).await.map(drop)));
    all.push(("force", soon("force", handle.force()).await.map(drop)));
    all
}

/// H41: what somebody else has put there is not ours to change, of whatever type it is.
pub(crate) async fn h41_foreign_data_under_our_key_is_left_alone(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let admin = |args: &[&str]| fixture.server.admin(args).expect("an answer");
    let kinds: [(&str, &[&str]); 6] = [
        ("text", &["SET", "value"]),
        ("list", &["RPUSH", "value"]),
        ("set", &["SADD", "value"]),
        ("hash", &["HSET", "field", "value"]),
        ("stream", &["XADD", "*", "field", "value"]),
        // A sorted set, but not ours: no `t1`.
        ("zset", &["ZADD", "5", "value"]),
    ];
    for (name, command) in kinds {
        let fixture = fixture.named(name);
        let key = fixture.key();
        let mut words = vec![command[0], &key];
        words.extend(&command[1..]);
        admin(&words);
        admin(&["PEXPIRE", &key, "600000"]);
        let before = admin(&["DUMP", &key]);
        let named = format!("`{name}`");
        for (call, result) in calls(&fixture, &client).await {
            let error = expect(result, ErrorKind::WrongType, &[&named, "foreign"]);
            assert!(!error.is_transient(), "{call}: it needs somebody");
        }
        assert_eq!(client.live(), 0, "{name}: no slot is left");
        assert_eq!(admin(&["DUMP", &key]), before, "{name}: unchanged");
    }
}

pub(crate) async fn h40_memory_is_full(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let client = fixture.renewing().await;
    let (held, awaited, new) = (
        fixture.named("held"),
        fixture.named("awaited"),
        fixture.named("new"),
    );
    let guard = held.all(&client).await;
    let first = awaited.all(&client).await;
    let waiter = awaited.queue(&client).await;
    server.admin(&["CONFIG", "SET", "maxmemory", "1"]).expect("full");
    let refused = server.admin(&["SET", "x", "y"]).expect_err("full");
    assert!(refused.to_string().contains("OOM"), "{refused}");

    // It is renewed meanwhile, which changes its score.
    let held_now = || {
        held.members()
            .into_iter()
            .map(|(member, _)| member)
            .collect::<Vec<_>>()
    };
    let before = held_now();
    for fixture in [&new, &held] {
        let named = format!("`{}`", fixture.name);
        for (call, result) in acquires(fixture, &client).await {
            let words = [named.as_str(), "memory", "maxmemory"];
            let error = expect(result, ErrorKind::OutOfMemory, &words);
            assert!(error.is_transient(), "{call}: it may pass");
        }
    }
    assert_eq!(new.members(), [], "nothing half done");
    assert_eq!(held_now(), before, "nothing half done");
    let again = soon("a connection", fixture.builder().connect())
        .await
        .expect("connects");

    // What is held goes on: renewals, extensions, hand-off, release.
    tokio::time::sleep(medium() * 5 / 4).await;
    guard.extend(medium() * 2).await.expect("extended");
    assert!(!guard.is_lost() && !first.is_lost(), "renewed");
    let info = held.handle(&again).inspect().await.expect("an answer");
    assert_eq!(info.holders.len(), 1, "seen");
    awaited.released(first).await;
    let second = awaited.granted(waiter).await;
    // Which also confirms it.
    awaited.still_held(&second, medium()).await;
    awaited.released(second).await;
    held.released(guard).await;
    for fixture in [&new, &held, &awaited] {
        fixture.settled().await;
    }
    assert_eq!(client.live(), 0, "no slot is left");

    server.admin(&["CONFIG", "SET", "maxmemory", "0"]).expect("room");
    new.released(new.all(&client).await).await;
    new.over().await;
}

pub(crate) async fn h46_a_right_is_missing(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    for right in ["evalsha", "zadd", "pexpire"] {
        // All rights again but for this one, for a client that has not met the server before.
        server
            .admin(&["ACL", "DELUSER", "worker"])
            .expect("gone, or never there");
        let fixture = Fixture::on(&server).with(subject);
        let url = fixture.restricted(&[&format!("-{right}")]);
        let client = soon("a connection", fixture.builder_at(url).connect()).await;
        let client = client.expect("a client");
        let named = format!("`+{right}`");
        for (call, result) in acquires(&fixture, &client).await {
            let error = expect(result, ErrorKind::Denied, &["`a`", &named, "ACL"]);
            assert!(!error.is_transient(), "{call}: it needs somebody");
        }
        let left = fixture.members();
        let entry = |(_, score): &(String, f64)| *score < 0.0 || (1e12..1e14).contains(score);
        assert!(
            !left.iter().any(entry),
            "-{right}: nobody holds or waits: {left:?}"
        );
        assert!(client.ping().await.is_ok(), "the connection is fine");
    }
}

pub(crate) async fn h46_keys_of_another_pattern(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let url = fixture.restricted(&["resetkeys", "~elsewhere:*"]);
    let client = soon("a connection", fixture.builder_at(url).connect()).await;
    let client = client.expect("a client");
    let keys = format!("`~{}:*`", fixture.prefix);
    for (_, result) in calls(&fixture, &client).await {
        expect(result, ErrorKind::Denied, &["`a`", &keys]);
    }
    let left = server.keys("").expect("an answer");
    assert_eq!(left, Vec::<String>::new(), "nothing was written");
}

/// Nobody can be told anything: those who wait poll, and are served in their order.
pub(crate) async fn h46_without_the_rights_to_messages_waiting_polls(subject: &'static dyn Subject) {
    for rule in ["-publish", "-subscribe"] {
        let server = TestServer::start().expect("a server");
        let fixture = Fixture::on(&server).with(subject);
        let url = fixture.restricted(&[rule]);
        let builder = fixture.builder_at(url).lease(long());
        let client = soon("a connection", builder.connect()).await.expect("a client");
        assert!(!client.is_listening(), "{rule}: it has no inbox that is of use");
        assert!(!client.warnings().is_empty(), "{rule}: and says so");
        let all = fixture.all(&client).await;
        let waiter = fixture.queue(&client).await;
        fixture.released(all).await;
        fixture.released(fixture.granted(waiter).await).await;
        fixture.over().await;
    }
}

pub(crate) async fn h68_a_full_queue(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client_with(|b| b.lease(long()).max_waiters(1)).await;
    let all = fixture.all(&client).await;
    let waiter = fixture.queue(&client).await;
    // But for the mark that says when the queue was looked through.
    let there = || {
        fixture
            .members()
            .into_iter()
            .filter(|(member, _)| member != "z")
            .count()
    };
    let before = there();
    let words = ["`a`", "1 waiters", "max_waiters"];
    let refused = soon("a refusal", fixture.handle(&client).acquire()).await;
    assert!(
        expect(refused, ErrorKind::QueueFull, &words).is_transient(),
        "it may pass"
    );
    assert_eq!(there(), before, "nothing was left");
    assert!(
        fixture.tried(&client).await.is_none(),
        "busy: one try needs no room"
    );
    fixture.released(all).await;
    fixture.released(fixture.granted(waiter).await).await;
    let all = fixture.all(&client).await;
    let waiter = fixture.queue(&client).await;
    drop(all);
    fixture.released(fixture.granted(waiter).await).await;
    fixture.over().await;
}
