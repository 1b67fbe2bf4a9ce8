//! Keys that are not ours, a full memory, refused messages, thousands of stale entries.

use std::sync::Arc;

use latchwork_testkit::{Reply, RespClient, TestServer};

use crate::bench::{Bench, Script, numbers, whole};
use crate::lock::{KEY, LEASE, Lock, TRY, WAIT, WINDOW, attempt, error, ints};

/// How each script is called for a key that it is going to refuse.
fn call_each(lock: &mut Lock) -> Vec<(Script, Reply)> {
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    let now = lock.now();
    let force = ["1".to_owned(), "1000".to_owned()];
    let adopt = [
        a.id.clone(),
        "10".into(),
        "10".into(),
        b.id,
        "1".into(),
        (now + 1).to_string(),
    ];
    vec![
        (Script::Acquire, lock.acquire_raw(&a, WAIT)),
        (Script::End, lock.end_raw(&a, Some(1))),
        (Script::Force, lock.bench.call(Script::Force, &[KEY], &force)),
        (Script::Inspect, lock.inspect(1)),
        (Script::Adopt, lock.bench.call(Script::Adopt, &[KEY], &adopt)),
    ]
}

#[test]
fn a_sorted_set_of_somebody_else_is_left_alone() {
    const SETS: [&[&str]; 2] = [&["5", ""], &["5", "", "1700000000000", "b", "-3", "c"]];
    for theirs in SETS {
        let mut lock = Lock::new(1);
        lock.bench.redis(&[&["ZADD", KEY], theirs].concat());
        let members = lock.bench.redis(&["ZRANGE", KEY, "0", "-1", "WITHSCORES"]);
        let stamp = lock.stamp();
        for (script, reply) in call_each(&mut lock) {
            let mark = match script {
                Script::End | Script::Force => vec![8, 0, 0],
                Script::Inspect => vec![8],
                _ => vec![8, stamp],
            };
            assert_eq!(ints(&reply), mark, "{script:?}");
        }
        let a = attempt(1, 1);
        assert_eq!(lock.tick('h', &a, 1), [8]);
        assert_eq!(lock.tick('w', &a, 0), [8]);
        assert_eq!(lock.end(&a, None), [8, 0, 0]);
        assert_eq!(
            lock.bench.redis(&["ZRANGE", KEY, "0", "-1", "WITHSCORES"]),
            members
        );
        assert_eq!(lock.pttl(), -1);
    }
}

#[test]
fn a_key_of_another_type_is_an_error_before_any_write() {
    let mut lock = Lock::new(1);
    lock.bench.redis(&["SET", KEY, "v"]);
    for (script, reply) in call_each(&mut lock) {
        assert!(error(&reply).contains("WRONGTYPE"), "{script:?}: {reply:?} (H41)");
    }
    lock.bench.redis(&["RPUSH", "list", "v"]);
    let reply = lock.bench.call(Script::Fence, &["list"], &["1", "1000"]);
    assert!(error(&reply).contains("WRONGTYPE"), "{reply:?}");
    assert_eq!(lock.bench.redis(&["GET", KEY]).text().as_deref(), Some("v"));
}

#[test]
fn in_a_tick_a_bad_key_answers_for_itself_only() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    let token = lock.acquire(&a, WAIT)[2];
    let [text, foreign, none] = ["text", "foreign", "none"].map(|name| format!("latchwork:lock:{{{name}}}"));
    lock.bench.redis(&["SET", &text, "v"]);
    lock.bench.redis(&["ZADD", &foreign, "1", "v"]);
    let [held, other, waits] = [
        ('h', &a, token, LEASE),
        ('h', &a, token, LEASE),
        ('w', &b, 0, LEASE),
    ];
    let reply = lock.tick_raw(
        &[&text, KEY, &foreign, &none, &text],
        &[other, held, waits, waits, waits],
    );
    let [_, _, first, rest @ ..] = reply.items() else {
        panic!("{reply:?}")
    };
    assert_eq!(first.items()[0], Reply::Int(9), "{reply:?}");
    assert!(
        first.items()[1].text().unwrap().contains("WRONGTYPE"),
        "{reply:?}"
    );
    let codes: Vec<_> = rest.iter().map(|item| item.items()[0].int().unwrap()).collect();
    assert_eq!(codes, [1, 8, 4, 9]);
    assert_eq!(
        lock.bench.redis(&["EXISTS", &none]),
        Reply::Int(0),
        "nothing is made of a question"
    );
}

