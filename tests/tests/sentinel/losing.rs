//! What a dead primary did not copy is lost, its holders hear of it at once, and tokens rise.

use std::time::Duration;

use latchwork_mutex::Loss;
use latchwork_tests::{Fixture, granted, locked, locking, soon, unlocked};

use super::{follows, sentinel};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h54_a_grant_that_was_not_copied_is_lost_and_its_holder_hears_of_it_at_once() {
    let all = sentinel(1);
    let fixture = Fixture::behind(&all);
    // Their next renewals would be due in twenty minutes.
    let hour = Duration::from_secs(3600);
    let (one, two) = (
        fixture.client_with(|b| b.lease(hour)).await,
        fixture.client_with(|b| b.lease(hour)).await,
    );
    let kept = locked(&one, "kept").await;
    all.wait_replicated().expect("copied");
    let old = all.master().expect("a primary");
    let replica = &all.replicas().expect("replicas")[0];
    replica.freeze().expect("frozen");
    // What was sent to it would be in its socket, and applied when it thaws.
    old.admin(&["CLIENT", "KILL", "TYPE", "replica"])
        .expect("cut off");
    let lost = locked(&one, "lost").await;
    let waiter = locking(&two, "lost");
    tokio::time::sleep(Duration::from_millis(100)).await; // it has joined the queue there, or will ask here
    old.kill().expect("killed");
    replica.thaw().expect("thawed");
    let new = all.wait_switched(old).expect("another primary");
    follows(&one, new).await;
    let token = lost.fencing_token();
    let why = soon("a loss", lost.lost()).await;
    assert!(
        matches!(why, Loss::Vanished | Loss::Taken),
        "the new primary says so: {why}"
    );
    assert!(!kept.is_lost(), "what was copied is there");
    let next = granted(waiter).await;
    assert!(next.fencing_token() > token, "tokens rise");
    unlocked(next).await;
    unlocked(kept).await;
}
