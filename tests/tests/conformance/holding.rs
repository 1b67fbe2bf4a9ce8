//! A hold lasts as long as it is renewed, and ends with its lease, its guard or its runtime.

use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use latchwork_mutex::{ErrorKind, Loss};
use latchwork_tests::distance::{lease, long, medium};
use latchwork_tests::subject::{Held, Options, Subject};
use latchwork_tests::{Fixture, eventually, go, soon};
use tokio::runtime::{Builder, Runtime};

pub(crate) async fn a_renewed_hold_outlives_its_lease(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.renewing().await, fixture.steady().await);
    let all = fixture.all(&one).await;
    let waiter = fixture.queue(&two).await;
    tokio::time::sleep(medium() * 3 / 2).await;
    assert!(!all.is_lost(), "renewed");
    assert!(!waiter.is_finished(), "and nobody else is let in");
    fixture.released(all).await;
    fixture.released(fixture.granted(waiter).await).await;
    fixture.over().await;
}

pub(crate) async fn a_hold_without_renewal_ends_with_its_lease(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    let guard = fixture.handle_with(&client, &Options::MANUAL).acquire().await;
    let guard = guard.expect("a hold");
    let lost = soon("a loss", guard.lost()).await;
    assert_eq!(lost, Loss::Expired, "nobody renews");
    assert!(guard.is_lost(), "and it stays so");
    assert_eq!(guard.valid_for(), Duration::ZERO, "no time left");
    let error = guard.extend(lease()).await.expect_err("too late");
    assert_eq!(error.loss(), Some(Loss::Expired), "{error}");
    // H30: whoever has it now keeps it.
    let other = fixture.steady().await;
    let next = fixture.all(&other).await;
    let error = guard.release().await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Expired), "{error}");
    fixture.still_held(&next, long()).await;
    fixture.released(next).await;
    fixture.over().await;
}

/// The claim of a hand-off is confirmed once, and then nobody renews.
pub(crate) async fn a_hold_without_renewal_that_was_handed_over_has_its_full_lease(
    subject: &'static dyn Subject,
) {
    let fixture = Fixture::of(subject);
    let one = fixture.steady().await;
    let two = fixture
        .client_with(|b| b.lease(long()).claim_window(lease()))
        .await;
    let all = fixture.all(&one).await;
    let waiter = go(fixture.handle_with(&two, &Options::MANUAL).acquire());
    fixture.queued(1).await;
    fixture.released(all).await;
    let guard = fixture.granted(waiter).await;
    eventually("it has a lease", || guard.valid_for() > long() / 2).await;
    fixture.released(guard).await;
    fixture.over().await;
}

pub(crate) async fn an_extension_lasts_and_never_shortens(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.renewing().await, fixture.steady().await);
    let handle = fixture.handle_with(&one, &Options::MANUAL);
    let guard = handle.acquire().await.expect("a hold");
    guard.extend(long()).await.expect("extended");
    assert!(guard.valid_for() > medium() * 3, "{:?}", guard.valid_for());
    guard.extend(medium()).await.expect("extended");
    assert!(guard.valid_for() > medium() * 2, "never shortened");
    let left = handle.inspect().await.expect("an answer").holders[0].lease_left;
    assert!(left > medium() * 2, "at the server neither: {left:?}");
    // Who comes settles the record, and must not cut it to the lease in the id.
    let all = go(subject.take_all(&two, b"a"));
    fixture.queued(1).await;
    tokio::time::sleep(medium() * 5 / 4).await;
    assert!(!all.is_finished(), "still held");
    assert!(!guard.is_lost(), "and not lost");
    fixture.released(guard).await;
    fixture.released(fixture.granted(all).await).await;
    assert!(
        fixture.members().iter().all(|(_, score)| *score >= 1e14),
        "nor its mark"
    );
    fixture.over().await;
}

pub(crate) async fn max_hold_ends_a_hold_that_is_renewed(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.renewing().await, fixture.steady().await);
    let options = Options {
        max_hold: Some(medium() * 3 / 2),
        ..Options::NONE
    };
    let guard = fixture
        .handle_with(&one, &options)
        .acquire()
        .await
        .expect("a hold");
    let error = guard.extend(medium() * 2).await.expect_err("past the maximum");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let waiter = go(subject.take_all(&two, b"a"));
    tokio::time::sleep(medium() * 5 / 4).await;
    assert!(!guard.is_lost(), "renewed past its lease");
    assert_eq!(
        soon("its end", guard.lost()).await,
        Loss::MaxHold,
        "and no further"
    );
    let next = fixture.granted(waiter).await;
    drop(guard);
    fixture.released(next).await;
    fixture.over().await;
}

pub(crate) async fn a_forgotten_hold_ends_with_its_lease(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.client().await;
    fixture.held(&client).await.forget();
    assert_eq!(client.live(), 0, "nobody renews it");
    assert_eq!(fixture.holders().len(), 1, "but it is held");
    fixture.released(fixture.all(&client).await).await;
    fixture.over().await;
}

pub(crate) async fn a_dropped_guard_is_released(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.steady().await;
    drop(fixture.held(&client).await);
    drop(fixture.all(&client).await);
    fixture.settled().await;
    eventually("its slot is free", || client.live() == 0).await;
    let waiting = fixture.all(&client).await;
    let waiter = fixture.queue(&client).await;
    drop(waiting);
    drop(fixture.granted(waiter).await);
    fixture.over().await;
}

