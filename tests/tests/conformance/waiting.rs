//! Trying, waiting, and the order of the queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use latchwork_tests::subject::Subject;
use latchwork_tests::{Case, LONG, Waiter, eventually, go, rises, soon};

const MS: Duration = Duration::from_millis(1);

pub(crate) async fn as_many_as_may_hold_at_once(subject: &'static dyn Subject) {
    let case = Case::shared(subject);
    let (one, two) = (case.steady().await, case.steady().await);
    let most = subject.most();
    let mut guards = Vec::new();
    for number in 0..most.unwrap_or(10) {
        let client = if number % 2 == 0 { &one } else { &two };
        guards.push(case.tried(client).await.expect("free"));
    }
    let info = case.handle(&one).inspect().await.expect("an answer");
    assert_eq!(info.holders.len(), guards.len(), "{info:?}");
    assert_eq!(case.holders().len(), guards.len(), "in the record");
    for guard in &guards {
        assert!(!guard.is_lost(), "just taken");
        assert!(guard.valid_for() > LONG / 4, "most of the lease");
        assert!(guard.valid_for() <= LONG, "not more");
    }
    let more = case.tried(&two).await;
    assert_eq!(more.is_none(), most.is_some(), "no more than may");
    guards.extend(more);
    case.released(guards.remove(0)).await;
    case.released(case.tried(&two).await.expect("one is free")).await;
    for guard in guards {
        case.released(guard).await;
    }
    assert_eq!((one.live(), two.live()), (0, 0), "no slot is left");
    case.settled_within(Duration::ZERO).await;
    case.over().await;
}

pub(crate) async fn a_try_says_busy_and_leaves_no_place(subject: &'static dyn Subject) {
    let case = Case::shared(subject);
    let (one, two) = (case.steady().await, case.steady().await);
    let all = case.all(&one).await;
    let before = case.members().len();
    let handle = case.handle(&two);
    for (what, trying) in [
        ("a try", handle.try_acquire()),
        ("zero is one try", handle.try_acquire_for(Duration::ZERO)),
        ("past is one try", handle.try_acquire_until(Instant::now())),
    ] {
        assert!(soon(what, trying).await.expect(what).is_none(), "{what}: busy");
        assert_eq!(case.members().len(), before, "{what}: nobody queued");
        assert_eq!(two.live(), 0, "{what}: no slot is left");
    }
    let ran = handle.try_run(Box::new(|_| panic!("it is busy"))).await;
    assert!(!ran.expect("an answer"), "busy");
    let forever = go(handle.try_acquire_for(Duration::MAX));
    case.queued(1).await;
    case.released(all).await;
    let guard = soon("a grant", forever).await.expect("no panic");
    case.released(guard.expect("an answer").expect("free")).await;
    let free = handle.try_acquire_until(Instant::now()).await;
    case.released(free.expect("an answer").expect("free")).await;
    case.over().await;
}

pub(crate) async fn a_bounded_wait_ends_with_none_and_leaves_no_place(subject: &'static dyn Subject) {
    let case = Case::shared(subject);
    let (one, two) = (case.steady().await, case.steady().await);
    let all = case.all(&one).await;
    let before = case.members().len();
    let handle = case.handle(&two);
    let start = Instant::now();
    for waiting in [
        handle.try_acquire_for(30 * MS),
        handle.try_acquire_until(start + 60 * MS),
    ] {
        let waited = soon("the end of the wait", waiting).await;
        assert!(waited.expect("an answer").is_none(), "busy until then");
        eventually("its place is given up", || case.members().len() == before).await;
    }
    assert!(start.elapsed() >= 60 * MS, "not before its time");
    eventually("no slot is left", || two.live() == 0).await;
    case.released(all).await;
    for waiting in [
        handle.try_acquire_for(LONG),
        handle.try_acquire_until(Instant::now() + LONG),
    ] {
        let waited = soon("an answer", waiting).await;
        case.released(waited.expect("an answer").expect("free")).await;
    }
    case.over().await;
}

/// Lets holds end one by one, and looks who goes on: those who came first, as many as may, and nobody else.
pub(crate) async fn waiters_go_on_in_the_order_in_which_they_came(subject: &'static dyn Subject) {
    let case = Case::shared(subject);
    let clients = [case.steady().await, case.steady().await, case.steady().await];
    let mut holds = VecDeque::from([case.all(&clients[0]).await]);
    let mut queue: VecDeque<Waiter> = VecDeque::new();
    for number in 0..8 {
        queue.push_back(case.queue(&clients[number % 3]).await);
    }
    // When all there is comes back, so many go on; when one of those does, one.
    let mut places = subject.most().unwrap_or(usize::MAX);
    while let Some(hold) = holds.pop_front() {
        let token = hold.token();
        case.released(hold).await;
        for _ in 0..places.min(queue.len()) {
            let next = case.granted(queue.pop_front().expect("one waits")).await;
            rises(token, next.token());
            holds.push_back(next);
        }
        places = 1;
        let early = queue.iter().filter(|waiter| waiter.is_finished()).count();
        assert_eq!((early, case.waiters()), (0, queue.len()), "those behind wait on");
        let tried = case.tried(&clients[1]).await;
        assert!(queue.is_empty() || tried.is_none(), "nobody goes ahead of them");
        if let Some(tried) = tried {
            case.released(tried).await;
        }
    }
    assert!(queue.is_empty(), "all were served");
    case.over().await;
}

pub(crate) async fn a_waiter_that_is_dropped_is_passed_over(subject: &'static dyn Subject) {
    let case = Case::shared(subject);
    let (one, two) = (case.steady().await, case.steady().await);
    let all = case.all(&one).await;
    let gone = [case.queue(&two).await, case.queue(&one).await];
    let last = case.queue(&two).await;
    for waiter in &gone {
        waiter.abort();
    }
    case.queued(1).await;
    case.released(all).await;
    case.released(case.granted(last).await).await;
    eventually("no slot is left", || one.live() + two.live() == 0).await;
    case.over().await;
}

/// H32: never more at once than may, in a crowd of tasks and clients that also give up and drop.
pub(crate) async fn h32_never_more_are_inside_than_may(subject: &'static dyn Subject) {
    const TASKS: usize = 6;
    const ROUNDS: usize = 25;
    let case = Case::shared(subject);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let client = case.steady().await;
        for _ in 0..TASKS {
            let handle = case.handle(&client);
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            tasks.push(go(async move {
                let mut tokens = Vec::new();
                while tokens.len() < ROUNDS {
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
    assert_eq!(count, 3 * TASKS * ROUNDS, "all had their turns");
    let most = most.load(Ordering::SeqCst);
    assert!(subject.most().is_none_or(|may| most <= may), "{most} at once");
    tokens.sort_unstable();
    tokens.dedup();
    assert!(tokens[0].is_none() || tokens.len() == count, "every token once");
    case.over().await;
}
