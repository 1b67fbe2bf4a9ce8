//! What a guard can do: extend, forget, hand over, lose, and the ways to look at it and to force it open.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::future::pending;
use std::time::Duration;

use latchwork_mutex::{ErrorKind, FencingToken, Loss, Mutex, Renew, Ticket};
use latchwork_tests::{LEASE, Place, eventually, go};

#[tokio::test]
async fn extend_lasts_at_least_as_long_and_never_shortens() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    guard
        .extend(LEASE * 10)
        .await
        .expect("extended past the lease in the id");
    assert!(guard.valid_for() > LEASE * 9, "{:?}", guard.valid_for());
    guard.extend(LEASE).await.expect("extended");
    assert!(
        guard.valid_for() > LEASE * 8,
        "never shortened: {:?}",
        guard.valid_for()
    );
    let left = mutex.inspect().await.expect("an answer").holders[0].lease_left;
    assert!(left > LEASE * 8, "at the server neither: {left:?}");
    // Others settle and must not cut it to the lease in its id.
    let other = place.client().await;
    let other = Mutex::new(&other, "a").expect("a mutex");
    assert!(other.try_lock().await.expect("an answer").is_none(), "busy");
    tokio::time::sleep(LEASE * 2).await;
    assert!(other.try_lock().await.expect("an answer").is_none(), "still busy");
    assert!(!guard.is_lost(), "still ours");
    guard.unlock().await.expect("released");
    place.settled("a", Duration::ZERO).await;
    assert!(
        place.members("a").is_empty(),
        "nor the mark of the extension: {:?}",
        place.members("a")
    );
}

#[tokio::test]
async fn extend_refuses_what_cannot_be() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::builder(&client, "a")
        .max_hold(LEASE * 2)
        .build()
        .expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    for (lease, why) in [
        (Duration::ZERO, "zero"),
        (Duration::from_secs(24 * 60 * 60 + 1), "over a day"),
        (LEASE * 3, "past the maximum hold"),
    ] {
        let error = guard.extend(lease).await.expect_err(why);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{why}: {error}");
    }
    assert!(!guard.is_lost(), "nothing happened to it");
}

#[tokio::test]
async fn max_hold_ends_a_hold_that_is_renewed() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::builder(&client, "a")
        .max_hold(LEASE * 2)
        .build()
        .expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(Mutex::new(&client, "a").expect("a mutex").lock());
    tokio::time::sleep(LEASE * 3 / 2).await;
    assert!(!guard.is_lost(), "renewed past its lease");
    assert_eq!(guard.lost().await, Loss::Expired, "and no further");
    waiter
        .await
        .expect("no panic")
        .expect("the next one")
        .unlock()
        .await
        .expect("released");
}

#[tokio::test]
async fn a_forgotten_guard_keeps_others_out_until_its_lease_ends() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    mutex.lock().await.expect("the lock").forget();
    assert_eq!(client.live(), 0, "nobody renews it");
    assert!(
        mutex.try_lock().await.expect("an answer").is_none(),
        "but it is held"
    );
    let guard = mutex.lock().await.expect("when the lease is over");
    guard.unlock().await.expect("released");
}

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
async fn force_unlock_tells_the_holder_at_once_and_hands_on() {
    let place = Place::shared();
    let (one, two) = (
        place
            .builder()
            .lease(Duration::from_secs(60))
            .connect()
            .await
            .expect("a client"),
        place.client().await,
    );
    let guard = Mutex::new(&one, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let mutex = Mutex::new(&two, "a").expect("a mutex");
    let waiter = go(mutex.lock());
    eventually("it waits", || place.members("a").len() == 3).await;
    assert!(mutex.force_unlock().await.expect("an answer"), "somebody held");
    assert_eq!(
        guard.lost().await,
        Loss::Forced,
        "told, though its lease has most of a minute left"
    );
    let next = waiter.await.expect("no panic").expect("handed on");
    let error = guard.unlock().await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    assert!(!next.is_lost(), "the late release touches nobody");
    assert!(mutex.is_locked().await.expect("an answer"), "still held");
    next.unlock().await.expect("released");
    assert!(!mutex.force_unlock().await.expect("an answer"), "nobody holds");
}

#[tokio::test]
async fn run_drops_its_body_when_the_hold_is_lost() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    assert_eq!(mutex.run(async |_| 7).await.expect("done"), 7, "its result");
    assert_eq!(mutex.try_run(async |_| 8).await.expect("done"), Some(8), "free");
    let error = mutex
        .run(async |guard| {
            let other = mutex.try_run(async |_| 9).await.expect("an answer");
            assert_eq!(other, None, "busy");
            mutex.force_unlock().await.expect("forced");
            assert!(!guard.name().as_bytes().is_empty(), "borrowed");
            pending::<()>().await;
        })
        .await
        .expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    assert_eq!(
        error.name().map(latchwork_mutex::Name::as_bytes),
        Some(&b"a"[..]),
        "names it"
    );
    place.settled("a", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_cancellation_token_is_cancelled_by_loss_and_by_release() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let token = guard.cancellation_token();
    tokio::time::sleep(LEASE * 2).await;
    assert!(!token.is_cancelled(), "held");
    guard.unlock().await.expect("released");
    token.cancelled().await;

    let guard = mutex.lock().await.expect("the lock");
    let token = guard.cancellation_token();
    mutex.force_unlock().await.expect("forced");
    token.cancelled().await;
    assert!(guard.is_lost(), "lost");
    let guard = mutex.lock().await.expect("the lock");
    let token = guard.cancellation_token();
    drop(guard);
    token.cancelled().await;
}

#[tokio::test]
async fn lost_stays_pending_after_a_release() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::builder(&client, "a")
        .lease(Duration::from_millis(50))
        .build()
        .expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let (lost, hold) = (guard.lost(), guard.hold());
    guard.unlock().await.expect("released");
    let waited = tokio::time::timeout(Duration::from_millis(150), lost).await;
    assert!(waited.is_err(), "three leases later: {waited:?}");
    assert!(!hold.is_lost(), "released is not lost");
    assert_eq!(hold.valid_for(), Duration::ZERO, "but not valid either");
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

#[tokio::test]
async fn names_of_any_bytes_are_locks_of_their_own() {
    let place = Place::shared();
    let client = place.client().await;
    let long = vec![b'x'; 512];
    let names: [&[u8]; 8] = [b"{", b"}", b"{}", b"a}b", b"\0", b" ", b"\xff\xfe", &long];
    let mut guards = Vec::new();
    for name in names {
        let mutex = Mutex::new(&client, name).expect("a mutex");
        guards.push(mutex.try_lock().await.expect("an answer").expect("free"));
    }
    for guard in guards {
        guard.unlock().await.expect("released");
    }
}
