//! Programs that disagree about the count of a latch agree as their handles say.

use std::time::Duration;

use latchwork_latch::{Client, CountdownLatch, ErrorKind, OnMismatch};
use latchwork_testkit::TestServer;
use latchwork_tests::go;

use crate::common::{expect, latch, on, opened, passed, settled, shared, waiting};

fn handle(client: &Client, count: u32, on_mismatch: OnMismatch) -> CountdownLatch {
    let builder = CountdownLatch::builder(client, "a", count).on_mismatch(on_mismatch);
    builder.build().expect("a latch")
}

#[tokio::test]
async fn a_handle_that_adopts_takes_part_in_the_latch_that_there_is() {
    let fixture = shared();
    let (one, two) = (fixture.client().await, fixture.client().await);
    let made = latch(&one, 6);
    let adopts = handle(&two, 100, OnMismatch::Adopt);
    assert_eq!(made.count_down().await.expect("counted"), 5);
    assert_eq!(adopts.count().await.expect("an answer"), 5);
    assert_eq!(adopts.count_down().await.expect("counted"), 4);
    assert_eq!(adopts.count_down_once("x").await.expect("counted"), 3);
    assert_eq!(adopts.count_down_once("x").await.expect("counted"), 3, "once");
    assert!(!adopts.try_wait().await.expect("an answer"));
    let waiter = waiting(&adopts);
    fixture.queued(1).await;
    assert_eq!(made.count_down_by(2).await.expect("counted"), 1);
    adopts.count_down_and_wait().await.expect("the last one");
    passed(waiter).await;
    adopts.wait().await.expect("finished");
    assert!(adopts.try_wait().await.expect("an answer"));
    expect(latch(&two, 100).wait().await, ErrorKind::Mismatch);
    // Without a latch its own count is the one to begin with.
    fixture.server.admin(&["DEL", &fixture.key()]).expect("an answer");
    assert_eq!(adopts.count_down().await.expect("counted"), 99);
    expect(made.count_down().await, ErrorKind::Mismatch);
    settled(&fixture, &[&one, &two]).await;
}

#[tokio::test]
async fn a_count_has_no_version() {
    let fixture = shared();
    let client = fixture.client().await;
    let builder = CountdownLatch::builder(&client, "a", 3).on_mismatch(OnMismatch::Set { version: 1 });
    let error = expect(builder.build(), ErrorKind::Invalid);
    assert!(error.to_string().contains("reset"), "{error}");
}

#[tokio::test]
async fn a_usual_call_takes_one_request_in_every_mode() {
    for on_mismatch in [OnMismatch::Error, OnMismatch::Adopt] {
        let server = TestServer::start().expect("a server");
        let fixture = on(&server);
        let client = fixture.client().await;
        let latch = handle(&client, 100, on_mismatch);
        latch.count_down().await.expect("counted");
        server.reset_stats().expect("an answer");
        for _ in 0..5 {
            latch.count_down().await.expect("counted");
        }
        let calls = server.command_calls().expect("an answer");
        assert_eq!((calls["evalsha"], calls["zadd"]), (5, 5), "{on_mismatch:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_releases_under_load_agree() {
    for (old, new) in [
        (OnMismatch::Error, OnMismatch::Error),
        (OnMismatch::Error, OnMismatch::Adopt),
        (OnMismatch::Adopt, OnMismatch::Adopt),
    ] {
        let fixture = shared();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(fixture.client().await);
        }
        handle(&clients[0], 200, old).count().await.expect("made");
        let waiter = waiting(&opened(&clients[0]));
        fixture.queued(1).await;
        let mut tasks = Vec::new();
        for client in &clients {
            for (count, mode) in [(200, old), (300, new)] {
                let latch = handle(client, count, mode);
                tasks.push(go(async move {
                    let mut counted = 0;
                    for _ in 0..25 {
                        match latch.count_down().await {
                            Ok(_) => counted += 1,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}"),
                        }
                    }
                    counted
                }));
            }
        }
        let mut counted = 0;
        for task in tasks {
            counted += task.await.expect("no panic");
        }
        let agree = new == OnMismatch::Adopt;
        assert_eq!(counted, if agree { 200 } else { 100 }, "{old:?} {new:?}");
        if !agree {
            opened(&clients[1]).count_down_by(100).await.expect("counted");
        }
        passed(waiter).await;
        settled(&fixture, &clients.iter().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn waiting_for_creation_is_busy_to_a_try() {
    let fixture = shared();
    let client = fixture.client().await;
    let builder = CountdownLatch::opener(&client, "a").wait_for_creation(true);
    let latch = builder.build().expect("a latch");
    assert!(!latch.try_wait().await.expect("not at zero"));
    let brief = latch.try_wait_for(Duration::from_millis(20));
    assert!(!brief.await.expect("not at zero"));
    expect(latch.count().await, ErrorKind::NoSuchLatch);
    expect(latch.count_down().await, ErrorKind::NoSuchLatch);
    expect(latch.inspect().await, ErrorKind::NoSuchLatch);
    settled(&fixture, &[&client]).await;
}
