//! A reset ends the waits for the old generation and begins a new one.

use latchwork_latch::ErrorKind;
use latchwork_tests::soon;

use super::common::{expect, latch, opened, passed, settled, shared, waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h63_a_reset_ends_the_waits() {
    let fixture = shared();
    let [client, other] = [fixture.client().await, fixture.client().await];
    let (one, two) = (latch(&client, 2), latch(&other, 2));
    let waiters: Vec<_> = [&one, &one, &two].map(waiting).into();
    fixture.queued(3).await;
    one.count_down().await.expect("counted");
    two.reset(2).await.expect("reset");
    for waiter in waiters {
        let error = expect(soon("a reset", waiter).await.expect("no panic"), ErrorKind::Reset);
        assert!(!error.is_transient(), "{error}");
    }
    // Everything is as in the beginning, and the old waits do not come back.
    assert_eq!(one.count().await.expect("an answer"), 2);
    let waiter = waiting(&one);
    fixture.queued(1).await;
    assert_eq!(two.count_down_by(2).await.expect("counted"), 0);
    passed(waiter).await;
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_latch_can_be_used_again_and_again() {
    let fixture = shared();
    let [client, other] = [fixture.client().await, fixture.client().await];
    let (one, two) = (latch(&client, 1), latch(&other, 1));
    for round in 1..=20 {
        let waiter = waiting(&one);
        fixture.queued(1).await;
        assert_eq!(two.count_down().await.expect("counted"), 0);
        passed(waiter).await;
        assert_eq!(one.inspect().await.expect("an answer").generation, round);
        one.reset(1).await.expect("reset");
        assert!(!two.try_wait().await.expect("an answer"), "not yet");
    }
    settled(&fixture, &[&client, &other]).await;
}

#[tokio::test]
async fn after_a_reset_to_another_count_the_counts_of_handles_do_not_matter() {
    let fixture = shared();
    let client = fixture.client().await;
    let three = latch(&client, 3);
    assert_eq!(three.count_down().await.expect("counted"), 2);
    three.reset(3).await.expect("reset");
    expect(latch(&client, 4).count().await, ErrorKind::Mismatch);
    three.reset(5).await.expect("reset");
    for handle in [three.clone(), latch(&client, 4), opened(&client)] {
        assert_eq!(handle.count().await.expect("an answer"), 5);
    }
    three.reset(3).await.expect("reset");
    assert_eq!(latch(&client, 4).count().await.expect("an answer"), 3);
    three.reset(0).await.expect("reset");
    soon("a pass", latch(&client, 4).wait()).await.expect("it passes");
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn a_reset_makes_what_is_not_there() {
    let fixture = shared();
    let client = fixture.client().await;
    latch(&client, 3).reset(2).await.expect("made");
    let info = opened(&client).inspect().await.expect("an answer");
    assert_eq!((info.count, info.generation), (2, 1));
    assert_eq!(
        latch(&client, 3).count_down().await.expect("counted"),
        1,
        "its number counts"
    );
    settled(&fixture, &[&client]).await;
}