#[test]
fn memory_is_full() {
    let mut lock = Lock::new(1);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    lock.listens(&b);
    let token = lock.acquire(&a, WAIT)[2];
    lock.acquire(&b, WAIT);
    lock.bench.advance(1000);
    lock.bench.call(Script::Inspect, &[KEY], &[1]); // the test's own clock is a write: now, not later
    lock.bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = lock.dump();
    for who in [&a, &c] {
        let reply = lock.acquire_raw(who, WAIT);
        assert!(
            error(&reply).contains("OOM"),
            "acquire is refused: {reply:?} (H40)"
        );
    }
    assert_eq!(lock.dump(), before, "and changed nothing");
    assert_eq!(lock.tick('h', &a, token), [1, LEASE], "renewal");
    assert_eq!(lock.tick('x', &a, token), [1, 5 * LEASE], "extension");
    assert_eq!(lock.tick('w', &b, 0), [3, 5 * LEASE, 0], "a place is refreshed");
    assert_eq!(lock.end(&c, Some(100)), [0, 0, 0], "a tombstone");
    assert_eq!(lock.end(&a, None), [1, 0, 0], "hand-off");
    let claim = lock.stamp();
    assert_eq!(lock.tick('h', &b, claim), [1, LEASE], "confirmation");
    assert_eq!(lock.adopt(&d, &b, claim, 100)[0], 1, "adoption");
    assert_eq!(lock.force(), [1, 0, 0]);
    assert_eq!(lock.bench.messages().len(), 1, "the grant was told");
    let text = error(&lock.acquire_raw(&attempt(9, 1), TRY)).to_owned();
    assert!(text.contains("OOM"), "{text}");
    lock.bench.redis(&["DEL", KEY]);
    assert!(error(&lock.acquire_raw(&a, WAIT)).contains("OOM"), "a fresh key");
    assert_eq!(lock.pttl(), -2);
    assert_eq!(lock.end(&a, Some(100)), [0, 0, 0], "a tombstone on a fresh key");
    assert!(lock.dump().tombs.contains_key(&a.id) && lock.pttl() > 0);
}

#[test]
fn a_refused_message_undoes_nothing() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.redis(&[
        "ACL",
        "SETUSER",
        "mute",
        "on",
        "nopass",
        "~*",
        "resetchannels",
        "+@all",
    ]);
    assert_eq!(
        lock.bench.redis(&["AUTH", "mute", "x"]),
        Reply::Status("OK".to_owned())
    );
    assert_eq!(lock.end(&a, None), [1, 0, 1], "it says so (H46)");
    assert_eq!(lock.holders(), [b.id]);
}

#[test]
fn thousands_of_stale_waiters_are_removed_in_steps() {
    let mut lock = Lock::new(1);
    let a = attempt(1, 1);
    let token = lock.acquire(&a, WAIT)[2];
    for count in 0..5000 {
        lock.acquire(&attempt(10 + count, 1), WAIT);
    }
    let live = attempt(2, 1);
    lock.bench.advance(LEASE - 1);
    lock.tick('h', &a, token);
    lock.bench.advance(LEASE - 1);
    lock.acquire(&live, WAIT);
    lock.end(&a, None);
    let mut steps = 1;
    while let [3, _, more] = lock.tick('w', &live, 0)[..] {
        assert_eq!(more, 1, "it goes on at once");
        steps += 1;
        assert!(lock.queue().len() <= 5001 - steps * 1000, "1000 a step");
    }
    assert_eq!((steps, lock.queue().len()), (5, 0));
}

#[test]
fn force_goes_on_until_nobody_holds() {
    let mut lock = Lock::new(1000);
    for count in 0..150 {
        lock.acquire(&attempt(count, 1), TRY);
    }
    assert_eq!(lock.force(), [1, 1, 0], "100, and there may be more");
    assert_eq!(lock.dump().shared, Some(50));
    assert_eq!(lock.force(), [1, 0, 0]);
    assert_eq!(lock.holders().len(), 0);
}

#[test]
fn a_claim_that_lapsed_stays_in_the_queue_while_force_goes_on() {
    let mut lock = Lock::new(151);
    for count in 0..150 {
        lock.acquire(&attempt(count, 1), TRY);
    }
    let [last, waits] = [200, 201].map(|count| attempt(count, 1));
    lock.listens(&waits);
    lock.acquire(&last, WAIT);
    lock.acquire(&waits, WAIT);
    lock.end(&last, None);
    assert_eq!(lock.dump().holds[&waits.id].1, Some(0), "a claim");
    lock.bench.advance(WINDOW + 1);
    assert_eq!(lock.force(), [1, 1, 0], "there are more");
    assert_eq!(lock.queue(), [waits.id], "and nobody is let in");
}

#[test]
fn more_is_said_while_there_is_more() {
    let mut lock = Lock::new(1000);
    for count in 0..600 {
        lock.acquire(&attempt(count, 1), TRY);
    }
    let writer = attempt(900, 1000);
    lock.bench.advance(LEASE);
    assert_eq!(
        lock.acquire(&writer, WAIT),
        [2, lock.stamp(), 0, 1],
        "250 of 600 are gone; ask again at once"
    );
    assert_eq!(lock.dump().shared, Some(350));
    assert_eq!(
        lock.end(&attempt(901, 1), None),
        [0, 1, 0],
        "every script goes on with it"
    );
    assert_eq!(lock.tick('w', &writer, 0), [2, lock.stamp(), 1000, 1]);
}

