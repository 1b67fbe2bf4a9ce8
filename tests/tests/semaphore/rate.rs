//! A semaphore with a rate spaces the starts and bounds their number at once.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use latchwork_semaphore::{Client, ErrorKind, Rate, Renew, Semaphore};
use latchwork_testkit::{Outcome, drop_after_polls, drop_when_woken};
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, eventually, go};

fn every(ms: u64) -> Rate {
    Rate::per(NonZeroU32::MIN, Duration::from_millis(ms))
}

fn paced(client: &Client, permits: u32, rate: Rate) -> Semaphore {
    Semaphore::builder(client, "a", permits)
        .rate(rate)
        .build()
        .unwrap()
}

#[tokio::test]
async fn starts_are_spaced_and_concurrency_is_bounded() {
    let fixture = Fixture::of(SEMAPHORE);
    let clients = [fixture.client().await, fixture.client().await];
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for turn in 0..8 {
        // A start is at most a period ahead: ten in 300 ms are.
        let rate = Rate::per(NonZeroU32::new(10).unwrap(), Duration::from_millis(300));
        let semaphore = paced(&clients[turn % 2], 2, rate);
        tasks.push(go(async move {
            let permit = semaphore.acquire().await.unwrap();
            let start = Instant::now();
            assert!(permit.is_valid(), "a hold like others");
            permit.release().await.unwrap();
            start
        }));
    }
    let mut starts = Vec::new();
    for task in tasks {
        starts.push(task.await.unwrap());
    }
    starts.sort();
    // Never early: the eighth start is seven intervals after the first, by the server's clock.
    assert!(
        starts[7].duration_since(begun) >= Duration::from_millis(7 * 30),
        "{:?}",
        starts[7].duration_since(begun)
    );
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_burst_starts_at_once_and_a_try_takes_only_permits_that_may_start_now() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 10, every(60_000).burst(NonZeroU32::new(3).unwrap()));
    for _ in 0..3 {
        semaphore
            .try_acquire()
            .await
            .unwrap()
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    assert!(
        semaphore.try_acquire().await.unwrap().is_none(),
        "the burst is used up"
    );
    let wait = Duration::from_millis(50);
    assert!(
        semaphore.try_acquire_for(wait).await.unwrap().is_none(),
        "it could not start before the deadline"
    );
    assert!(semaphore.drain().await.unwrap().is_none(), "nor any of them");
    assert_eq!(semaphore.available_permits().await.unwrap(), 10, "nothing is had");
}

#[tokio::test]
async fn a_permit_dropped_before_its_start_gives_the_start_back() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 10, every(60_000));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    for _ in 0..3 {
        // The next start is a minute away, and a second one would be two minutes: more than a period.
        let early = go({
            let semaphore = semaphore.clone();
            async move { semaphore.acquire().await }
        });
        eventually("it has a start", || asleep(&fixture) == 1).await;
        let late = semaphore.acquire().await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TooLate, "{late}");
        early.abort();
        eventually("it is given back", || asleep(&fixture) == 0).await;
    }
    assert_eq!(semaphore.available_permits().await.unwrap(), 10, "nothing is had");
}

