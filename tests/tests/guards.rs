//! What a guard can do: extend, forget, hand over, lose, and the ways to look at it and to force it open.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::time::Duration;

use latchwork_mutex::{ErrorKind, FencingToken, Mutex, Ticket};
use latchwork_tests::{LEASE, Place, eventually, go};

#[tokio::test]
async fn a_ticket_moves_a_hold_to_another_client_once() {
    let place = Place::shared();
    let (one, two, three) = (place.client().await, place.client().await, place.client().await);
    let guard = Mutex::new(&one, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let token = guard.fencing_token();
    let text = guard.into_ticket().await.expect("a ticket").to_string();
    assert_eq!(
        one.live(),
        0,
        "the first client has nothing to do with it any more"
    );
    let ticket: Ticket = text.parse().expect("a ticket");
    let (second, third) = (
        Mutex::new(&two, "a").expect("a mutex"),
        Mutex::new(&three, "a").expect("a mutex"),
    );
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
    place.settled("a", Duration::ZERO).await;
    let error = second.resume(&ticket).await.expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    let other = Mutex::new(&two, "b").expect("a mutex");
    assert_eq!(
        other.resume(&ticket).await.expect_err("of another name").kind(),
        ErrorKind::Invalid,
        "kind"
    );
}

#[tokio::test]
async fn inspection_shows_who_holds_and_who_waits() {
    let place = Place::shared();
    let one = place.builder().label("first").connect().await.expect("a client");
    let two = place.builder().label("second").connect().await.expect("a client");
    let mutex = Mutex::new(&one, "a").expect("a mutex");
    let nobody = mutex.inspect().await.expect("an answer");
    assert!(nobody.holders.is_empty() && nobody.queue_len == 0, "{nobody:?}");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(Mutex::new(&two, "a").expect("a mutex").lock());
    eventually("it waits", || place.members("a").len() == 3).await;
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
    assert!(holder.held_for < Duration::from_secs(10), "{holder:?}");
    assert!(!holder.shared, "exclusive");
    assert_eq!(info.waiters[0].label.as_deref(), Some("second"), "its label");
    drop(guard);
    waiter
        .await
        .expect("no panic")
        .expect("the lock")
        .unlock()
        .await
        .expect("released");
    place.check_leftovers();
}

#[tokio::test]
async fn tokens_respect_a_floor_by_reply_and_by_hand_off() {
    let place = Place::shared();
    let client = place.client().await;
    let plain = Mutex::new(&client, "a").expect("a mutex");
    let first = plain.lock().await.expect("the lock");
    // An hour ahead of the server's clock: somebody saw tokens of before its clock was set back.
    let floor = FencingToken::new(first.fencing_token().get() + 3_600_000_000);
    let above = Mutex::builder(&client, "a")
        .token_floor(floor)
        .build()
        .expect("a mutex");
    let waiter = go(above.lock());
    eventually("it waits", || place.members("a").len() == 3).await;
    let before = first.fencing_token();
    tokio::time::sleep(LEASE).await;
    assert!(
        !first.is_lost(),
        "a waiter's floor does not disturb the holder's renewals"
    );
    first.unlock().await.expect("released");
    let second = waiter.await.expect("no panic").expect("the lock");
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
