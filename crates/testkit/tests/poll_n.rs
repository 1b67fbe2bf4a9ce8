//! Futures are dropped at exactly the poll that was asked for.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use latchwork_testkit::{Outcome, drop_after_polls, drop_when_woken};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Sets its flag when it is dropped.
struct Watched(Rc<Cell<bool>>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Pending three times, waking itself; ready at the fourth poll. Counts its polls.
async fn four_polls(polls: Rc<Cell<usize>>) -> &'static str {
    poll_fn(|context| {
        polls.set(polls.get() + 1);
        if polls.get() == 4 {
            return Poll::Ready("done");
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[tokio::test]
async fn polls_as_often_as_told() {
    for wanted in 0..6 {
        let polls = Rc::new(Cell::new(0));
        let outcome = drop_after_polls(four_polls(Rc::clone(&polls)), wanted).await;
        assert_eq!(polls.get(), wanted.min(4), "{wanted} polls were wanted");
        let expected = if wanted < 4 {
            Outcome::Dropped
        } else {
            Outcome::Completed("done")
        };
        assert_eq!(outcome, expected, "after {wanted} polls");
    }
}

#[tokio::test]
async fn is_dropped_before_it_returns() {
    let dropped = Rc::new(Cell::new(false));
    let watched = Watched(Rc::clone(&dropped));
    let future = async move {
        let _watched = watched;
        std::future::pending::<()>().await;
    };
    assert!(drop_after_polls(future, 1).await.is_dropped());
    assert!(dropped.get());
}

#[tokio::test]
async fn only_wake_ups_of_its_own_count() {
    let (sender, receiver) = oneshot::channel::<u8>();
    let noise = Notify::new();
    let neighbour = async {
        for _ in 0..10 {
            tokio::task::yield_now().await; // wakes the task that both are in
            noise.notify_one();
        }
        sender.send(7).unwrap();
    };
    let (outcome, ()) = tokio::join!(drop_after_polls(receiver, 2), neighbour);
    assert_eq!(
        outcome.completed(),
        Some(Ok(7)),
        "the noise was taken for a wake-up"
    );
}

#[tokio::test]
async fn woken_and_dropped_it_never_sees_what_came() {
    let (sender, receiver) = oneshot::channel::<u8>();
    let waiting = drop_when_woken(receiver, 1);
    let sending = async {
        tokio::task::yield_now().await;
        sender.send(7)
    };
    let (outcome, sent) = tokio::join!(waiting, sending);
    assert_eq!(sent, Ok(()), "it was still there when the value came");
    assert_eq!(outcome, Outcome::Dropped);
}

#[tokio::test(start_paused = true)]
async fn without_a_wake_up_it_stays() {
    let waiting = drop_when_woken(std::future::pending::<()>(), 1);
    assert!(timeout(Duration::from_secs(60), waiting).await.is_err());
}
