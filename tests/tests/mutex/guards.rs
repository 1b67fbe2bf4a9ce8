//! A guard can be moved to another client, inspected, lost and dropped.

use std::time::Duration;

use latchwork_mutex::{ErrorKind, FencingToken, Loss, Mutex, Ticket};
use latchwork_tests::{Fixture, LEASE, go, granted, locked, locking, mutex};

#[tokio::test]
async fn a_ticket_moves_a_hold_to_another_client_once() {
    let fixture = Fixture::shared();
    let (one, two, three) = (
        fixture.client().await,
        fixture.client().await,
        fixture.client().await,
    );
    let guard = locked(&one, "a").await;
    let token = guard.fencing_token();
    let text = guard.into_ticket().await.expect("a ticket").to_string();
    assert_eq!(
        one.live(),
        0,
        "the first client has nothing to do with it any more"
    );
    let ticket: Ticket = text.parse().expect("a ticket");
    let (second, third) = (mutex(&two, "a"), mutex(&three, "a"));
    let (left, right) = tokio::join!(second.resume(&ticket), third.resume(&ticket));
    let (guard, error) = match (left, right) {
        (Ok(guard), Err(error)) | (Err(error), Ok(guard)) => (guard, error),
        other => panic!("one of two: {other:?}"),
    };
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    assert_eq!(guard.fencing_token(), token, "the same hold");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!guard.is_lost(), "the new client renews it");
    guard.unlock().await.expect("released");
    fixture.settled_within(Duration::ZERO).await;
    let error = second.resume(&ticket).await.expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    let other = mutex(&two, "b");
    assert_eq!(
        other.resume(&ticket).await.expect_err("of another name").kind(),
        ErrorKind::Invalid,
        "kind"
    );
}

#[tokio::test]
async fn inspection_shows_holders_and_waiters() {
    let fixture = Fixture::shared();
    let one = fixture.client_with(|b| b.label("first")).await;
    let two = fixture.client_with(|b| b.label("second")).await;
    let mutex = mutex(&one, "a");
    let nobody = mutex.inspect().await.expect("an answer");
    assert!(nobody.holders.is_empty() && nobody.queue_len == 0, "{nobody:?}");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = locking(&two, "a");
    fixture.queued(1).await;
    // The labels are written in the background after connecting.
    let info = loop {
        let info = mutex.inspect().await.expect("an answer");
        if info.waiters[0].label.is_some() && info.holders[0].label.is_some() {
            break info;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (info.holders.len(), info.queue_len, info.waiters.len()),
        (1, 1, 1),
        "{info:?}"
    );
    let holder = &info.holders[0];
    assert_eq!(holder.label.as_deref(), Some("first"), "its label");
    assert_eq!(holder.token, Some(guard.fencing_token()), "its token");
    assert!(
        holder.lease_left <= LEASE && holder.lease_left > Duration::ZERO,
        "{holder:?}"
    );
    let is_new = |time: Option<Duration>| time.is_some_and(|time| time < Duration::from_secs(10));
    assert!(is_new(holder.held_for) && holder.confirmed, "{holder:?}");
    assert!(!holder.shared, "exclusive");
    assert_eq!(info.waiters[0].label.as_deref(), Some("second"), "its label");
    assert!(is_new(info.waiters[0].waiting_for), "{info:?}");
    drop(guard);
    granted(waiter).await.unlock().await.expect("released");
    fixture.check_leftovers();
}

#[tokio::test]
async fn tokens_respect_a_floor_by_reply_and_by_hand_off() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let plain = mutex(&client, "a");
    let first = plain.lock().await.expect("the lock");
    // An hour ahead of the server's clock: somebody saw tokens of before its clock was set back.
    let floor = FencingToken::new(first.fencing_token().get() + 3_600_000_000);
    let above = Mutex::builder(&client, "a")
        .token_floor(floor)
        .build()
        .expect("a mutex");
    let waiter = go(above.lock());
    fixture.queued(1).await;
    let before = first.fencing_token();
    tokio::time::sleep(LEASE).await;
    assert!(
        !first.is_lost(),
        "a waiter's floor does not disturb the holder's renewals"
    );
    first.unlock().await.expect("released");
    let second = granted(waiter).await;
    assert!(second.fencing_token() > floor && floor > before, "by hand-off");
    let token = second.fencing_token();
    second.unlock().await.expect("released");
    let third = plain.lock().await.expect("the lock");
    assert!(third.fencing_token() > token, "and they go on from there");
    drop(third);
    let far = FencingToken::new(first_day_too_far());
    let error = Mutex::builder(&client, "b")
        .token_floor(far)
        .build()
        .expect("a mutex")
        .lock()
        .await;
    assert_eq!(
        error.expect_err("too far ahead").kind(),
        ErrorKind::Invalid,
        "kind"
    );
}

fn first_day_too_far() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_micros()).expect("fits") + 25 * 3_600_000_000
}

#[tokio::test]
async fn a_dropped_guard_cancels_its_token_without_waiting_for_a_timer() {
    let fixture = Fixture::shared();
    let client = fixture.client_with(|b| b.lease(Duration::from_secs(600))).await;
    let guard = locked(&client, "a").await;
    let token = guard.cancellation_token();
    tokio::task::yield_now().await;
    drop(guard);
    // A few turns of the scheduler; its timer would take a second.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(token.is_cancelled(), "told, not found out");
}

#[tokio::test]
async fn h41_releasing_a_record_that_is_no_longer_ours_reports_a_loss() {
    let fixture = Fixture::shared();
    let client = fixture.client_with(|b| b.lease(Duration::from_secs(30))).await;
    for foreign in [1, 5] {
        let guard = locked(&client, "a").await;
        fixture.server.admin(&["DEL", &fixture.key()]).expect("an answer");
        for member in 0..foreign {
            fixture
                .server
                .admin(&["ZADD", &fixture.key(), "1", &member.to_string()])
                .expect("an answer");
        }
        let error = guard.unlock().await.expect_err("lost");
        assert_eq!(
            error.loss(),
            Some(Loss::Vanished),
            "{foreign} foreign members: {error}"
        );
        fixture.server.admin(&["DEL", &fixture.key()]).expect("an answer");
    }
}

#[tokio::test]
async fn primitives_are_listed_by_their_prefix() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let other = Fixture::shared();
    drop(locked(&other.client().await, "elsewhere").await);
    let names: [&[u8]; 4] = [b"a", b"a b{c}", b"%7B", b"x:y"];
    for name in names {
        drop(locked(&client, name).await);
    }
    let fence = latchwork_mutex::Fence::new(&client, "stock").expect("a fence");
    fence.admit(FencingToken::new(5)).await.expect("an answer");
    let (mut found, mut next) = (std::collections::BTreeSet::new(), Some(0));
    while let Some(page) = next {
        let listing = client.list(page).await.expect("a page");
        for listed in listing.primitives {
            assert_eq!(listed.kind, "lock", "{listed:?}");
            found.insert(listed.name.as_bytes().to_vec());
        }
        next = listing.next;
    }
    let expected = names.map(<[u8]>::to_vec).into_iter().collect();
    assert_eq!(
        found, expected,
        "each, and neither fences, clients nor other prefixes"
    );
}
