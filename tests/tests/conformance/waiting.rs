//! Tries do not wait, waits end in time, and waiters are served in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use latchwork_tests::distance::{answered, fewer, long};
use latchwork_tests::subject::Subject;
use latchwork_tests::{Fixture, Waiter, eventually, go, rises, soon};

const MS: Duration = Duration::from_millis(1);

pub(crate) async fn holders_are_granted_up_to_the_capacity(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let most = subject.most();
    let mut guards = Vec::new();
    for number in 0..most.unwrap_or(10) {
        let client = if number % 2 == 0 { &one } else { &two };
        guards.push(fixture.tried(client).await.expect("free"));
    }
    let info = fixture.handle(&one).inspect().await.expect("an answer");
    assert_eq!(info.holders.len(), guards.len(), "{info:?}");
    assert_eq!(fixture.holders().len(), guards.len(), "in the record");
    for guard in &guards {
        assert!(!guard.is_lost(), "just taken");
        assert!(guard.valid_for() > long() / 4, "most of the lease");
        assert!(guard.valid_for() <= long(), "not more");
    }
    let more = fixture.tried(&two).await;
    assert_eq!(more.is_none(), most.is_some(), "no more than may");
    guards.extend(more);
    fixture.released(guards.remove(0)).await;
    fixture
        .released(fixture.tried(&two).await.expect("one is free"))
        .await;
    for guard in guards {
        fixture.released(guard).await;
    }
    assert_eq!((one.live(), two.live()), (0, 0), "no slot is left");
    fixture.settled_within(Duration::ZERO).await;
    fixture.over().await;
}

pub(crate) async fn a_try_reports_busy_and_leaves_no_place(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let all = fixture.all(&one).await;
    let before = fixture.members().len();
    let handle = fixture.handle(&two);
    for (what, trying) in [
        ("a try", handle.try_acquire()),
        ("zero is one try", handle.try_acquire_for(Duration::ZERO)),
        ("past is one try", handle.try_acquire_until(Instant::now())),
    ] {
        assert!(soon(what, trying).await.expect(what).is_none(), "{what}: busy");
        assert_eq!(fixture.members().len(), before, "{what}: nobody queued");
        assert_eq!(two.live(), 0, "{what}: no slot is left");
    }
    let ran = handle.try_run(Box::new(|_| panic!("it is busy"))).await;
    assert!(!ran.expect("an answer"), "busy");
    let forever = go(handle.try_acquire_for(Duration::MAX));
    fixture.queued(1).await;
    fixture.released(all).await;
    let guard = soon("a grant", forever).await.expect("no panic");
    fixture.released(guard.expect("an answer").expect("free")).await;
    let free = handle.try_acquire_until(Instant::now()).await;
    fixture.released(free.expect("an answer").expect("free")).await;
    fixture.over().await;
}

pub(crate) async fn a_bounded_wait_ends_with_none_and_leaves_no_place(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let all = fixture.all(&one).await;
    let before = fixture.members().len();
    let handle = fixture.handle(&two);
    let moment = answered(30 * MS);
    let start = Instant::now();
    for waiting in [
        handle.try_acquire_for(moment),
        handle.try_acquire_until(start + moment * 2),
    ] {
        let waited = soon("the end of the wait", waiting).await;
        assert!(waited.expect("an answer").is_none(), "busy until then");
        eventually("its place is given up", || fixture.members().len() == before).await;
    }
    assert!(start.elapsed() >= moment * 2, "not before its time");
    eventually("no slot is left", || two.live() == 0).await;
    fixture.released(all).await;
    for waiting in [
        handle.try_acquire_for(long()),
        handle.try_acquire_until(Instant::now() + long()),
    ] {
        let waited = soon("an answer", waiting).await;
        fixture.released(waited.expect("an answer").expect("free")).await;
    }
    fixture.over().await;
}