/// The untouched scripts, on the real clock, on a cluster's node; then as scripts with flags, which may use no key that
/// they do not declare.
#[test]
fn the_scripts_as_they_are_shipped() {
    let bench = Bench::on(Arc::new(TestServer::builder().cluster(true).start().unwrap()));
    let mut redis = RespClient::connect(bench.server.port()).unwrap();
    run_each(&mut redis, "", Script::source);
    if bench.server.version().is_at_least(7, 0) {
        redis.call(&["DEL", KEY]).unwrap();
        run_each(&mut redis, "#!lua\n", Script::source);
    }
}

#[test]
fn without_their_shortcuts_the_scripts_answer_the_same() {
    let server = TestServer::start().unwrap();
    let mut redis = RespClient::connect(server.port()).unwrap();
    run_each(&mut redis, "", Script::general);
}

/// Each script once, with `first_line` on top.
fn run_each(redis: &mut RespClient, first_line: &str, text: fn(Script) -> String) {
    let [a, b] = [1, 2].map(|count| attempt(count, 1).id);
    let far = "99999999999999";
    let rest = ["10000", "60000", "1", "1", far, "10"];
    let mut eval = |script: Script, keys: &[&str], args: &[&str]| {
        let (source, count) = (format!("{first_line}{}", text(script)), keys.len().to_string());
        let reply = redis.call(&[&["EVAL", &source, &count], keys, args].concat());
        whole(script, args, reply.unwrap())
    };
    let granted = ints(&eval(
        Script::Acquire,
        &[KEY],
        &[&[a.as_str()], &rest[..]].concat(),
    ));
    assert_eq!(
        granted[..2],
        [1, granted[2]],
        "granted, and the token is the stamp"
    );
    let queued = eval(Script::Acquire, &[KEY], &[&[b.as_str()], &rest[..]].concat());
    assert_eq!(ints(&queued)[0], 2, "queued");
    let token = granted[2].to_string();
    let items = [
        "h", &a, &token, "10000", "60000", "1", "w", &b, "0", "10000", "60000", "1",
    ];
    let renewed = eval(Script::Tick, &[KEY, KEY], &items);
    assert_eq!(ints(&renewed.items()[2]), [1, 10_000], "renewed");
    assert_eq!(ints(&renewed.items()[3])[0], 3, "refreshed");
    assert_eq!(
        eval(Script::Inspect, &[KEY], &["5"]).items()[3],
        Reply::Int(1),
        "one waits"
    );
    let ended = eval(Script::End, &[KEY], &[&a, "1", "60000", far]);
    assert_eq!(ints(&ended), [1, 0, 0], "ended, with a tombstone");
    let adopted = eval(
        Script::Adopt,
        &[KEY],
        &["c:1:10:10", "10000", "60000", &b, "1", far],
    );
    assert_eq!(ints(&adopted)[0], 3, "another token");
    assert_eq!(
        ints(&eval(Script::Force, &[KEY], &["1", "60000"])),
        [1, 0, 0],
        "forced"
    );
    let fence = eval(
        Script::Fence,
        &["latchwork:fence:{r}", "{r}"],
        &["5", "60000", "v"],
    );
    assert_eq!(ints(&fence), [1, 5], "admitted");
}

#[test]
fn what_is_wrong_with_one_of_many_is_nothing_to_the_others() {
    let mut bench = Bench::start();
    let ids: Vec<String> = (1..=4).map(|count| attempt(count, 1).id).collect();
    let keys = [
        "test:lock:{a}",
        "test:lock:{foreign}",
        "test:lock:{b}",
        "test:lock:{a}",
    ];
    bench.redis(&["SET", keys[1], "x"]);
    let acquire = ["10000", "310000", "1", "1", "1800000000000", "10"];
    let end = ["1", "300000"];
    let mut call = |script, rest: &[&str]| {
        let args: Vec<&str> = ids
            .iter()
            .map(String::as_str)
            .chain(rest.iter().copied())
            .collect();
        bench.call(script, &keys, &args).items().to_vec()
    };
    let stamp = Reply::Int(1_700_000_000_000_000);
    let granted = call(Script::AcquireMany, &acquire);
    assert_eq!([&granted[0], &granted[2]], [&stamp, &stamp], "granted");
    assert!(
        matches!(&granted[1], Reply::Error(text) if text.starts_with("WRONGTYPE")),
        "{granted:?}"
    );
    assert_eq!(
        granted[3],
        numbers(&[2, 1_700_000_000_000_000, 10_000, 0]),
        "queued"
    );
    let ended = call(Script::EndMany, &end);
    assert_eq!(
        [&ended[0], &ended[2]],
        [&Reply::Nil, &Reply::Int(1)],
        "who waits does not listen"
    );
    assert_eq!(
        ended[3],
        Reply::Nil,
        "it has a place, and nobody's fast path removes one"
    );
}

#[test]
fn a_tick_that_hands_on_says_that_a_message_was_refused() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.redis(&["ACL", "SETUSER", "default", "-publish"]);
    lock.bench.advance(LEASE);
    let reply = lock.tick_raw(&[KEY], &[('w', &b, 0, LEASE)]);
    assert_eq!(reply.items()[1].int(), Some(1), "H46");
    assert_eq!(lock.holders(), [b.id]);
}
