//! A stolen lock goes from its holder to the caller in one step, past everybody who waits.

use std::time::Duration;

use latchwork_mutex::{ErrorKind, FairMutex, FencingToken, Loss, Mutex};
use latchwork_tests::{Fixture, granted, locked, locking, mutex, soon, unlocked};

#[tokio::test]
async fn a_stolen_lock_has_a_higher_token_and_the_old_holder_learns_it() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let old = locked(&one, "a").await;
    let waiter = locking(&one, "a");
    fixture.queued(1).await;
    let new = soon("a theft", mutex(&two, "a").steal()).await.expect("the lock");
    assert!(new.fencing_token() > old.fencing_token(), "a newer token");
    assert_eq!(soon("the loss", old.lost()).await, Loss::Forced);
    let error = old.unlock().await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    assert_eq!(fixture.waiters(), 1, "the waiter keeps its place");
    assert!(!new.is_lost(), "and the release of the old hold changes nothing");
    let before = new.fencing_token();
    unlocked(new).await;
    let next = granted(waiter).await;
    assert!(next.fencing_token() > before, "and is next");
    unlocked(next).await;
    fixture.settled().await;
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_theft_with_a_token_floor_too_far_ahead_is_refused_and_costs_no_hold() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let old = locked(&client, "a").await;
    let two_days = 2 * 24 * 3600 * 1_000_000;
    let floor = FencingToken::new(old.fencing_token().get() + two_days);
    let builder = Mutex::builder(&client, "a").token_floor(floor);
    let stolen = builder.build().expect("a mutex").steal().await;
    let error = stolen.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("token floor"), "{error}");
    unlocked(old).await;
    fixture.settled().await;
}

#[tokio::test]
async fn a_ticket_below_the_token_floor_is_refused_and_stays_good() {
    let fixture = Fixture::shared();
    let client = fixture.steady().await;
    let ticket = locked(&client, "a").await.into_ticket().await.expect("a ticket");
    let builder = Mutex::builder(&client, "a").token_floor(ticket.token());
    let resumed = builder.build().expect("a mutex").resume(&ticket).await;
    let error = resumed.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("token floor"), "{error}");
    let guard = mutex(&client, "a").resume(&ticket).await.expect("the hold");
    unlocked(guard).await;
    fixture.settled().await;
}

#[tokio::test]
async fn a_free_lock_can_be_stolen_too() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fair = FairMutex::new(&client, "a").expect("a mutex");
    let guard = fair.steal().await.expect("the lock");
    assert!(fair.is_locked().await.expect("an answer"), "held");
    drop(guard);
    fixture.settled().await;
}

#[tokio::test]
async fn a_theft_that_is_dropped_leaves_nothing() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    for polls in 1.. {
        let lock = mutex(&client, "a");
        let outcome = latchwork_testkit::drop_after_polls(lock.steal(), polls).await;
        let is_over = !outcome.is_dropped();
        drop(outcome);
        fixture.settled().await;
        if is_over {
            break;
        }
    }
    assert_eq!(client.live(), 0, "nothing is left");
}

#[tokio::test]
async fn a_theft_does_not_wait_for_the_least_time_of_a_hold() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.client().await, fixture.steady().await);
    let builder = Mutex::builder(&one, "a").hold_at_least(Duration::from_secs(3600));
    let kept = builder.build().expect("a mutex");
    let old = kept.lock().await.expect("the lock");
    let new = soon("a theft", mutex(&two, "a").steal()).await.expect("the lock");
    assert_eq!(soon("the loss", old.lost()).await, Loss::Forced);
    unlocked(new).await;
    // Also when its holder has left.
    unlocked(kept.lock().await.expect("the lock")).await;
    assert!(
        mutex(&two, "a").try_lock().await.expect("an answer").is_none(),
        "in use"
    );
    unlocked(soon("a theft", mutex(&two, "a").steal()).await.expect("the lock")).await;
    fixture.settled().await;
}
