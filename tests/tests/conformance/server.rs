//! A server that restarts, or forgets its scripts, costs only what it forgot.

use std::time::Duration;

use latchwork_mutex::{ErrorKind, Loss};
use latchwork_testkit::TestServer;
use latchwork_tests::distance::{long, medium};
use latchwork_tests::subject::Subject;
use latchwork_tests::{Fixture, eventually, rises, soon};

pub(crate) async fn h52_a_restart_that_forgets_is_a_loss_and_serves_the_waiter(
    subject: &'static dyn Subject,
) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (fixture.renewing().await, fixture.renewing().await);
    let first = fixture.all(&one).await;
    let waiter = fixture.queue(&two).await;
    server.kill().expect("killed");
    assert!(!waiter.is_finished(), "it waits on");
    server.restart().expect("again");
    let second = fixture.granted(waiter).await;
    rises(first.token(), second.token());
    let loss = soon("a loss", first.lost()).await;
    let expected = [Loss::Vanished, Loss::Expired, Loss::Taken];
    assert!(expected.contains(&loss), "{loss}");
    let error = soon("an answer", first.release()).await.expect_err("lost");
    assert_eq!(
        (error.kind(), error.loss()),
        (ErrorKind::Lost, Some(loss)),
        "{error}"
    );
    fixture.still_held(&second, medium()).await;
    fixture.released(second).await;
    fixture.over().await;
}

pub(crate) async fn h52_a_holder_hears_at_once_of_a_restart_that_forgets(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    // Its next renewal would be due in twenty minutes.
    let client = fixture.client_with(|b| b.lease(Duration::from_secs(3600))).await;
    let guard = fixture.all(&client).await;
    server.restart().expect("again");
    assert_eq!(
        soon("a loss", guard.lost()).await,
        Loss::Vanished,
        "the server says so"
    );
    drop(guard);
    fixture.settled().await;
    fixture.over().await;
}

pub(crate) async fn h53_a_restart_that_remembers_costs_nobody_anything(subject: &'static dyn Subject) {
    // Every second it would do, if the disk kept up: what cannot be written while it syncs is lost with the process.
    let builder = TestServer::builder().persist(true).arg("--appendfsync", "always");
    let server = builder.start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two, three) = (
        fixture.steady().await,
        fixture.steady().await,
        fixture.steady().await,
    );
    let first = fixture.all(&one).await;
    let waiter = fixture.queue(&two).await;
    server.restart().expect("again");
    fixture.still_held(&first, long()).await;
    assert!(fixture.tried(&three).await.is_none(), "busy");
    assert!(!waiter.is_finished(), "it waits on");
    assert_eq!(fixture.waiters(), 1, "in its place");
    let token = first.token();
    fixture.released(first).await;
    let second = fixture.granted(waiter).await;
    rises(token, second.token());
    fixture.released(second).await;
    fixture.over().await;
}

pub(crate) async fn h37_scripts_are_forgotten_at_every_step(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (fixture.renewing().await, fixture.steady().await);
    let forget = || server.flush_scripts().expect("flushed");
    forget();
    let all = fixture.all(&one).await;
    forget();
    let waiter = fixture.queue(&two).await;
    forget();
    tokio::time::sleep(medium() * 5 / 4).await;
    assert!(!all.is_lost(), "renewed");
    forget();
    all.extend(medium()).await.expect("extended");
    forget();
    fixture.handle(&one).inspect().await.expect("an answer");
    forget();
    fixture.released(all).await;
    let guard = fixture.granted(waiter).await;
    forget();
    assert!(
        fixture.handle(&one).force().await.expect("an answer"),
        "it was held"
    );
    assert_eq!(soon("a loss", guard.lost()).await, Loss::Forced, "told");
    drop(guard);
    eventually("no slot is left", || one.live() + two.live() == 0).await;
    fixture.over().await;
}
