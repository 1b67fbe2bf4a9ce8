//! A hold that ends under its guard is reported, and the next holder is not disturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchwork_mutex::{Client, ErrorKind, Loss};
use latchwork_testkit::{Direction, TestServer};
use latchwork_tests::distance::{lease, long, medium};
use latchwork_tests::subject::{Guard, Options, Subject};
use latchwork_tests::{Fixture, eventually, go, lose_forced, rises, soon};

/// Everything that a lost guard says; `expected` says which reasons are right.
async fn reads_lost(guard: &Guard, expected: &[Loss]) -> Loss {
    let (lost, hold) = (soon("a loss", guard.lost()).await, guard.hold());
    assert!(expected.contains(&lost), "{lost:?} is none of {expected:?}");
    assert!(guard.is_lost() && hold.is_lost(), "and it stays so");
    assert!(!hold.is_valid(), "not valid");
    assert!(
        guard.valid_for().is_zero() && hold.valid_for().is_zero(),
        "no time left"
    );
    soon("the token", hold.cancellation_token().cancelled()).await;
    assert_eq!(soon("a loss", guard.lost()).await, lost, "the same again");
    let error = soon("an answer", guard.extend(lease())).await.expect_err("lost");
    assert_eq!(
        (error.kind(), error.loss()),
        (ErrorKind::Lost, Some(lost)),
        "{error}"
    );
    assert!(error.to_string().contains("`a`"), "names it: {error}");
    lost
}

/// Releases a lost guard while somebody else has all there is, who notices nothing of it.
async fn ends_without_touching(
    fixture: &Fixture<'_>,
    guard: Guard,
    loss: Loss,
    other: &Guard,
    client: &Client,
) {
    let before = fixture.holders();
    let error = soon("an answer", guard.release()).await.expect_err("lost");
    assert_eq!(
        (error.kind(), error.loss()),
        (ErrorKind::Lost, Some(loss)),
        "{error}"
    );
    eventually("its end is answered", || client.live() == 0).await;
    fixture.still_held(other, long()).await;
    assert_eq!(fixture.holders(), before, "in the record neither");
}

pub(crate) async fn forced(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    // They have most of their leases left: only the message can tell them.
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let handle = fixture.handle(&two);
    assert!(!handle.force().await.expect("an answer"), "nobody holds");
    let mut guards = Vec::new();
    for _ in 0..subject.most().unwrap_or(3) {
        guards.push(fixture.held(&one).await);
    }
    let waiter = go(subject.take_all(&two, b"a"));
    fixture.queued(1).await;
    assert!(handle.force().await.expect("an answer"), "somebody held");
    let next = fixture.granted(waiter).await;
    for guard in guards {
        let loss = reads_lost(&guard, &[Loss::Forced]).await;
        rises(guard.token(), next.token());
        let error = soon("an answer", guard.release()).await.expect_err("lost");
        assert_eq!(error.loss(), Some(loss), "{error}");
    }
    eventually("their ends are answered", || one.live() == 0).await;
    fixture.still_held(&next, long()).await;
    assert_eq!(fixture.holders().len(), 1, "the present one alone");
    fixture.released(next).await;
    fixture.over().await;
}

/// The release is sent before the message that it was forced has come: the server knows.
pub(crate) async fn forced_a_moment_before_the_release(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (proxy, client) = fixture.proxied_with(|builder| builder.lease(long())).await;
    lose_forced(&proxy);
    let other = fixture.steady().await;
    for is_taken in [false, true] {
        let guard = fixture.held(&client).await;
        assert!(fixture.handle(&other).force().await.expect("an answer"), "held");
        let next = if is_taken {
            Some(fixture.all(&other).await)
        } else {
            None
        };
        let error = soon("an answer", guard.release()).await.expect_err("lost");
        assert_eq!(error.loss(), Some(Loss::Forced), "{is_taken}: {error}");
        if let Some(next) = next {
            fixture.still_held(&next, long()).await;
            fixture.released(next).await;
        }
    }
    fixture.over().await;
}

/// By the guard's own clock, while the server says nothing; then the server goes on.
pub(crate) async fn expired_while_the_server_stands_still(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (fixture.client().await, fixture.steady().await);
    let guard = fixture.held(&one).await;
    server.freeze().expect("frozen");
    eventually("its time is over", || guard.valid_for().is_zero()).await;
    assert!(guard.is_lost() && guard.hold().is_lost(), "and all say so");
    let loss = reads_lost(&guard, &[Loss::Expired]).await;
    server.thaw().expect("thawed");
    let all = fixture.all(&two).await;
    ends_without_touching(&fixture, guard, loss, &all, &one).await;
    fixture.released(all).await;
    fixture.over().await;
}

/// Cut off from the server, which gives it to the next one: the two are never valid at once.
pub(crate) async fn expired_behind_a_dead_network(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (proxy, one) = fixture.proxied_with(|b| b.lease(medium())).await;
    let two = fixture.steady().await;
    let guard = fixture.held(&one).await;
    let hold = guard.hold();
    let all = subject.take_all(&two, b"a");
    let waiter = go(async move {
        let next = all.await?;
        // By its own clock the first one knew it before the server gave it to the next.
        assert!(hold.is_lost() && hold.valid_for().is_zero(), "two at once");
        Ok(next)
    });
    fixture.queued(1).await;
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.block(direction);
    }
    let loss = reads_lost(&guard, &[Loss::Expired]).await;
    let next = fixture.granted(waiter).await;
    // What it sent and could not send arrives now.
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.unblock(direction);
    }
    ends_without_touching(&fixture, guard, loss, &next, &one).await;
    fixture.released(next).await;
    fixture.released(fixture.held(&one).await).await;
    fixture.over().await;
}

