//! The server is killed and comes back, or has forgotten the scripts.

use latchwork_mutex::{ErrorKind, Loss};
use latchwork_testkit::TestServer;
use latchwork_tests::subject::Subject;
use latchwork_tests::{Case, LONG, MEDIUM, eventually, rises, soon};

pub(crate) async fn h52_a_restart_that_forgets_is_a_loss_and_serves_the_waiter(
    subject: &'static dyn Subject,
) {
    let server = TestServer::start().expect("a server");
    let case = Case::on(subject, &server);
    let (one, two) = (case.renewing().await, case.renewing().await);
    let first = case.all(&one).await;
    let waiter = case.queue(&two).await;
    server.kill().expect("killed");
    assert!(!waiter.is_finished(), "it waits on");
    server.restart().expect("again");
    let second = case.granted(waiter).await;
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
    case.still_held(&second, MEDIUM).await;
    case.released(second).await;
    case.over().await;
}

pub(crate) async fn h53_a_restart_that_remembers_costs_nobody_anything(subject: &'static dyn Subject) {
    // Every second it would do, if the disk kept up: what cannot be written while it syncs is lost with the process.
    let builder = TestServer::builder().persist(true).arg("--appendfsync", "always");
    let server = builder.start().expect("a server");
    let case = Case::on(subject, &server);
    let (one, two, three) = (case.steady().await, case.steady().await, case.steady().await);
    let first = case.all(&one).await;
    let waiter = case.queue(&two).await;
    server.restart().expect("again");
    case.still_held(&first, LONG).await;
    assert!(case.tried(&three).await.is_none(), "busy");
    assert!(!waiter.is_finished(), "it waits on");
    assert_eq!(case.waiters(), 1, "in its place");
    let token = first.token();
    case.released(first).await;
    let second = case.granted(waiter).await;
    rises(token, second.token());
    case.released(second).await;
    case.over().await;
}

pub(crate) async fn h37_scripts_are_forgotten_at_every_step(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let case = Case::on(subject, &server);
    let (one, two) = (case.renewing().await, case.steady().await);
    let forget = || server.flush_scripts().expect("flushed");
    forget();
    let all = case.all(&one).await;
    forget();
    let waiter = case.queue(&two).await;
    forget();
    tokio::time::sleep(MEDIUM * 5 / 4).await;
    assert!(!all.is_lost(), "renewed");
    forget();
    all.extend(MEDIUM).await.expect("extended");
    forget();
    case.handle(&one).inspect().await.expect("an answer");
    forget();
    case.released(all).await;
    let guard = case.granted(waiter).await;
    forget();
    assert!(case.handle(&one).force().await.expect("an answer"), "it was held");
    assert_eq!(soon("a loss", guard.lost()).await, Loss::Forced, "told");
    drop(guard);
    eventually("no slot is left", || one.live() + two.live() == 0).await;
    case.over().await;
}
