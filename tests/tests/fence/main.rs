//! A fence refuses every stale write.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use latchwork_mutex::{ErrorKind, Fence, FenceReply, FencingToken};
use latchwork_testkit::{Action, Direction, contains};
use latchwork_tests::{Fixture, LONG, eventually, go, mutex, soon};

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
    let large = now(&fixture) / 2 * 2 + 1;
    assert!(
        fence.admit(token(large)).await.expect("an answer"),
        "exact to the last digit"
    );
    assert_eq!(
        fence.highest().await.expect("an answer"),
        Some(token(large)),
        "exact"
    );
    assert!(
        !fence.admit(token(large - 1)).await.expect("an answer"),
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

/// The server's time, µs: what a token of now is.
fn now(fixture: &Fixture<'_>) -> u64 {
    let time = fixture.server.admin(&["TIME"]).expect("an answer");
    let part = |at: usize| time.items()[at].int().expect("a number");
    u64::try_from(part(0) * 1_000_000 + part(1)).expect("after 1970")
}

#[tokio::test]
async fn h62_a_token_far_ahead_of_the_clock_is_refused_and_shuts_nobody_out() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    let hour = 3_600_000_000;
    let far = token(now(&fixture) + 25 * hour);
    let refusals = [
        fence.admit(far).await.err(),
        fence.set(far, "x").await.err(),
        fence.eval(far, "return 1", &[], &[]).await.err(),
        fence.pipeline(far, [["PING"]]).await.err(),
    ];
    for error in refusals {
        let error = error.expect("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("a day ahead"), "{error}");
    }
    assert_eq!(
        fence.highest().await.expect("an answer"),
        None,
        "nothing is remembered"
    );
    let near = token(now(&fixture) + 23 * hour);
    assert!(
        fence.admit(near).await.expect("an answer"),
        "clocks may differ by a day"
    );
    // As when the clock was set back by two hours: the tokens of a lock go on from the last one.
    let next = token(near.get() + 3 * hour);
    assert!(fence.admit(next).await.expect("an answer"), "near the highest");
    let beyond = fence.admit(token(next.get() + 25 * hour)).await;
    assert_eq!(beyond.expect_err("refused").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn resources_that_differ_in_braces_only_share_no_token() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    for (one, other) in [("a", "{a}"), ("{a", "{{a}"), ("a}", "a%7D"), ("{}a", "~{}a")] {
        let [one, other] = [one, other].map(|resource| Fence::new(&client, resource).expect("a fence"));
        assert!(one.admit(token(9)).await.expect("an answer"), "{one:?}");
        assert_eq!(other.highest().await.expect("an answer"), None, "{other:?}");
        assert!(other.admit(token(5)).await.expect("an answer"), "{other:?}");
    }
}

#[tokio::test]
async fn an_error_that_a_guarded_script_raises_is_the_scripts_own() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    let key = format!("{}:list", fixture.prefix);
    fixture.server.admin(&["RPUSH", &key, "x"]).expect("an answer");
    let script = "redis.call('SET', KEYS[2], '1') return redis.call('INCR', KEYS[1])";
    let written = format!("{}:written", fixture.prefix);
    let keys: [&[u8]; 2] = [key.as_bytes(), written.as_bytes()];
    let raised = fence
        .eval(token(7), script, &keys, &[])
        .await
        .expect_err("raised");
    assert_eq!(raised.kind(), ErrorKind::Protocol, "{raised}");
    let text = raised.to_string();
    assert!(
        text.contains("WRONGTYPE") && text.contains(&key) && !text.contains("prefix"),
        "{text}"
    );
    assert_eq!(
        fence.highest().await.expect("an answer"),
        Some(token(7)),
        "admitted"
    );
    let value = fixture.server.admin(&["GET", &written]).expect("an answer");
    assert_eq!(
        value.text().as_deref(),
        Some("1"),
        "what it wrote before is written"
    );
    let wrong = fence.eval(token(8), "this is no Lua", &[], &[]).await;
    assert_eq!(wrong.expect_err("does not compile").kind(), ErrorKind::Protocol);
    assert_eq!(
        fence.highest().await.expect("an answer"),
        Some(token(7)),
        "not admitted"
    );
    fixture.server.admin(&["DEL", &key, &written]).expect("an answer");
}

#[tokio::test]
async fn a_missing_right_to_a_key_of_a_guarded_script_is_reported_as_such() {
    let server = latchwork_testkit::TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let ours = format!("~{}:*", fixture.prefix);
    let url = fixture.restricted(&["resetkeys", &ours]);
    let client = fixture.builder_at(url).connect().await.expect("a client");
    let fence = Fence::new(&client, "stock").expect("a fence");
    let script = "return redis.call('INCR', KEYS[1])";
    let error = fence.eval(token(7), script, &[b"foreign"], &[]).await;
    let error = error.expect_err("refused");
    assert!(
        error.to_string().contains("foreign"),
        "it names the key of the script: {error}"
    );
    let error = fence.pipeline(token(7), [["INCR", "foreign"]]).await;
    assert_eq!(error.expect_err("refused").kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_pipeline_is_one_step_behind_the_token() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    let [number, list, other] = ["number", "list", "other"].map(|key| format!("{}:{key}", fixture.prefix));
    let commands: [&[&str]; 4] = [
        &["SET", &number, "41"],
        &["INCR", &number],
        &["RPUSH", &list, "a", "b"],
        &["GET", &other],
    ];
    let done = fence.pipeline(token(7), commands).await.expect("an answer");
    let ok = FenceReply::Bytes(b"OK".to_vec());
    let expected = vec![ok, FenceReply::Int(42), FenceReply::Int(2), FenceReply::Nil];
    assert_eq!(done, Some(expected), "each reply");
    let stale = fence
        .pipeline(token(6), [["DEL", &number]])
        .await
        .expect("an answer");
    assert_eq!(stale, None, "stale");
    let value = |key: &str| {
        let reply = fixture.server.admin(&["GET", key]).expect("an answer");
        reply.text()
    };
    assert_eq!(value(&number).as_deref(), Some("42"), "nothing was done");
    // The second of three fails.
    let commands: [&[&str]; 3] = [&["SET", &number, "1"], &["INCR", &list], &["SET", &other, "1"]];
    let error = fence.pipeline(token(8), commands).await.expect_err("a list");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("command 2 of 3 (INCR)") && text.contains("WRONGTYPE"),
        "{text}"
    );
    assert_eq!(value(&number).as_deref(), Some("1"), "the first is done");
    assert_eq!(value(&other), None, "the third is not");
    assert_eq!(
        fence.highest().await.expect("an answer"),
        Some(token(8)),
        "admitted"
    );
    let none = fence.pipeline(token(9), [Vec::<&str>::new()]).await;
    assert_eq!(none.expect_err("no words").kind(), ErrorKind::Invalid);
    let many = fence.pipeline(token(9), vec![["PING"]; 1001]).await;
    assert_eq!(many.expect_err("too many").kind(), ErrorKind::Invalid);
    let all = fence.pipeline(token(9), vec![["PING"]; 1000]).await;
    assert_eq!(all.expect("an answer").map(|all| all.len()), Some(1000));
    fixture.server.admin(&["DEL", &number, &list]).expect("an answer");
}

#[tokio::test]
async fn a_command_of_a_pipeline_has_at_most_a_thousand_words() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    let list = format!("{}:list", fixture.prefix);
    let words = |count: usize| -> Vec<&str> {
        let values = std::iter::repeat_n("x", count - 2);
        ["RPUSH", &list].into_iter().chain(values).collect()
    };
    let beyond = fence.pipeline(token(7), [words(2), words(1001)]).await;
    assert_eq!(beyond.expect_err("too many").kind(), ErrorKind::Invalid);
    assert_eq!(
        fence.highest().await.expect("an answer"),
        None,
        "nothing was sent"
    );
    let most = fence.pipeline(token(7), [words(1000), words(1000)]).await;
    let expected = [998, 1996].map(FenceReply::Int).to_vec();
    assert_eq!(most.expect("an answer"), Some(expected), "all that there may be");
    fixture.server.admin(&["DEL", &list]).expect("an answer");
}

