//! A priority is a head start of a known length, and equal priorities keep their order.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use latchwork_mutex::{ErrorKind, FairMutex};
use latchwork_tests::{Fixture, soon};

use super::{Order, turn};

/// The order in which these priorities are served when they come one after the other.
async fn served(fixture: &Fixture<'_>, boost: Duration, priorities: &[i8], pause: Duration) -> Vec<u64> {
    let client = fixture.patient().await;
    let builder = FairMutex::builder(&client, "a").priority_boost(boost);
    let lock = builder.build().unwrap();
    let held = lock.lock().await.unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for (number, priority) in (0..).zip(priorities) {
        let before = fixture.waiters();
        tasks.push(turn(lock.with_priority(*priority).lock(), number, &order));
        fixture.queued(before + 1).await;
        tokio::time::sleep(pause).await;
    }
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    fixture.settled().await;
    assert_eq!(fixture.marks(), Vec::<String>::new(), "no mark is left");
    let order = order.lock().unwrap();
    order.clone()
}

#[tokio::test]
async fn priorities_are_a_head_start() {
    let hour = Duration::from_secs(3600);
    for (priorities, order) in [
        (&[0, -2, 3, 0, 3][..], &[2, 4, 0, 3, 1][..]),
        (&[1, 1, 1, 1], &[0, 1, 2, 3]),
        (&[-1, 0, -1, 0], &[1, 3, 0, 2]),
        (&[i8::MIN, 0, i8::MAX, -1, 1], &[2, 4, 1, 3, 0]),
    ] {
        let fixture = Fixture::shared();
        let found = served(&fixture, hour, priorities, Duration::ZERO).await;
        assert_eq!(found, order, "{priorities:?}: by priority, then as they came");
    }
}

#[tokio::test]
async fn a_waiter_older_than_the_head_start_is_not_overtaken() {
    let fixture = Fixture::shared();
    let boost = Duration::from_millis(20);
    // 60 ms ahead, of one who is 200 ms before it.
    let found = served(&fixture, boost, &[0, 3, 3, -3], Duration::from_millis(200)).await;
    assert_eq!(found, [0, 1, 2, 3], "as they came");
    // Back by 60 ms, before one that came 200 ms later; and the same with long head starts.
    let fixture = Fixture::shared();
    let found = served(&fixture, boost * 100, &[-3, 0, 3], Duration::from_millis(20)).await;
    assert_eq!(found, [2, 1, 0], "by priority");
}

#[tokio::test]
async fn a_boost_out_of_range_is_refused() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let ms = Duration::from_millis(1);
    let hour = Duration::from_secs(3600);
    for bad in [Duration::ZERO, ms / 2, hour + ms, Duration::MAX] {
        let error = FairMutex::builder(&client, "a")
            .priority_boost(bad)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
        let text = error.to_string();
        assert!(text.contains("boost") && text.contains("`a`"), "{text}");
    }
    for good in [ms, hour] {
        assert!(
            FairMutex::builder(&client, "a")
                .priority_boost(good)
                .build()
                .is_ok()
        );
    }
}

#[tokio::test]
async fn many_waiters_of_one_priority_that_arrive_at_once_are_served_in_order() {
    const EACH: u64 = 500;
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let builder = FairMutex::builder(&client, "a").priority_boost(Duration::from_secs(3600));
    let lock = builder.build().unwrap();
    let held = lock.lock().await.unwrap();
    let preferred = lock.with_priority(1);
    // One connection, and polled one after the other: the server sees them in this order, many in a
    // millisecond.
    let waiting = (0..2 * EACH).map(|number| {
        let first = number > 0 && number < EACH;
        let lock = if first { &lock } else { &preferred };
        Box::pin(lock.lock())
    });
    let mut waiting: Vec<_> = waiting.collect();
    for future in &mut waiting {
        let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending()));
        assert!(first.await, "held");
    }
    let order = Order::default();
    let tasks: Vec<_> = (0..)
        .zip(waiting)
        .map(|(number, future)| turn(future, number, &order))
        .collect();
    fixture.queued(tasks.len()).await;
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    let expected = (0..1).chain(EACH..2 * EACH).chain(1..EACH);
    assert_eq!(
        *order.lock().unwrap(),
        expected.collect::<Vec<_>>(),
        "by priority, then as they came"
    );
    fixture.settled().await;
}
