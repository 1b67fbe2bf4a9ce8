//! The access rule of `docs/safety.md` is what a client needs: every right, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use latchwork_latch::CountdownLatch;
use latchwork_limiter::{Algorithm, Rate, RateLimiter};
use latchwork_mutex::{Client, Fence, FenceReply, Mutex, Warning};
use latchwork_testkit::{Reply, TestServer};
use latchwork_tests::{LEASE, eventually, go, locked, mutex};

use crate::{read, workspace};

/// The words of the rule, after the user's name.
fn access_rule() -> Vec<String> {
    let text = read("docs/safety.md");
    let (_, rest) = text.split_once("ACL SETUSER latchwork ").expect("the rule");
    let (rule, _) = rest.split_once("```").expect("the rule's end");
    rule.split_whitespace().map(str::to_owned).collect()
}

/// Every command that Lua calls, and `|numsub`, from the text of the scripts.
fn commands_of_scripts() -> BTreeSet<String> {
    let core = workspace().join("crates/core/src");
    let mut sources = vec![fs::read_to_string(core.join("wire/guarded.rs")).expect("a source")];
    for file in fs::read_dir(core.join("lua")).expect("the scripts") {
        sources.push(fs::read_to_string(file.expect("a script").path()).expect("a script"));
    }
    let calls = sources.iter().flat_map(|source| source.split("call('").skip(1));
    calls
        .map(|rest| {
            let command = rest.split('\'').next().unwrap_or_default().to_lowercase();
            let container = command == "pubsub";
            let sub = rest.split('\'').nth(2).filter(|_| container);
            match sub {
                Some(sub) => format!("{command}|{}", sub.to_lowercase()),
                None => command,
            }
        })
        .collect()
}

#[test]
fn the_access_rule_names_every_command_and_no_other() {
    let rule = access_rule();
    let granted: BTreeSet<String> = rule
        .iter()
        .filter_map(|word| word.strip_prefix('+'))
        .map(str::to_owned)
        .collect();
    let mut used = commands_of_scripts();
    // What is sent outside scripts: handshake, heartbeat, scripts, inbox, label, the position in a queue.
    let sent = [
        "zrank",
        "ping",
        "info",
        "time",
        "config|get",
        "script|exists",
        "script|load",
        "evalsha",
        "eval",
        "subscribe",
        "set",
        "mget",
    ];
    used.extend(sent.map(str::to_owned));
    assert!(used.remove("spublish"), "only for sharded inboxes");
    let below = "`Inbox::Sharded`, all clients need `+spublish +ssubscribe +sunsubscribe`";
    let text = read("docs/safety.md").replace('\n', " ");
    assert!(text.contains(below), "it stands below the rule");
    assert_eq!(granted, used, "left: in the document; right: in the code");
}

/// A server with a user who may do what the document says, and this besides; and its URL.
fn guarded_server(besides: &[&str]) -> (TestServer, String) {
    let server = TestServer::start().expect("a server");
    let mut command: Vec<String> = vec!["ACL".into(), "SETUSER".into(), "latchwork".into()];
    command.extend(access_rule());
    command.extend(besides.iter().map(|&word| word.to_owned()));
    server.admin(&command).expect("the rule is understood");
    let url = format!("redis://latchwork:password@127.0.0.1:{}", server.port());
    (server, url)
}

/// What was refused: the objects in `ACL LOG`, without the driver's `CLIENT SETINFO`.
fn refused(server: &TestServer) -> Vec<String> {
    let log = server.admin(&["ACL", "LOG"]).expect("the log");
    let object = |entry: &Reply| -> Option<String> {
        let fields: Vec<_> = entry.items().iter().map(Reply::text).collect();
        let at = fields
            .iter()
            .position(|field| field.as_deref() == Some("object"))?;
        fields.get(at + 1)?.clone()
    };
    let objects = log.items().iter().filter_map(object);
    objects.filter(|object| !object.starts_with("client")).collect()
}

