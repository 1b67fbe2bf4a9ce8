//! Waiters are served in order of arrival, leaving out the dead.

use std::time::Duration;

use futures_util::StreamExt;
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, MINUTE, Other, eventually, soon};

use super::{Order, lock, turn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_of_many_clients_are_served_in_order_of_arrival() {
    const WAITERS: u64 = 30;
    let fixture = Fixture::shared();
    let clients = [
        fixture.patient().await,
        fixture.patient().await,
        fixture.patient().await,
    ];
    let held = lock(&clients[0]).lock().await.unwrap();
    let order = Order::default();
    let (mut tasks, mut positions) = (Vec::new(), Vec::new());
    for (number, client) in (0..WAITERS).zip(clients.iter().cycle()) {
        let waiting = lock(client).lock();
        positions.push(waiting.positions());
        tasks.push(turn(waiting, number, &order));
        // The server has this one before the next is sent.
        fixture.queued(tasks.len()).await;
    }
    let mut places = Vec::new();
    for position in &mut positions {
        places.push(position.next().await.expect("it waits"));
    }
    let arrived: Vec<_> = (0..WAITERS).collect();
    assert_eq!(places, arrived, "a place each, behind those that came before");
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), arrived, "in order of arrival");
    fixture.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_dead_waiters_are_skipped_and_the_living_keep_their_order() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let held = lock.lock().await.unwrap();
    let order = Order::default();
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    let (mut tasks, mut dead) = (Vec::new(), Vec::new());
    for number in 0..3 {
        dead.push(Other::spawn(program, &fixture, "fair", 1, MINUTE, MINUTE));
        let before = fixture.waiters();
        eventually("it waits", || {
            fixture.waiters() > before || before == 2 * number + 1
        })
        .await;
        fixture.queued(2 * number + 1).await;
        tasks.push(turn(lock.lock(), number as u64, &order));
        fixture.queued(2 * number + 2).await;
    }
    let channels = format!("{}:inbox:*", fixture.prefix);
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
async fn a_live_waiter_keeps_its_place_beyond_the_patience() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let held = lock(&one).lock().await.unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for (number, client) in (0..).zip([&two, &one, &two]) {
        tasks.push(turn(lock(client).lock(), number, &order));
        let count = usize::try_from(number + 1).unwrap();
        fixture.queued(count).await;
    }
    // A place that nobody refreshes is dropped after 10.24 s.
    tokio::time::sleep(Duration::from_secs(11)).await;
    // Settles, and stands behind them.
    tasks.push(turn(lock(&one).lock(), 3, &order));
    fixture.queued(4).await;
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3], "as they came");
}