#[tokio::test]
async fn a_waiter_is_granted_after_the_rate_is_raised() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 1, every(60_000).burst(NonZeroU32::new(2).unwrap()));
    let held = semaphore.acquire().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let semaphore = semaphore.clone();
        waiting.push(go(async move { semaphore.acquire_many(1).await }));
    }
    fixture.queued(2).await;
    held.release().await.unwrap();
    let first = waiting.remove(0).await.unwrap().unwrap();
    semaphore.set_rate(Some(every(1))).await.unwrap();
    first.release().await.unwrap();
    waiting.remove(0).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn another_rate_is_a_mismatch_until_set_rate() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 5, every(1));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    let others = [
        paced(&client, 5, every(2)),
        paced(&client, 5, every(1).burst(NonZeroU32::new(2).unwrap())),
        Semaphore::new(&client, "a", 5).unwrap(),
    ];
    for other in &others {
        let error = other.try_acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
    semaphore.set_rate(None).await.unwrap();
    for other in &others {
        other
            .try_acquire()
            .await
            .unwrap()
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    assert!(
        !fixture.scores().iter().any(|(member, _)| "ibdr".contains(member)),
        "no trace"
    );
    let absurd = Semaphore::builder(&client, "a", 5)
        .rate(every(0))
        .build()
        .unwrap_err();
    assert_eq!(absurd.kind(), ErrorKind::Invalid, "{absurd}");
    let error = semaphore.set_rate(Some(every(0))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn more_than_a_period_and_the_burst_is_too_late() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 10, every(60_000));
    let error = semaphore.acquire_many(3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLate, "{error}");
    semaphore
        .try_acquire()
        .await
        .unwrap()
        .unwrap()
        .release()
        .await
        .unwrap();
}

/// How many have a start that has not come. An id may begin with that letter, too, but its score is below 10^15.
fn asleep(fixture: &Fixture<'_>) -> usize {
    let members = fixture.scores();
    members
        .iter()
        .filter(|(member, score)| member.starts_with('y') && *score >= 1e15)
        .count()
}

#[tokio::test]
async fn a_handle_without_a_rate_obeys_the_rate_that_was_set() {
    let fixture = Fixture::of(SEMAPHORE);
    // Time enough to sleep until the start, if it did.
    let client = fixture
        .client_with(|b| b.operation_timeout(Duration::from_secs(60)))
        .await;
    let semaphore = Semaphore::new(&client, "a", 10).unwrap();
    semaphore.set_rate(Some(every(50_000))).await.unwrap();
    semaphore.acquire().await.unwrap().release().await.unwrap();
    let try_now = go(semaphore.try_acquire());
    let answer = tokio::time::timeout(Duration::from_secs(25), try_now).await;
    let permit = answer.expect("at once").unwrap().unwrap();
    assert!(permit.is_none(), "it could not start now");
    let wait = Duration::from_secs(20);
    assert!(
        semaphore.try_acquire_for(wait).await.unwrap().is_none(),
        "nor in twenty seconds, and says so"
    );
    assert_eq!(asleep(&fixture), 0, "and nothing was reserved");
}

#[tokio::test]
async fn the_period_that_was_set_bounds_how_far_ahead_a_start_may_be() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 10, every(1));
    semaphore.set_rate(Some(every(60_000))).await.unwrap();
    semaphore.acquire().await.unwrap().release().await.unwrap();
    let second = go(semaphore.acquire());
    eventually("it has a start, a minute away", || asleep(&fixture) == 1).await;
    second.abort();
}

#[tokio::test]
async fn a_hold_renewed_by_hand_is_kept_until_its_start() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let lease = Duration::from_millis(300);
    let semaphore = Semaphore::builder(&client, "a", 10)
        .rate(every(1200))
        .lease(lease)
        .renew(Renew::Manual)
        .max_hold(Duration::from_millis(600))
        .build()
        .unwrap();
    semaphore.acquire().await.unwrap().release().await.unwrap();
    // The start is four leases and two longest holds away.
    let permit = semaphore.acquire().await.unwrap();
    assert!(permit.is_valid(), "held until its start");
    eventually("nobody renews it now", || permit.is_lost()).await;
}

#[tokio::test]
async fn a_future_sleeping_until_its_start_reports_a_loss_and_the_close() {
    let fixture = Fixture::of(SEMAPHORE);
    let clients = [fixture.client().await, fixture.client().await];
    let [semaphore, other] = [0, 1].map(|index| paced(&clients[index], 10, every(60_000)));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    let forced = go(semaphore.acquire());
    eventually("it sleeps", || asleep(&fixture) == 1).await;
    assert!(other.force_release().await.unwrap());
    let error = forced.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    let closed = go(semaphore.acquire());
    eventually("it sleeps", || asleep(&fixture) == 1).await;
    clients[0].close().await;
    let error = closed.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(asleep(&fixture), 0, "and its start is given back");
}