pub(crate) async fn after_a_release_nothing_reads_lost(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (client, short) = (fixture.steady().await, Some(lease()));
    let options = Options {
        lease: short,
        ..Options::NONE
    };
    let guard = loop {
        let guard = fixture.handle_with(&client, &options).acquire().await;
        let guard = guard.expect("a hold");
        if !guard.is_lost() {
            break guard;
        }
    };
    let (lost, hold) = (guard.lost(), guard.hold());
    let token = hold.cancellation_token();
    assert!(hold.is_valid() && !token.is_cancelled(), "held");
    fixture.released(guard).await;
    soon("the token", token.cancelled()).await;
    let waited = tokio::time::timeout(lease() * 2, lost).await;
    assert!(waited.is_err(), "two leases later: {waited:?}");
    assert!(!hold.is_lost(), "released is not lost");
    assert!(
        !hold.is_valid() && hold.valid_for().is_zero(),
        "but not valid either"
    );
    let dropped = fixture.held(&client).await;
    let token = dropped.hold().cancellation_token();
    drop(dropped);
    soon("the token", token.cancelled()).await;
    fixture.over().await;
}

pub(crate) async fn run_releases_and_drops_its_body_when_the_hold_is_lost(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.steady().await;
    let handle = fixture.handle(&client);
    let body = |_: &dyn Held| tokio::task::yield_now().boxed();
    handle.run(Box::new(body)).await.expect("done");
    assert!(handle.try_run(Box::new(body)).await.expect("done"), "free");
    assert_eq!(fixture.holders().len(), 0, "released");
    let other = fixture.handle(&client);
    let error = handle.run(Box::new(move |guard| {
        assert!(!guard.is_lost(), "held");
        async move {
            other.force().await.expect("forced");
            std::future::pending::<()>().await;
        }
        .boxed()
    }));
    let error = soon("a loss", error).await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    assert!(error.to_string().contains("`a`"), "names it: {error}");
    fixture.over().await;
}

/// H38: the body was done, and by then the server had forgotten the hold.
pub(crate) async fn run_reports_a_hold_that_the_server_had_forgotten(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.steady().await;
    let (server, key) = (fixture.server, fixture.key());
    let result = fixture.handle(&client).run(Box::new(move |_| {
        server.admin(&["DEL", &key]).expect("an answer");
        std::future::ready(()).boxed()
    }));
    let error = soon("an answer", result).await.expect_err("lost");
    assert_eq!(
        error.loss(),
        Some(Loss::Vanished),
        "somebody else may have been inside"
    );
    fixture.over().await;
}

pub(crate) async fn h17_a_panic_releases(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.steady().await;
    let handle = fixture.handle(&client);
    let acquire = handle.acquire();
    let task = go(async move {
        let _guard = acquire.await.expect("a hold");
        panic!("in the critical section, on purpose");
    });
    let panic: Result<(), _> = task.await;
    assert!(panic.expect_err("a panic").is_panic(), "told by the task");
    fixture.settled().await;
    for body in [
        (|_| panic!("in the body, on purpose")) as fn(&dyn Held) -> _,
        |_| async { panic!("in the body's future, on purpose") }.boxed(),
    ] {
        let caught = AssertUnwindSafe(handle.run(Box::new(body))).catch_unwind().await;
        drop(caught.expect_err("a panic"));
        fixture.settled().await;
    }
    fixture.released(fixture.all(&client).await).await;
    assert_eq!(client.live(), 0, "no slot is left");
    fixture.over().await;
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all().build().expect("a runtime")
}

pub(crate) async fn h15_a_guard_dropped_on_a_plain_thread_is_released(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = fixture.steady().await;
    let all = fixture.all(&client).await;
    let waiter = fixture.queue(&client).await;
    let outside = thread::spawn(move || drop(all));
    eventually("the drop returns", || outside.is_finished()).await;
    outside.join().expect("no panic");
    let next = fixture.granted(waiter).await;
    // So is one whose release nobody awaits.
    let release = next.release();
    thread::spawn(move || drop(release)).join().expect("no panic");
    eventually("no slot is left", || client.live() == 0).await;
    fixture.over().await;
}

/// H16: the client's runtime is gone; nothing can be sent, and nothing hangs.
pub(crate) async fn h16_a_hold_dropped_after_its_runtime_ends_with_its_lease(subject: &'static dyn Subject) {
    for threads in [1, 2] {
        let fixture = Fixture::of(subject);
        let away = fixture.clone();
        let dead = thread::spawn(move || {
            let runtime = runtime(threads);
            let guard = runtime.block_on(async {
                let client = away.client().await;
                away.all(&client).await
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
            let start = Instant::now();
            drop(guard);
            assert!(start.elapsed() < long() / 2, "a drop does not block");
        });
        eventually("it is dropped", || dead.is_finished()).await;
        dead.join().expect("no panic");
        let client = fixture.steady().await;
        fixture.released(fixture.all(&client).await).await;
        fixture.over().await;
    }
}

/// H18: a leaked waiter may delay the others by its claims, not for ever.
pub(crate) async fn h18_a_leaked_future_does_not_block_the_queue(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    // The others wait for its claims, each twice as long as the one before.
    let one = fixture
        .client_with(|b| b.claim_window(lease() / 3).lease(long()))
        .await;
    let two = fixture.steady().await;
    let all = fixture.all(&one).await;
    let mut leaked = fixture.handle(&one).acquire();
    tokio::select! {
        _ = &mut leaked => panic!("it is held"),
        () = fixture.queued(1) => {}
    }
    std::mem::forget(leaked);
    let next = go(subject.take_all(&two, b"a"));
    fixture.queued(2).await;
    fixture.released(all).await;
    fixture.released(fixture.granted(next).await).await;
    // Three claims, each of which lets one other pass: then it is out of the queue.
    for _ in 0..5 {
        fixture.released(fixture.all(&two).await).await;
    }
    fixture.over().await;
}
