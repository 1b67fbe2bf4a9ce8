//! A fence refuses every stale write.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use latchwork_mutex::{ErrorKind, Fence, FenceReply, FencingToken};
use latchwork_tests::{Fixture, mutex};

fn token(number: u64) -> FencingToken {
    FencingToken::new(number)
}

#[tokio::test]
async fn a_stale_writer_is_refused() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let mutex = mutex(&client, "a");
    let key = format!("{}:stock", fixture.prefix);
    let fence = Fence::new(&client, &key).expect("a fence");
    assert_eq!(fence.highest().await.expect("an answer"), None, "nobody wrote");

    let old = mutex.lock().await.expect("the lock");
    let stale = old.fencing_token();
    assert!(fence.set(stale, "41").await.expect("an answer"), "admitted");
    assert!(
        fence.set(stale, "42").await.expect("an answer"),
        "the same holder may write again"
    );
    mutex.force_unlock().await.expect("taken away");
    let new = mutex.lock().await.expect("the lock");
    assert!(
        fence.admit(new.fencing_token()).await.expect("an answer"),
        "newer"
    );
    assert!(!fence.set(stale, "0").await.expect("an answer"), "stale");
    assert!(!fence.admit(stale).await.expect("an answer"), "stale");
    assert_eq!(
        fence.highest().await.expect("an answer"),
        Some(new.fencing_token()),
        "the newest"
    );
    let value = fixture.server.admin(&["GET", &key]).expect("an answer");
    assert_eq!(value.text().as_deref(), Some("42"), "nothing was overwritten");
    fixture.server.admin(&["DEL", &key]).expect("an answer");
    fixture.check_leftovers();
}

#[tokio::test]
async fn a_guarded_script_sees_its_own_keys_and_arguments() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    let script = "return {#KEYS, #ARGV, KEYS[1], ARGV[1], ARGV[2]}";
    let reply = fence
        .eval(token(7), script, &[b"stock"], &[b"x", b"y"])
        .await
        .expect("an answer");
    let text = |text: &str| FenceReply::Bytes(text.as_bytes().to_vec());
    let expected = FenceReply::Array(vec![
        FenceReply::Int(1),
        FenceReply::Int(2),
        text("stock"),
        text("x"),
        text("y"),
    ]);
    assert_eq!(reply, Some(expected), "as if nothing stood before it");
    let reply = fence
        .eval(token(6), "return 1", &[], &[])
        .await
        .expect("an answer");
    assert_eq!(reply, None, "stale: not run");
    let reply = fence
        .eval(token(8), "-- a comment without an end", &[], &[])
        .await
        .expect("an answer");
    assert_eq!(reply, Some(FenceReply::Nil), "a comment in the last line");
    let error = fence
        .eval(token(9), "error('no')", &[], &[])
        .await
        .expect_err("raised");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn the_highest_token_expires_and_foreign_data_is_refused() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    assert!(
        fence.admit(token(1 << 52)).await.expect("an answer"),
        "exact to the last digit"
    );
    assert_eq!(
        fence.highest().await.expect("an answer"),
        Some(token(1 << 52)),
        "exact"
    );
    assert!(
        !fence.admit(token((1 << 52) - 1)).await.expect("an answer"),
        "one less is stale"
    );
    let key = format!("{}:fence:{{stock}}", fixture.prefix);
    let life = fixture
        .server
        .admin(&["PTTL", &key])
        .expect("an answer")
        .int()
        .expect("a number");
    let week = i64::try_from(latchwork_mutex::FENCE_MEMORY.as_millis()).expect("small");
    assert!(life > week - 60_000 && life <= week, "seven days: {life}");
    fixture
        .server
        .admin(&["SET", &key, "something else"])
        .expect("an answer");
    for error in [
        fence.admit(token(1)).await.expect_err("foreign"),
        fence.highest().await.expect_err("foreign"),
        fence
            .eval(token(1), "return 1", &[], &[])
            .await
            .expect_err("foreign"),
    ] {
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    }
    fixture.server.admin(&["DEL", &key]).expect("an answer");
    assert_eq!(
        Fence::new(&client, "").expect_err("empty").kind(),
        ErrorKind::Invalid,
        "kind"
    );
}

#[tokio::test]
async fn h62_a_fence_refuses_values_that_cannot_be_tokens() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    for number in [0, 1 << 53, u64::MAX] {
        let error = fence
            .admit(FencingToken::new(number))
            .await
            .expect_err("no token");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert_eq!(
        fence.highest().await.expect("an answer"),
        None,
        "and remembers none"
    );
}
