//! A dropped call of a latch counts once or not at all, and leaves no place.

use std::time::Duration;

use latchwork_testkit::{drop_after_polls, drop_when_woken};
use latchwork_tests::{go, soon};

use super::common::{latch, settled, shared};

/// Polls that no call has.
const MANY: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_leaves_nothing() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 1);
    for woken in [false, true] {
        for polls in 0..3 {
            let wait = async {
                if woken {
                    drop_when_woken(made.wait(), polls).await
                } else {
                    drop_after_polls(made.wait(), polls).await
                }
            };
            // One that is not woken any more waits: it is dropped all the same.
            drop(tokio::time::timeout(Duration::from_millis(30), wait).await);
            settled(&fixture, &[&client]).await;
        }
    }
    assert_eq!(made.count().await.expect("an answer"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_down_counts_once_or_not() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 1000);
    let mut left = made.count().await.expect("an answer");
    for woken in [false, true] {
        for polls in 0..MANY {
            let outcome = if woken {
                drop_when_woken(made.count_down(), polls).await
            } else {
                drop_after_polls(made.count_down(), polls).await
            };
            settled(&fixture, &[&client]).await;
            let now = made.count().await.expect("an answer");
            let counted = left - now;
            left = now;
            match outcome.completed() {
                Some(answer) => {
                    assert_eq!((answer.expect("counted"), counted), (now, 1), "{polls} polls");
                    break;
                }
                None => assert!(counted <= 1, "{counted} after {polls} polls"),
            }
            assert!(polls + 1 < MANY, "it never ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_down_that_waits_leaves_no_place() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 1000);
    for polls in 0..4 {
        let before = made.count().await.expect("an answer");
        let dropped = drop_after_polls(made.count_down_and_wait(), polls);
        drop(tokio::time::timeout(Duration::from_millis(30), dropped).await);
        settled(&fixture, &[&client]).await;
        let now = made.count().await.expect("an answer");
        assert!(before - now <= 1, "{} after {polls} polls", before - now);
        assert!(polls > 0 || before == now, "nothing was sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_with_a_deadline_leaves_nothing() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 1);
    for woken in [false, true] {
        for polls in 0..MANY {
            let wait = made.try_wait_for(Duration::from_millis(20));
            let outcome = if woken {
                drop_when_woken(wait, polls).await
            } else {
                drop_after_polls(wait, polls).await
            };
            settled(&fixture, &[&client]).await;
            if let Some(answer) = outcome.completed() {
                assert!(!answer.expect("an answer"), "it is not open");
                break;
            }
            assert!(polls + 1 < MANY, "it never ends");
        }
    }
    assert_eq!(made.count().await.expect("an answer"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_dropped_as_it_opens_leaves_nothing() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 1);
    for woken in [false, true] {
        for polls in 0..MANY {
            made.reset(1).await.expect("reset");
            let wait = async {
                if woken {
                    drop_when_woken(made.wait(), polls).await
                } else {
                    drop_after_polls(made.wait(), polls).await
                }
            };
            let (outcome, left) = tokio::join!(soon("it opens", wait), made.count_down());
            assert_eq!(left.expect("counted"), 0, "{polls} polls");
            settled(&fixture, &[&client]).await;
            if let Some(answer) = outcome.completed() {
                answer.expect("it passes");
                break;
            }
            assert!(polls + 1 < MANY, "it never ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_happens_or_not_and_the_latch_works_on() {
    let fixture = shared();
    let client = fixture.client().await;
    let made = latch(&client, 2);
    for woken in [false, true] {
        for polls in 0..MANY {
            made.reset(2).await.expect("reset");
            assert_eq!(made.count_down().await.expect("counted"), 1);
            let outcome = if woken {
                drop_when_woken(made.reset(5), polls).await
            } else {
                drop_after_polls(made.reset(5), polls).await
            };
            settled(&fixture, &[&client]).await;
            let count = made.count().await.expect("an answer");
            if let Some(answer) = outcome.completed() {
                answer.expect("reset");
                assert_eq!(count, 5, "it was");
                break;
            }
            assert!(polls > 0 || count == 1, "nothing was sent");
            assert!([1, 5].contains(&count), "{count} after {polls} polls");
            assert!(polls + 1 < MANY, "it never ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h64_sixteen_tasks_that_are_cancelled_at_random_never_count_too_much() {
    const TASKS: u64 = 16;
    const ROUNDS: u64 = 60;
    let fixture = shared();
    let clients = [fixture.client().await, fixture.client().await];
    let all = u32::MAX;
    latch(&clients[0], all).count().await.expect("made");
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let made = latch(&clients[usize::from(task % 2 == 0)], all);
            go(async move {
                let (mut counted, mut unknown) = (0_u32, 0_u32);
                let mut random = task.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                for _ in 0..ROUNDS {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let polls = usize::try_from(random % 5).expect("small");
                    match drop_after_polls(made.count_down(), polls).await.completed() {
                        Some(answer) => {
                            answer.expect("counted");
                            counted += 1;
                        }
                        None if polls == 0 => {}
                        None => unknown += 1,
                    }
                }
                (counted, unknown)
            })
        })
        .collect();
    let (mut counted, mut unknown) = (0, 0);
    for task in tasks {
        let (some, others) = task.await.expect("no panic");
        counted += some;
        unknown += others;
    }
    assert!(counted > 0 && unknown > 0, "{counted} counted, {unknown} dropped");
    settled(&fixture, &[&clients[0], &clients[1]]).await;
    let made = latch(&clients[0], all);
    let down = all - made.count().await.expect("an answer");
    assert!(
        (counted..=counted + unknown).contains(&down),
        "{down} at the server, {counted} answered, {unknown} dropped"
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        all - made.count().await.expect("an answer"),
        down,
        "and no later one counts"
    );
}
