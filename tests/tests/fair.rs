//! The fair mutex: its order, places, priorities and bounds.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex as StdMutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use latchwork_mutex::{Client, ErrorKind, FairMutex, Loss, MutexGuard};
use latchwork_testkit::{ConnKind, TestServer};
use latchwork_tests::{LEASE, MINUTE, Other, Place, Record, eventually, go, soon};
use tokio::task::JoinHandle;

fn lock(client: &Client) -> FairMutex {
    FairMutex::new(client, "a").unwrap()
}

fn record<'a>(place: &Place<'a>) -> Record<'a> {
    place.record("lock", "a")
}

async fn patient(place: &Place<'_>) -> Client {
    place.builder().lease(MINUTE).connect().await.unwrap()
}

type Order = Arc<StdMutex<Vec<u64>>>;

/// Waits, notes its number, and releases.
fn turn(lock: &FairMutex, number: u64, order: &Order) -> JoinHandle<()> {
    let (waiting, order) = (lock.lock(), Arc::clone(order));
    go(async move {
        let guard = waiting.await.unwrap();
        order.lock().unwrap().push(number);
        guard.unlock().await.unwrap();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_of_many_clients_are_served_in_the_order_in_which_the_server_saw_them() {
    const WAITERS: u64 = 30;
    let place = Place::shared();
    let clients = [
        patient(&place).await,
        patient(&place).await,
        patient(&place).await,
    ];
    let held = lock(&clients[0]).lock().await.unwrap();
    let order = Order::default();
    let (mut tasks, mut positions) = (Vec::new(), Vec::new());
    for (number, client) in (0..WAITERS).zip(clients.iter().cycle()) {
        let waiting = lock(client).lock();
        positions.push(waiting.positions()); // the first one comes when the reply has
        let order = Arc::clone(&order);
        tasks.push(go(async move {
            let guard = waiting.await.unwrap();
            order.lock().unwrap().push(number);
            guard.unlock().await.unwrap();
        }));
    }
    eventually("all wait", || record(&place).waiters() == 30).await;
    let mut seen = Vec::new();
    for (number, mut position) in (0..WAITERS).zip(positions) {
        let position = position.next().await.expect("it waits");
        seen.push((position, number));
    }
    seen.sort_unstable();
    let places: Vec<u64> = seen.iter().map(|(position, _)| *position).collect();
    assert_eq!(places, (0..WAITERS).collect::<Vec<_>>(), "each has its own");
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    let seen: Vec<u64> = seen.into_iter().map(|(_, number)| number).collect();
    assert_eq!(*order.lock().unwrap(), seen, "in the order of their places");
    record(&place).settled().await;
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_fall_to_zero_and_end_with_the_grant() {
    let place = Place::shared();
    let client = patient(&place).await;
    let lock = lock(&client);
    let record = record(&place);
    let held = lock.lock().await.unwrap();
    let first = record.queue(lock.lock()).await;
    let second = record.queue(lock.lock()).await;
    let mut waiting = pin!(lock.lock());
    assert_eq!(waiting.position().await.unwrap(), None, "not polled yet");
    let mut positions = waiting.positions();
    let mut seen = Vec::new();
    let (mut first, mut second, mut held) = (Some(first), Some(second), Some(held));
    let guard = loop {
        tokio::select! {
            guard = &mut waiting => break guard.unwrap(),
            Some(position) = positions.next() => {
                seen.push(position);
                match position {
                    2 => {
                        if let Some(held) = held.take() {
                            held.unlock().await.unwrap();
                        }
                    }
                    1 => {
                        if let Some(first) = first.take() {
                            soon("the first", first).await.unwrap().unlock().await.unwrap();
                        }
                    }
                    _ => {
                        if let Some(second) = second.take() {
                            soon("the second", second).await.unwrap().unlock().await.unwrap();
                        }
                    }
                }
            }
        }
    };
    seen.dedup();
    assert_eq!(seen, [2, 1, 0], "one place after the other");
    assert_eq!(soon("the end", positions.next()).await, None, "it has the lock");
    assert_eq!(waiting.position().await.unwrap(), None, "it does not wait");
    guard.unlock().await.unwrap();
    record.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_cost_a_request_each_and_nothing_while_nobody_polls() {
    let place = Place::shared();
    let holder = patient(&place).await;
    let (proxy, client) = place.counted().await;
    let held = lock(&holder).lock().await.unwrap();
    let waiting = lock(&client).lock();
    let mut positions = waiting.positions();
    let waiting = record(&place).queue(waiting).await;
    let asked = || proxy.request_names().get("ZRANK").copied().unwrap_or(0);
    assert_eq!(asked(), 0, "nobody has polled it");
    let start = Instant::now();
    for count in 1..=3 {
        assert_eq!(soon("a position", positions.next()).await, Some(0));
        assert_eq!(asked(), count, "one request each");
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "once a second");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(asked(), 3, "nothing while nobody polls");
    held.unlock().await.unwrap();
    let guard = soon("the grant", waiting).await.unwrap();
    assert_eq!(soon("the end", positions.next()).await, None);
    assert_eq!(asked(), 3, "nor after the grant");
    guard.unlock().await.unwrap();
    eventually("nothing is under way", || client.live() == 0).await;
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 0, "nothing on the inbox");
}

#[tokio::test]
async fn positions_end_when_the_future_is_gone() {
    let place = Place::shared();
    let client = patient(&place).await;
    let lock = lock(&client);
    let held = lock.lock().await.unwrap();
    // Never polled.
    let unpolled = lock.lock();
    let mut positions = unpolled.positions();
    drop(unpolled);
    assert_eq!(soon("the end", positions.next()).await, None);
    // Given up while it waits, with a request under way or not.
    let waiting = lock.lock();
    let mut positions = waiting.positions();
    let waiting = record(&place).queue(waiting).await;
    assert_eq!(soon("a position", positions.next()).await, Some(0));
    waiting.abort();
    assert_eq!(soon("the end", positions.next()).await, None);
    // Its time was over.
    let bounded = lock.try_lock_for(LEASE / 10);
    let mut positions = bounded.positions();
    assert!(bounded.await.unwrap().is_none(), "busy");
    assert_eq!(soon("the end", positions.next()).await, None);
    held.unlock().await.unwrap();
}

/// The order in which these priorities are served when they come one after the other.
async fn served(place: &Place<'_>, boost: Duration, priorities: &[i8], pause: Duration) -> Vec<u64> {
    let client = patient(place).await;
    let builder = FairMutex::builder(&client, "a").priority_boost(boost);
    let lock = builder.build().unwrap();
    let held = lock.lock().await.unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for (number, priority) in (0..).zip(priorities) {
        let before = record(place).waiters();
        tasks.push(turn(&lock.with_priority(*priority), number, &order));
        record(place).queued(before + 1).await;
        tokio::time::sleep(pause).await;
    }
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    record(place).settled().await;
    assert_eq!(record(place).marks(), Vec::<String>::new(), "no mark is left");
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
        let place = Place::shared();
        let found = served(&place, hour, priorities, Duration::ZERO).await;
        assert_eq!(found, order, "{priorities:?}: by priority, then as they came");
    }
}

#[tokio::test]
async fn nobody_starves_who_has_waited_for_longer_than_the_head_start() {
    let place = Place::shared();
    let boost = Duration::from_millis(20);
    // 60 ms ahead, of one who is 200 ms before it.
    let found = served(&place, boost, &[0, 3, 3, -3], Duration::from_millis(200)).await;
    assert_eq!(found, [0, 1, 2, 3], "as they came");
    // Back by 60 ms, before one that came 200 ms later; and the same with long head starts.
    let place = Place::shared();
    let found = served(&place, boost * 100, &[-3, 0, 3], Duration::from_millis(20)).await;
    assert_eq!(found, [2, 1, 0], "by priority");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_leaves_nothing() {
    let place = Place::shared();
    let (client, other) = (patient(&place).await, patient(&place).await);
    let small = |client: &Client| {
        let builder = FairMutex::builder(client, "a").max_waiters(2);
        builder.build().unwrap()
    };
    let record = record(&place);
    let held = small(&client).lock().await.unwrap();
    let first = record.queue(small(&client).lock()).await;
    let second = record.queue(small(&client).lock()).await;
    let full = small(&other);
    for refused in [
        full.lock().await.map(Some),
        full.with_priority(5).lock().await.map(Some),
        full.try_lock_for(MINUTE).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::QueueFull, "at once");
    }
    assert!(
        full.try_lock().await.unwrap().is_none(),
        "who does not wait is not refused"
    );
    eventually("nothing is left", || other.live() == 0).await;
    assert_eq!((record.holders(), record.waiters()), (1, 2), "as before");
    held.unlock().await.unwrap();
    let next = soon("the first", first).await.unwrap();
    let third = record.queue(full.lock()).await;
    next.unlock().await.unwrap();
    for task in [second, third] {
        soon("the rest", task).await.unwrap().unlock().await.unwrap();
    }
    record.settled().await;
    for bad in [0, 1_000_001] {
        let error = FairMutex::builder(&client, "a")
            .max_waiters(bad)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_boost_out_of_range_is_refused() {
    let place = Place::shared();
    let client = patient(&place).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_dead_waiters_are_skipped_and_the_living_keep_their_order() {
    let server = TestServer::start().unwrap();
    let place = Place::on(&server);
    let client = patient(&place).await;
    let lock = lock(&client);
    let record = record(&place);
    let held = lock.lock().await.unwrap();
    let order = Order::default();
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    let (mut tasks, mut dead) = (Vec::new(), Vec::new());
    for number in 0..3 {
        dead.push(Other::spawn(program, &place, "fair", 1, MINUTE, MINUTE));
        let before = record.waiters();
        eventually("it waits", || {
            record.waiters() > before || before == 2 * number + 1
        })
        .await;
        record.queued(2 * number + 1).await;
        tasks.push(turn(&lock, number as u64, &order));
        record.queued(2 * number + 2).await;
    }
    let channels = format!("{}:inbox:*", place.prefix);
    for other in &mut dead {
        other.kill();
    }
    eventually("the server sees it", || {
        let reply = server.admin(&["PUBSUB", "CHANNELS", &channels]).unwrap();
        reply.items().len() == 1
    })
    .await;
    held.unlock().await.unwrap();
    // A minute for each of the dead, if one of them were granted before the living.
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2], "as they came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_lives_keeps_its_place_for_longer_than_the_patience() {
    let place = Place::shared();
    let (one, two) = (patient(&place).await, patient(&place).await);
    let held = lock(&one).lock().await.unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for (number, client) in (0..).zip([&two, &one, &two]) {
        tasks.push(turn(&lock(client), number, &order));
        let count = usize::try_from(number + 1).unwrap();
        record(&place).queued(count).await;
    }
    // A place that nobody refreshes is dropped after 10.24 s.
    tokio::time::sleep(Duration::from_secs(11)).await;
    // Settles, and stands behind them.
    tasks.push(turn(&lock(&one), 3, &order));
    record(&place).queued(4).await;
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3], "as they came");
}

#[tokio::test]
async fn trying_running_looking_and_forcing() {
    let place = Place::shared();
    let client = patient(&place).await;
    let lock = lock(&client);
    assert!(!lock.is_locked().await.unwrap(), "free");
    let guard: MutexGuard = lock.try_lock().await.unwrap().expect("free");
    for busy in [
        lock.try_lock_for(Duration::ZERO).await.unwrap(),
        lock.try_lock_for(LEASE / 10).await.unwrap(),
        lock.try_lock_until(Instant::now()).await.unwrap(),
        lock.with_priority(100).try_lock().await.unwrap(),
    ] {
        assert!(busy.is_none(), "held, whatever the priority");
    }
    assert!(lock.try_run(async |_| ()).await.unwrap().is_none(), "held");
    let info = lock.inspect().await.unwrap();
    assert_eq!(info.holders[0].token, Some(guard.fencing_token()), "{info:?}");
    assert!(lock.force_unlock().await.unwrap(), "held");
    assert_eq!(soon("loss", guard.lost()).await, Loss::Forced, "told");
    let token = lock.run(async |turn| turn.fencing_token()).await.unwrap();
    assert!(token > guard.fencing_token(), "tokens rise");
    let next = lock.try_run(async |turn| turn.fencing_token()).await.unwrap();
    assert!(next.unwrap() > token, "released, and taken again");
    drop(guard);
    record(&place).settled().await;
}

#[tokio::test]
async fn many_of_one_priority_that_come_at_once_are_served_as_they_came() {
    const EACH: u64 = 500;
    let place = Place::shared();
    let client = patient(&place).await;
    let builder = FairMutex::builder(&client, "a").priority_boost(Duration::from_secs(3600));
    let lock = builder.build().unwrap();
    let held = lock.lock().await.unwrap();
    let preferred = lock.with_priority(1);
    // One connection, and polled one after the other: the server sees them in this order, many in a millisecond.
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
        .map(|(number, future)| {
            let order = Arc::clone(&order);
            go(async move {
                let guard = future.await.unwrap();
                order.lock().unwrap().push(number);
                guard.unlock().await.unwrap();
            })
        })
        .collect();
    eventually("all wait", || record(&place).waiters() == tasks.len()).await;
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
    record(&place).settled().await;
}