#[tokio::test]
async fn a_sleeping_future_may_be_dropped_on_a_plain_thread() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 10, every(60_000));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    let mut future = Box::pin(semaphore.acquire());
    eventually("it sleeps", || {
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(future.as_mut().poll(&mut context).is_pending());
        asleep(&fixture) == 1
    })
    .await;
    std::thread::spawn(move || drop(future)).join().unwrap();
    eventually("it is given back", || asleep(&fixture) == 0 && client.live() == 0).await;
    assert_eq!(semaphore.available_permits().await.unwrap(), 10, "nothing is had");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h14_a_future_dropped_at_any_poll_gives_its_start_back() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 1, every(60_000).burst(NonZeroU32::new(2).unwrap()));
    semaphore.acquire().await.unwrap().release().await.unwrap();
    semaphore.acquire().await.unwrap().release().await.unwrap();
    for woken in [false, true] {
        for polls in 0..6 {
            // Alone it sleeps until its start; behind another it waits, and is handed the permit in between.
            for behind in [false, true] {
                let first = behind.then(|| go(semaphore.acquire()));
                if behind {
                    eventually("it sleeps", || asleep(&fixture) == 1).await;
                }
                let call = async {
                    if woken {
                        drop_when_woken(semaphore.acquire(), polls).await
                    } else {
                        drop_after_polls(semaphore.acquire(), polls).await
                    }
                };
                let limited = tokio::time::timeout(Duration::from_millis(40), call);
                let leaving = async {
                    if let Some(first) = first {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        first.abort();
                    }
                };
                let (outcome, ()) = tokio::join!(limited, leaving);
                assert!(
                    !matches!(outcome, Ok(Outcome::Completed(_))),
                    "its start is a minute away"
                );
                eventually("nothing is left", || client.live() == 0 && asleep(&fixture) == 0).await;
                assert_eq!(semaphore.available_permits().await.unwrap(), 1, "{polls} polls");
                fixture.check_leftovers();
            }
        }
    }
    // Twice a minute ahead would be too late: all starts were given back, but those of the two that started.
    let next = go(semaphore.acquire());
    eventually("the next one has the first start", || asleep(&fixture) == 1).await;
    next.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h14_a_future_dropped_around_its_start_releases_the_permit() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = paced(&client, 1, every(4));
    let mut had = 0;
    for polls in 0..40 {
        if let Outcome::Completed(permit) = drop_when_woken(semaphore.acquire(), polls % 8).await {
            permit.unwrap().release().await.unwrap();
            had += 1;
        }
        eventually("nothing is left", || client.live() == 0).await;
        assert_eq!(semaphore.available_permits().await.unwrap(), 1, "{polls} polls");
        assert_eq!(asleep(&fixture), 0, "{polls} polls");
    }
    assert!(had > 0, "some are had");
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_longer_wait_gives_starts_further_ahead() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let with = |wait| {
        let builder = Semaphore::builder(&client, "a", 50).rate(every(10));
        builder.max_wait(wait).build()
    };
    let patient = with(Duration::from_secs(10)).unwrap();
    let calls: Vec<_> = (0..40).map(|_| go(patient.acquire())).collect();
    for call in calls {
        call.await.unwrap().unwrap().release().await.unwrap();
    }
    let other = paced(&client, 50, every(10)).try_acquire().await.unwrap_err();
    assert_eq!(
        other.kind(),
        ErrorKind::Mismatch,
        "it is a part of the rate: {other}"
    );
    patient.set_rate(Some(every(60_000))).await.unwrap();
    patient.acquire().await.unwrap().release().await.unwrap();
    let late = patient.acquire().await.unwrap_err();
    assert_eq!(
        late.kind(),
        ErrorKind::TooLate,
        "a minute is more than that: {late}"
    );
    let day = Duration::from_secs(86_400);
    assert!(with(day).is_ok() && with(day + Duration::from_nanos(1)).is_err());
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_rate_beyond_a_semaphores_bounds_is_refused() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = Semaphore::new(&client, "a", 5).unwrap();
    let day = Duration::from_secs(86_400);
    for rate in [
        Rate::per_second(NonZeroU32::new(3_000_000).unwrap()),
        Rate::per(NonZeroU32::MIN, day * 7),
    ] {
        let error = Semaphore::builder(&client, "a", 5)
            .rate(rate)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let error = semaphore.set_rate(Some(rate)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn permits_that_are_dropped_before_their_start_are_not_kept() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let hour = Duration::from_secs(3600);
    let calls = Semaphore::builder(&client, "a", 2)
        .rate(every(3_600_000))
        .hold_at_least(hour)
        .build()
        .expect("a semaphore");
    let first = calls.acquire().await.expect("a permit");
    let mut second = Box::pin(calls.acquire());
    tokio::select! {
        biased;
        granted = &mut second => panic!("its start is in an hour: {granted:?}"),
        () = eventually("it is granted", || fixture.holders().len() == 2) => {}
    }
    drop(second);
    let mut free = 0;
    while free == 0 {
        free = calls.available_permits().await.expect("an answer");
    }
    drop(first);
    eventually("the first is sent", || client.live() == 0).await;
    assert_eq!(
        calls.available_permits().await.expect("an answer"),
        1,
        "the first is kept"
    );
}
