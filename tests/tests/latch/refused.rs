//! Foreign data, full memory, a full queue and missing rights count nothing.

use latchwork_latch::{CountdownLatch, ErrorKind};
use latchwork_testkit::TestServer;
use latchwork_tests::{go, soon};

use super::common::{expect, latch, on, opened, passed, settled, shared, waiting};

#[tokio::test]
async fn h41_foreign_data_is_left_alone() {
    let fixture = shared();
    let client = fixture.client().await;
    for foreign in [
        &["SET", "KEY", "x"][..],
        &["ZADD", "KEY", "7", "n", "5", "i", "1", "g"],
    ] {
        let words: Vec<String> = foreign
            .iter()
            .map(|word| word.replace("KEY", &fixture.key()))
            .collect();
        fixture.server.admin(&["DEL", &fixture.key()]).expect("an answer");
        fixture.server.admin(&words).expect("written");
        let dump = fixture.server.admin(&["DUMP", &fixture.key()]).expect("a dump");
        let latch = latch(&client, 1);
        expect(latch.count_down().await, ErrorKind::WrongType);
        expect(latch.count_down_once("x").await, ErrorKind::WrongType);
        expect(latch.count().await, ErrorKind::WrongType);
        expect(latch.wait().await, ErrorKind::WrongType);
        expect(latch.count_down_and_wait().await, ErrorKind::WrongType);
        expect(latch.reset(1).await, ErrorKind::WrongType);
        expect(latch.inspect().await, ErrorKind::WrongType);
        expect(opened(&client).try_wait().await, ErrorKind::WrongType);
        let after = fixture.server.admin(&["DUMP", &fixture.key()]).expect("a dump");
        assert_eq!(after, dump, "{foreign:?}");
    }
    assert_eq!(client.live(), 0, "no slot is left");
    fixture.server.admin(&["DEL", &fixture.key()]).expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h40_memory_is_full() {
    let server = TestServer::start().expect("a server");
    let fixture = on(&server);
    let client = fixture.client().await;
    let made = latch(&client, 2);
    assert_eq!(made.count_down().await.expect("counted"), 1);
    let waiter = waiting(&made);
    fixture.queued(1).await;
    server.admin(&["CONFIG", "SET", "maxmemory", "1"]).expect("full");
    let before: Vec<_> = fixture
        .scores()
        .into_iter()
        .filter(|(_, score)| *score > 0.0)
        .collect();
    for result in [made.count_down().await, made.count_down_once("x").await] {
        let error = expect(result, ErrorKind::OutOfMemory);
        assert!(error.is_transient(), "it may pass: {error}");
    }
    expect(made.count_down_and_wait().await, ErrorKind::OutOfMemory);
    expect(made.reset(2).await, ErrorKind::OutOfMemory);
    expect(made.wait().await, ErrorKind::OutOfMemory);
    assert_eq!(made.count().await.expect("what reads works"), 1);
    assert!(!made.try_wait().await.expect("what reads works"));
    let after: Vec<_> = fixture
        .scores()
        .into_iter()
        .filter(|(_, score)| *score > 0.0)
        .collect();
    assert_eq!(after, before, "nothing half done");
    // Who waits goes on waiting, and who gives up leaves.
    waiter.abort();
    settled(&fixture, &[&client]).await;
    server.admin(&["CONFIG", "SET", "maxmemory", "0"]).expect("room");
    let waiter = waiting(&made);
    fixture.queued(1).await;
    assert_eq!(made.count_down().await.expect("counted"), 0);
    passed(waiter).await;
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn h68_a_full_queue_refuses_and_counts_nothing() {
    let fixture = shared();
    let client = fixture.client_with(|b| b.max_waiters(2)).await;
    let made = latch(&client, 3);
    let waiters: Vec<_> = (0..2).map(|_| waiting(&made)).collect();
    fixture.queued(2).await;
    let error = expect(made.wait().await, ErrorKind::QueueFull);
    assert!(error.to_string().contains("max_waiters"), "{error}");
    expect(made.count_down_and_wait().await, ErrorKind::QueueFull);
    assert_eq!(made.count().await.expect("an answer"), 3, "nothing was counted");
    made.count_down_by(2).await.expect("counted");
    // The last one need not wait.
    soon("a pass", made.count_down_and_wait())
        .await
        .expect("the last");
    for waiter in waiters {
        passed(waiter).await;
    }
    settled(&fixture, &[&client]).await;
}

#[tokio::test]
async fn h46_a_right_that_is_missing_is_named() {
    for (rule, right) in [
        ("-evalsha", "`+evalsha`"),
        ("-zadd", "`+zadd`"),
        ("-pexpire", "`+pexpire`"),
        ("-zscore", "`+zscore`"),
    ] {
        let server = TestServer::start().expect("a server");
        let fixture = on(&server);
        let url = fixture.restricted(&[rule]);
        let client = fixture.builder_at(url).connect().await.expect("a client");
        let made = latch(&client, 2);
        for result in [soon("a refusal", made.count_down()).await, made.count().await] {
            let error = expect(result, ErrorKind::Denied);
            assert!(error.to_string().contains(right), "{error}");
            if rule != "-evalsha" && rule != "-zscore" {
                break; // what was half done stays: a count needs no further right
            }
        }
        latchwork_tests::eventually("no slot is left", || client.live() == 0).await;
    }
}

#[tokio::test]
async fn names_of_any_bytes_are_latches_of_their_own() {
    let fixture = shared();
    let client = fixture.client().await;
    let names: [&[u8]; 5] = [b"x", b"{x}", b"\0\xff", b"%78", &[b'n'; 512]];
    for (number, name) in names.iter().enumerate() {
        let count = u32::try_from(number).expect("small") + 1;
        let made = CountdownLatch::new(&client, name, count).expect("a latch");
        assert_eq!(made.count().await.expect("an answer"), count);
        let waiter = waiting(&made);
        let last = made.clone();
        go(async move { last.count_down_by(9).await })
            .await
            .expect("no panic")
            .expect("counted");
        passed(waiter).await;
    }
    for bad in [&b""[..], &[b'n'; 513]] {
        let error = CountdownLatch::new(&client, bad, 1).expect_err("not a name");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        CountdownLatch::open(&client, bad).expect_err("not a name");
    }
    settled(&fixture, &[&client]).await;
}