/// A future that is polled only when its time is over tries once, and does not wait.
pub(crate) async fn the_time_of_a_bounded_wait_runs_from_the_call(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (proxy, two) = fixture.counted().await;
    let one = fixture.steady().await;
    let all = fixture.all(&one).await;
    let wait = answered(30 * MS);
    let waiting = fixture.handle(&two).try_acquire_for(wait);
    tokio::time::sleep(wait).await;
    proxy.reset_counts();
    let waited = soon("the only try", waiting).await;
    assert!(waited.expect("an answer").is_none(), "busy");
    eventually("no slot is left", || two.live() == 0).await;
    let requests = proxy.request_names();
    assert_eq!(
        requests.values().sum::<u64>(),
        1,
        "no place was taken: {requests:?}"
    );
    fixture.released(all).await;
    fixture.over().await;
}

/// Lets holds end one by one, and looks who goes on: those who came first, as many as may, and nobody else.
pub(crate) async fn waiters_are_granted_in_order_of_arrival(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let clients = [
        fixture.steady().await,
        fixture.steady().await,
        fixture.steady().await,
    ];
    let mut holds = VecDeque::from([fixture.all(&clients[0]).await]);
    let mut queue: VecDeque<Waiter> = VecDeque::new();
    for number in 0..8 {
        queue.push_back(fixture.queue(&clients[number % 3]).await);
    }
    // When all there is comes back, so many go on; when one of those does, one.
    let mut places = subject.most().unwrap_or(usize::MAX);
    while let Some(hold) = holds.pop_front() {
        let token = hold.token();
        fixture.released(hold).await;
        for _ in 0..places.min(queue.len()) {
            let next = fixture.granted(queue.pop_front().expect("one waits")).await;
            rises(token, next.token());
            holds.push_back(next);
        }
        places = 1;
        let early = queue.iter().filter(|waiter| waiter.is_finished()).count();
        assert_eq!(
            (early, fixture.waiters()),
            (0, queue.len()),
            "those behind wait on"
        );
        let tried = fixture.tried(&clients[1]).await;
        assert!(queue.is_empty() || tried.is_none(), "nobody goes ahead of them");
        if let Some(tried) = tried {
            fixture.released(tried).await;
        }
    }
    assert!(queue.is_empty(), "all were served");
    fixture.over().await;
}

pub(crate) async fn a_waiter_that_is_dropped_is_passed_over(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let all = fixture.all(&one).await;
    let gone = [fixture.queue(&two).await, fixture.queue(&one).await];
    let last = fixture.queue(&two).await;
    for waiter in &gone {
        waiter.abort();
    }
    fixture.queued(1).await;
    fixture.released(all).await;
    fixture.released(fixture.granted(last).await).await;
    eventually("no slot is left", || one.live() + two.live() == 0).await;
    fixture.over().await;
}

/// H32: never more at once than may, in a crowd of tasks and clients that also give up and drop.
pub(crate) async fn h32_holders_never_exceed_the_capacity(subject: &'static dyn Subject) {
    const TASKS: usize = 6;
    let rounds = fewer(25);
    let fixture = Fixture::of(subject);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let client = fixture.steady().await;
        for _ in 0..TASKS {
            let handle = fixture.handle(&client);
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            tasks.push(go(async move {
                let mut tokens = Vec::new();
                while tokens.len() < rounds {
                    let round = tokens.len();
                    let acquired = match round % 4 {
                        // In so short a time there may be no answer at all.
                        0 => handle.try_acquire_for(MS).await.ok().flatten(),
                        1 => handle.try_acquire().await.expect("an answer"),
                        _ => None,
                    };
                    let guard = match acquired {
                        Some(guard) => guard,
                        None => handle.acquire().await.expect("a hold"),
                    };
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokens.push(guard.token());
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if round % 2 == 0 {
                        guard.release().await.expect("released");
                    }
                }
                tokens
            }));
        }
    }
    let mut tokens = Vec::new();
    for task in tasks {
        tokens.extend(soon("a task", task).await.expect("no panic"));
    }
    let count = tokens.len();
    assert_eq!(count, 3 * TASKS * rounds, "all had their turns");
    let most = most.load(Ordering::SeqCst);
    assert!(subject.most().is_none_or(|may| most <= may), "{most} at once");
    tokens.sort_unstable();
    tokens.dedup();
    assert!(tokens[0].is_none() || tokens.len() == count, "every token once");
    fixture.over().await;
}