/// Everything that a client can do to a mutex and a fence.
async fn lock(one: &Client, other: &Client) -> latchwork_mutex::Result<()> {
    let mutex = Mutex::builder(one, "a").lease(LEASE).build()?;
    let same = Mutex::builder(other, "a").lease(LEASE).build()?;

    // Alone; then a waiter that gives up, one that is dropped, and one that gets it.
    let guard = mutex.lock().await?;
    assert!(same.try_lock().await?.is_none(), "busy");
    assert!(same.try_lock_for(LEASE / 10).await?.is_none(), "busy");
    drop(tokio::time::timeout(LEASE / 10, same.lock()).await);
    let waiter = go({
        let same = same.clone();
        async move { same.lock().await }
    });
    tokio::time::sleep(LEASE).await; // renewals, refreshes
    guard.extend(LEASE * 2).await?;
    let info = mutex.inspect().await?;
    assert_eq!((info.holders.len(), info.queue_len), (1, 1), "{info:?}");
    assert!(
        info.holders.iter().all(|holder| holder.label.is_some()),
        "labels can be read"
    );
    guard.unlock().await?;
    let guard = waiter.await.expect("no panic")?;

    // To another client, and away from it.
    let ticket = guard.into_ticket().await?;
    let guard = mutex.resume(&ticket).await?;
    assert!(same.force_unlock().await?, "held");
    assert!(
        guard.lost().await == latchwork_mutex::Loss::Forced,
        "told at once"
    );
    assert!(!mutex.is_locked().await?, "free");

    // A floor makes the script look at more, and so does a dead holder.
    let floor = guard.fencing_token();
    let floored = Mutex::builder(one, "a").token_floor(floor).lease(LEASE).build()?;
    floored.lock().await?.forget();
    let guard = same.lock().await?;
    let token = guard.fencing_token();

    let fence = Fence::new(other, "stock")?;
    assert!(fence.admit(token).await?, "new");
    assert!(fence.set(token, "1").await?, "as new");
    assert_eq!(fence.highest().await?, Some(token), "remembered");
    let reply = fence
        .eval(token, "return redis.call('GET', KEYS[1])", &[b"stock"], &[])
        .await?;
    assert_eq!(
        reply,
        Some(FenceReply::Bytes(b"1".to_vec())),
        "a script of one's own"
    );
    guard.unlock().await
}

/// Everything that a client can do to a rate limiter.
async fn limit(one: &Client) -> latchwork_mutex::Result<()> {
    let ten = NonZeroU32::MIN.saturating_add(9);
    for algorithm in [Algorithm::Gcra, Algorithm::SlidingWindow] {
        let limiter = RateLimiter::builder(one, "a", Rate::per_second(ten))
            .algorithm(algorithm)
            .build()?;
        limiter.acquire_many(1).await?;
        drop(tokio::time::timeout(LEASE / 100, limiter.acquire()).await);
        limiter.set_rate(Rate::per_minute(ten)).await?;
        limiter.peek().await?;
        limiter.reset().await?;
    }
    Ok(())
}

/// Everything that a client can do to a latch: two waiters, an id, a look, a new generation.
async fn count_down(one: &Client, other: &Client) -> latchwork_mutex::Result<()> {
    let latch = CountdownLatch::new(one, "b", 3)?;
    let waiters = [go(latch.wait()), go(latch.wait())];
    let both_wait = async {
        while latch.inspect().await.map_or(0, |info| info.waiting) < 2 {
            tokio::time::sleep(LEASE / 100).await;
        }
    };
    let in_time = tokio::time::timeout(LEASE * 30, both_wait).await;
    assert!(in_time.is_ok(), "both wait");
    let same = CountdownLatch::open(other, "b")?;
    assert_eq!(same.count_down_once("x").await?, 2, "counted");
    assert_eq!(same.count_down_by(2).await?, 0, "counted");
    for waiter in waiters {
        waiter.await.expect("no panic")?;
    }
    same.reset(1).await?;
    assert!(!latch.try_wait_for(LEASE / 10).await?, "a new one");
    same.count_down_and_wait().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_rule_is_enough() {
    let (server, url) = guarded_server(&["~stock"]);
    let one = Client::connect(&url).await.expect("a client");
    let other = Client::connect(&url).await.expect("a client");
    lock(&one, &other).await.expect("everything is allowed");
    limit(&one).await.expect("everything is allowed");
    count_down(&one, &other).await.expect("everything is allowed");
    for client in [&one, &other] {
        let complaints: Vec<Warning> = client.warnings();
        assert_eq!(
            complaints,
            [Warning::NoPersistence],
            "and that can only be said with CONFIG GET"
        );
        assert!(client.is_listening(), "messages come");
    }
    // A single key per lock: what is not the prefix's is refused.
    assert_eq!(refused(&server), Vec::<String>::new(), "nothing was refused");
    let outside = Fence::new(&one, "elsewhere").expect("a fence");
    let token = latchwork_mutex::FencingToken::new(1);
    let error = outside.set(token, "1").await.expect_err("not our key");
    assert_eq!(error.kind(), latchwork_mutex::ErrorKind::Denied, "{error}");
    assert_eq!(refused(&server), ["elsewhere"], "the log says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_rights_that_only_help_it_works_and_says_so() {
    let (_server, url) = guarded_server(&["-subscribe", "-publish", "-pubsub", "-info", "-config"]);
    let one = Client::connect(&url).await.expect("a client");
    let other = Client::connect(&url).await.expect("a client");
    let guard = locked(&one, "a").await;
    let waiter = go({
        let mutex = mutex(&other, "a");
        async move { mutex.lock().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    guard.unlock().await.expect("released");
    let guard = waiter.await.expect("no panic").expect("handed on");
    guard.unlock().await.expect("released");
    let says = |client: &Client| format!("{:?}", client.warnings());
    eventually("both say what they cannot do", || {
        ["SubscribeDenied", "NotInspected"]
            .iter()
            .all(|what| says(&one).contains(what) && says(&other).contains(what))
    })
    .await;
}
