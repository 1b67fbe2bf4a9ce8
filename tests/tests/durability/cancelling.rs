//! A future that is dropped while its grant waits for replicas leaves nothing behind.

use latchwork_core::ErrorKind;
use latchwork_testkit::{Outcome, drop_after_polls, drop_when_woken};
use latchwork_tests::subject;
use latchwork_tests::{Fixture, eventually, soon};

use super::{ENOUGH, Group, SHORT, durable, replicas};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_at_any_poll_it_leaves_nothing() {
    let group = Group::joined(1).await;
    for (is_frozen, within) in [(false, ENOUGH), (true, SHORT)] {
        if is_frozen {
            group.freeze();
        }
        for subject in subject::all() {
            let fixture = Fixture::on(&group.primary).with(subject);
            let client = durable(&fixture, replicas(1, within)).await;
            let handle = fixture.handle(&client);
            for when_woken in [false, true] {
                let mut dropped = 0;
                loop {
                    let acquire = handle.acquire();
                    let outcome = if when_woken {
                        soon("a step", drop_when_woken(acquire, dropped)).await
                    } else {
                        soon("a step", drop_after_polls(acquire, dropped)).await
                    };
                    let what = format!("{}: {dropped}, woken: {when_woken}", subject.name());
                    match outcome {
                        Outcome::Dropped => dropped += 1,
                        Outcome::Completed(Ok(guard)) => {
                            assert!(!is_frozen, "{what}");
                            fixture.released(guard).await;
                            break;
                        }
                        Outcome::Completed(Err(error)) => {
                            assert!(
                                is_frozen && error.kind() == ErrorKind::NotDurable,
                                "{what}: {error}"
                            );
                            break;
                        }
                    }
                    fixture.settled().await;
                    eventually(&what, || client.live() == 0).await;
                }
                assert!(dropped >= 3, "{}: {dropped} points only", subject.name());
            }
            fixture.over().await;
        }
    }
    group.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_closed_releases_what_waits() {
    let group = Group::joined(1).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let waiter = fixture.waiting(&client);
    eventually("it is granted", || fixture.is_held()).await;
    client.close().await;
    let refused = soon("a refusal", waiter).await.expect("no panic");
    super::expect(refused, ErrorKind::Closed, &[]);
    fixture.settled().await;
    group.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_ends_leaves_no_connection() {
    let group = Group::joined(1).await;
    let fixture = Fixture::on(&group.primary);
    let connections = || {
        let text = group.primary.info("clients", "connected_clients");
        text.expect("an answer").trim().parse::<u32>().expect("a number")
    };
    let before = connections();
    for close in [true, false] {
        let client = durable(&fixture, replicas(1, ENOUGH)).await;
        let held = fixture.held(&client).await;
        assert_eq!(
            connections(),
            before + 3,
            "commands, inbox, and the one that waits"
        );
        fixture.released(held).await;
        if close {
            client.close().await;
        }
        drop(client);
        eventually("they are closed", || connections() == before).await;
    }
}

/// Someone takes the lock away while its grant waits: there is no guard, and no other is disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_is_lost_meanwhile_is_not_handed_out() {
    let group = Group::joined(1).await;
    group.freeze();
    let fixture = Fixture::on(&group.primary);
    let client = durable(&fixture, replicas(1, ENOUGH)).await;
    let other = fixture.patient().await;
    let waiter = fixture.waiting(&client);
    eventually("it is granted", || fixture.is_held()).await;
    assert!(
        fixture.handle(&other).force().await.expect("forced"),
        "it was held"
    );
    let next = fixture.held(&other).await;
    let refused = soon("a refusal", waiter).await.expect("no panic");
    super::expect(refused, ErrorKind::NotDurable, &["lost before", "force"]);
    fixture.released(next).await;
    fixture.over().await;
    group.thaw();
}