/// H38: somebody deletes everything.
pub(crate) async fn h38_flushed(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (fixture.renewing().await, fixture.steady().await);
    let forgotten = [Loss::Vanished, Loss::Expired, Loss::Taken];
    let mut last = None;
    for _ in 0..2 {
        let guard = fixture.all(&one).await;
        rises(last, guard.token());
        let waiter = go(subject.take_all(&two, b"a"));
        fixture.queued(1).await;
        server.admin(&["FLUSHALL"]).expect("flushed");
        let loss = reads_lost(&guard, &forgotten).await;
        let next = fixture.granted(waiter).await;
        rises(guard.token(), next.token());
        ends_without_touching(&fixture, guard, loss, &next, &one).await;
        last = next.token();
        fixture.released(next).await;
    }
    fixture.over().await;
}

/// H41: somebody writes something else under the key, and that stays.
pub(crate) async fn h41_overwritten(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    // The server is not silent, so this is not what ends the wait.
    let client = fixture
        .client_with(|b| b.lease(medium()).unavailable_after(long() * 100))
        .await;
    let options = Options {
        lease: Some(long()),
        ..Options::NONE
    };
    let kept = fixture
        .named("kept")
        .handle_with(&client, &options)
        .acquire()
        .await;
    let kept = kept.expect("a hold");
    let guard = fixture.all(&client).await;
    let waiter = fixture.queue(&client).await;
    let admin = |args: &[&str]| fixture.server.admin(args).expect("an answer");
    let key = fixture.key();
    admin(&["SET", &key, "foreign", "PX", "600000"]);
    let loss = reads_lost(&guard, &[Loss::Expired, Loss::Vanished]).await;
    let error = soon("an answer", guard.release()).await.expect_err("lost");
    assert_eq!(error.loss(), Some(loss), "{error}");
    let refused = soon("a refusal", waiter)
        .await
        .expect("no panic")
        .expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::WrongType, "{refused}");
    assert_eq!(
        admin(&["GET", &key]).text().as_deref(),
        Some("foreign"),
        "unchanged"
    );
    eventually("one slot is left", || client.live() == 1).await;
    // What else the client has is renewed, in the same requests.
    fixture.still_held(&kept, long()).await;
    fixture.released(kept).await;
    fixture.named("kept").over().await;
}

pub(crate) async fn the_client_is_closed(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let guard = fixture.all(&one).await;
    let first = fixture.queue(&one).await;
    let waiter = fixture.queue(&two).await;
    let closed = soon("an end", one.close()).await;
    assert_eq!(
        (closed.released, closed.unsent),
        (2, 0),
        "its hold and its place: {closed:?}"
    );
    // Its own waiter is withdrawn, the other's goes on.
    let error = soon("an answer", first)
        .await
        .expect("no panic")
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    let loss = reads_lost(&guard, &[Loss::Closed]).await;
    let next = fixture.granted(waiter).await;
    rises(guard.token(), next.token());
    ends_without_touching(&fixture, guard, loss, &next, &one).await;
    let error = fixture.handle(&one).acquire().await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    fixture.released(next).await;
    fixture.over().await;
}

/// H47: a server frozen for less than, about, or more than the lease. However that ends, two are never valid at once.
pub(crate) async fn h47_a_frozen_server_never_makes_two_valid_guards(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (fixture.client().await, fixture.client().await);
    let mut lost = 0;
    for percent in [60, 90, 100, 110, 200] {
        let fixture = fixture.named(format!("a{percent}"));
        let first = fixture.held(&one).await;
        let hold = first.hold();
        let all = subject.take_all(&two, fixture.name.as_bytes());
        let released = Arc::new(AtomicBool::new(false));
        let is_released = Arc::clone(&released);
        let second = go(async move {
            let second = all.await?;
            let both = !hold.valid_for().is_zero() && !second.valid_for().is_zero();
            assert!(!both, "two valid guards at {percent} %");
            // After a release nothing reads lost.
            let both = !second.is_lost() && !hold.is_lost() && !is_released.load(Ordering::SeqCst);
            assert!(!both, "two guards that are not lost at {percent} %");
            Ok(second)
        });
        // Or it has it already: nobody can say how fast a machine is.
        eventually("it waits", || fixture.waiters() == 1 || second.is_finished()).await;
        server.freeze().expect("frozen");
        tokio::time::sleep(lease() * percent / 100).await;
        server.thaw().expect("thawed");
        // Either the first one's time is over, or it goes on and releases.
        let over = tokio::time::Instant::now() + lease();
        while tokio::time::Instant::now() < over && !second.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let token = first.token();
        released.store(true, Ordering::SeqCst);
        match soon("a release", first.release()).await {
            Ok(()) => assert!(percent < 200, "the lease was over"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
                lost += 1;
            }
        }
        let second = fixture.granted(second).await;
        rises(token, second.token());
        drop(second);
        fixture.over().await;
    }
    assert!(lost > 0, "it was frozen for longer than the lease");
}
