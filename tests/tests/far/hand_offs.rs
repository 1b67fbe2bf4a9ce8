//! No hand-off between tasks of two clients is lost, on fifty names of every primitive at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use latchwork_mutex::Client;
use latchwork_testkit::TestServer;
use latchwork_tests::distance::Distance;
use latchwork_tests::subject::{Subject, all};
use latchwork_tests::{Fixture, go, messages};

use super::{distances, number};

const NAMES: usize = 50;

/// Tasks that take turns on one name.
const TASKS: usize = 4;

/// On each name, tasks of two clients take all there is, in turn. Somebody else holds it first, so each
/// of their turns is handed over to them.
async fn hand_offs(subject: &'static dyn Subject, rounds: usize) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let builder = Client::builder().url(fixture.url()).prefix(&fixture.prefix);
        let client = fixture.distance.patient(builder).connect().await;
        clients.push(client.expect("a client"));
    }
    let near = Client::builder().url(server.url()).prefix(&fixture.prefix);
    let near = near.connect().await.expect("a client");
    let (mut held, mut tasks) = (Vec::new(), Vec::new());
    let lost = Arc::new(AtomicUsize::new(0));
    for name in 0..NAMES {
        let fixture = fixture.named(format!("n{name}"));
        held.push(fixture.all(&near).await);
        for task in 0..TASKS {
            let client = clients[task % 2].clone();
            let (name, lost) = (fixture.name.clone(), Arc::clone(&lost));
            tasks.push(go(async move {
                for _ in 0..rounds {
                    let guard = subject.take_all(&client, name.as_bytes()).await.expect("granted");
                    tokio::task::yield_now().await;
                    let is_lost = guard.is_lost() || guard.release().await.is_err();
                    lost.fetch_add(usize::from(is_lost), Ordering::Relaxed);
                }
            }));
        }
    }
    for name in 0..NAMES {
        fixture.named(format!("n{name}")).queued(TASKS).await;
    }
    server.reset_stats().expect("an answer");
    for hold in held {
        fixture.released(hold).await;
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let turns = NAMES * TASKS * rounds;
    let handed = usize::try_from(messages(&server)).expect("small");
    let lost = lost.load(Ordering::Relaxed);
    assert_eq!(lost, 0, "{}: lost of {turns}", subject.name());
    assert!(
        handed * 4 >= turns * 3,
        "{}: {handed} of {turns} were handed over",
        subject.name()
    );
}

/// For every primitive at once; as often as the environment says, or once for each task.
async fn of_all(distance: Distance) {
    let rounds = number("LATCHWORK_HAND_OFFS").map_or(1, |all| all.div_ceil(NAMES * TASKS));
    let of_all = all().into_iter().map(|subject| go(hand_offs(subject, rounds)));
    let of_all: Vec<_> = distance.at(async { of_all.collect() }).await;
    for one in of_all {
        one.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hand_off_on_fifty_names_is_lost() {
    for distance in distances(&[20, 200]) {
        of_all(distance).await;
    }
}