/// Writes are held up on their way until somebody with a newer token was admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_held_up_and_comes_after_a_newer_token_is_refused() {
    let fixture = Fixture::shared();
    let (proxy, client) = fixture
        .proxied_with(|builder| builder.operation_timeout(LONG))
        .await;
    let steady = fixture.client().await;
    let key = format!("{}:stock", fixture.prefix);
    let late = Fence::new(&client, &key).expect("a fence");
    let newer = Fence::new(&steady, &key).expect("a fence");
    // So that no script has to be loaded on the way.
    assert!(late.set(token(1), "first").await.expect("an answer"), "admitted");
    late.pipeline(token(1), [["GET", &key]]).await.expect("an answer");
    for (old, way) in [(2, "eval"), (4, "pipeline"), (6, "set")] {
        let held = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&held);
        proxy.on_chunk(move |direction, _, chunk| {
            let write = direction == Direction::ToServer && contains(chunk, "overwritten");
            if write && !said.swap(true, Ordering::SeqCst) {
                return Action::Hold;
            }
            Action::Pass
        });
        let (late, resource) = (late.clone(), key.clone());
        let write = go(async move {
            let script = "return redis.call('SET', KEYS[1], ARGV[1])";
            let keys: [&[u8]; 1] = [resource.as_bytes()];
            let (old, value) = (token(old), "overwritten");
            Ok(match way {
                "eval" => late
                    .eval(old, script, &keys, &[value.as_bytes()])
                    .await?
                    .is_some(),
                "pipeline" => late.pipeline(old, [["SET", &resource, value]]).await?.is_some(),
                _ => late.set(old, value).await?,
            })
        });
        eventually("it is on its way", || held.load(Ordering::SeqCst)).await;
        let (by, written) = (token(old + 1), format!("by {}", old + 1));
        assert!(newer.set(by, &written).await.expect("an answer"), "newer");
        proxy.no_hook();
        proxy.release();
        let result: Result<bool, latchwork_mutex::Error> = soon("an answer", write).await.expect("no panic");
        assert!(!result.expect("an answer"), "{way} is refused");
        let value = fixture.server.admin(&["GET", &key]).expect("an answer");
        assert_eq!(value.text(), Some(written), "{way} has written nothing");
        assert_eq!(newer.highest().await.expect("an answer"), Some(by), "{way}");
    }
    fixture.server.admin(&["DEL", &key]).expect("an answer");
}

#[tokio::test]
async fn only_a_use_that_is_admitted_prolongs_the_memory() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let fence = Fence::new(&client, "stock").expect("a fence");
    assert!(fence.admit(token(7)).await.expect("an answer"), "new");
    let key = format!("{}:fence:{{stock}}", fixture.prefix);
    let admin = |args: &[&str]| {
        fixture
            .server
            .admin(args)
            .expect("an answer")
            .int()
            .expect("a number")
    };
    admin(&["PEXPIRE", &key, "60000"]);
    assert!(!fence.admit(token(6)).await.expect("an answer"), "stale");
    assert!(!fence.set(token(6), "x").await.expect("an answer"), "stale");
    fence.highest().await.expect("an answer");
    assert!(admin(&["PTTL", &key]) <= 60_000, "as before");
    assert!(fence.admit(token(7)).await.expect("an answer"), "the same");
    assert!(admin(&["PTTL", &key]) > 60_000, "seven days again");
}
