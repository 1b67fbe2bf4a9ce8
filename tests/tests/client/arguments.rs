//! Names, options, token floors and tickets out of range are refused before anything is sent.

use std::time::Duration;

use latchwork_mutex::{ClientBuilder, ErrorKind, FencingToken, MAX_LEASE, MIN_LEASE, Mutex, Ticket};
use latchwork_tests::{Fixture, LEASE, eventually, go, granted, locked, mutex};

use super::expect;

/// Sets an option to what it must not be.
type Spoil = fn(ClientBuilder) -> ClientBuilder;

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn h62_token_floors_out_of_range_are_refused() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.client().await, fixture.client().await);
    let with_floor = |client, floor: u64| {
        let builder = Mutex::builder(client, "a").token_floor(FencingToken::new(floor));
        builder.build()
    };
    for floor in [1 << 53, u64::MAX] {
        expect(
            with_floor(&one, floor),
            ErrorKind::Invalid,
            &["`a`", "floor", "2^53"],
        );
    }
    let first = locked(&one, "a").await;
    let now = first.fencing_token().get();
    first.unlock().await.expect("released");

    let day = 86_400_000_000;
    let ahead = with_floor(&one, now + 2 * day).expect("local");
    expect(ahead.lock().await, ErrorKind::Invalid, &["`a`", "floor", "a day"]);
    expect(ahead.try_lock().await, ErrorKind::Invalid, &["floor"]);
    assert_eq!(one.live(), 0, "no slot is left");
    fixture.settled_within(Duration::ZERO).await;
    let again = locked(&one, "a").await;
    assert!(again.fencing_token().get() < now + day, "the floor left no trace");

    // By hand-off: the one who releases knows nothing of the waiter's floor.
    let floor = now + day / 2;
    let waiter = go(with_floor(&two, floor).expect("local").lock());
    fixture.queued(1).await;
    again.unlock().await.expect("released");
    let guard = granted(waiter).await;
    let token = guard.fencing_token();
    assert!(token.get() > floor, "{token} is not above {floor}");
    tokio::time::sleep(LEASE).await;
    assert!(!guard.is_lost(), "renewed with the token that it has");
    guard.unlock().await.expect("released");
    // And at once.
    let guard = with_floor(&one, floor + 1000).expect("local").lock().await;
    let guard = guard.expect("the lock");
    assert!(guard.fencing_token().get() > floor + 1000, "above");
    guard.unlock().await.expect("released");
    let guard = locked(&two, "a").await;
    assert!(guard.fencing_token().get() > floor + 1001, "it stays so for all");
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn options_out_of_range() {
    let fixture = Fixture::shared();
    let week = 7 * MAX_LEASE;
    let bad: [(&str, Spoil); 24] = [
        ("lease", |b| b.lease(Duration::ZERO)),
        ("lease", |b| {
            b.lease(MIN_LEASE.saturating_sub(Duration::from_nanos(1)))
        }),
        ("lease", |b| b.lease(MAX_LEASE + MS)),
        ("lease", |b| b.lease(Duration::MAX)),
        ("prefix", |b| b.prefix("")),
        ("prefix", |b| b.prefix("a b")),
        ("prefix", |b| b.prefix("a{b")),
        ("prefix", |b| b.prefix("a*")),
        ("prefix", |b| b.prefix("a".repeat(65))),
        ("label", |b| b.label("x".repeat(257))),
        ("operation timeout", |b| b.operation_timeout(Duration::ZERO)),
        ("operation timeout", |b| b.operation_timeout(MAX_LEASE)),
        ("unavailable", |b| b.unavailable_after(Duration::ZERO)),
        ("unavailable", |b| b.unavailable_after(MAX_LEASE + MS)),
        ("claim window", |b| b.claim_window(Duration::ZERO)),
        ("claim window", |b| b.claim_window(MAX_LEASE)),
        ("retention", |b| b.retention(Duration::ZERO)),
        ("retention", |b| b.retention(Duration::MAX)),
        ("heartbeat", |b| b.heartbeat(Duration::ZERO)),
        ("drift", |b| b.drift_margin(100_001)),
        ("waiters", |b| b.max_waiters(0)),
        ("waiters", |b| b.max_waiters(1_000_001)),
        ("reconnect", |b| b.reconnect_backoff(Duration::ZERO, MS)),
        ("reconnect", |b| b.reconnect_backoff(2 * MS, MS)),
    ];
    for (what, spoil) in bad {
        let connected = spoil(fixture.builder()).connect().await;
        expect(connected, ErrorKind::Invalid, &[what]);
    }
    let extremes = fixture
        .builder()
        .prefix(format!("{:a<64}", fixture.prefix))
        .label("x".repeat(256))
        .retention(week)
        .drift_margin(100_000)
        .max_waiters(1_000_000)
        .unavailable_after(MAX_LEASE);
    let client = extremes.connect().await.expect("in range");
    let guard = locked(&client, "a").await;
    let info = mutex(&client, "a").inspect().await.expect("an answer");
    let label = info.holders[0].label.clone();
    assert!(label.is_none_or(|label| label.len() == 256), "the whole label");
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn the_claim_window_is_half_of_the_lease_within_its_bounds() {
    let fixture = Fixture::shared();
    for (lease, set, window) in [
        (300, None, 300),
        (1500, None, 1000),
        (10_000, None, 5000),
        (60_000, None, 10_000),
        (10_000, Some(2000), 2000),
        (10_000, Some(60_000), 10_000),
    ] {
        let client = fixture.client_with(|b| {
            let leased = b.lease(MS * lease);
            match set {
                Some(set) => leased.claim_window(MS * set),
                None => leased,
            }
        });
        let guard = locked(&client.await, "a").await;
        let members = fixture.members();
        let id = members.iter().find(|(_, score)| (1e12..1e14).contains(score));
        let (id, _) = id.expect("a holder");
        assert!(id.ends_with(&format!(":{lease}:{window}")), "{id}: not {window}");
        guard.unlock().await.expect("released");
    }
}

#[tokio::test]
async fn garbage_instead_of_tickets() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let guard = locked(&client, "a").await;
    let ticket = guard.into_ticket().await.expect("a ticket");
    let good = ticket.to_string();
    let cut: Vec<&str> = (0..good.len() - 2).step_by(7).map(|at| &good[..at]).collect();
    let doubled = format!("{good} {good}");
    let other = good.replace("ticket-2", "ticket-9");
    let odd = format!("{good}f");
    let words = [
        "",
        " ",
        "ticket",
        "\0",
        "latchwork-ticket-2",
        "\u{1f512}",
        &doubled,
        &other,
        &odd,
    ];
    for text in words.into_iter().chain(cut) {
        expect(text.parse::<Ticket>(), ErrorKind::Invalid, &["ticket"]);
    }
    let back: Ticket = good.parse().expect("a ticket");
    let error = expect(
        mutex(&client, "b").resume(&back).await,
        ErrorKind::Invalid,
        &["`b`", "`a`"],
    );
    assert!(!error.is_transient(), "never works");
    // One that was made up names no hold.
    let words: Vec<&str> = good.split(' ').collect();
    let forged: Ticket = good
        .replace(words[8], "nobody.1:1:300:300")
        .parse()
        .expect("a ticket");
    expect(
        mutex(&client, "a").resume(&forged).await,
        ErrorKind::Lost,
        &["`a`"],
    );
    let guard = mutex(&client, "a").resume(&back).await.expect("the hold");
    expect(mutex(&client, "a").resume(&back).await, ErrorKind::Lost, &["`a`"]);
    guard.unlock().await.expect("released");
    eventually("no slot is left", || client.live() == 0).await;
    fixture.settled_within(Duration::ZERO).await;
}
