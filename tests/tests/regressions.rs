//! Bugs that were found once, each as the test that would have found it.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use latchwork_core::kit::{Primitive, PrimitiveOptions, Wait};
use latchwork_mutex::{ErrorKind, Fence, FencingToken, Loss, Mutex};
use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};
use latchwork_tests::{LEASE, Place, eventually, go};

#[tokio::test]
async fn an_unlock_that_waits_is_answered_when_the_client_closes() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let client = place
        .builder()
        .lease(Duration::from_secs(30))
        .operation_timeout(Duration::from_millis(100))
        .connect()
        .await
        .expect("a client");
    let guard = Mutex::new(&client, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    server.freeze().expect("frozen");
    let unlock = go(guard.unlock());
    // Its first request has failed by then: it waits for the keeper.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let closed = client.close().await;
    assert_eq!(closed.unsent, 1, "{closed:?}");
    let error = unlock.await.expect("no panic").expect_err("nothing was heard");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    server.thaw().expect("thawed");
}

#[tokio::test]
async fn h42_a_demoted_primary_causes_no_storm_of_connections() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let client = place.builder_at(proxy.url()).connect().await.expect("a client");
    let before = proxy.accepted();
    server.admin(&["REPLICAOF", "127.0.0.1", "1"]).expect("an answer");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let error = mutex
        .try_lock_for(Duration::from_secs(1))
        .await
        .expect_err("a replica");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    let made = proxy.accepted() - before;
    assert!(
        made < 80,
        "{made} connections in a second, with pauses of 2 to 50 ms"
    );
    server.admin(&["REPLICAOF", "NO", "ONE"]).expect("an answer");
    mutex
        .lock()
        .await
        .expect("a primary again")
        .unlock()
        .await
        .expect("released");
}

#[tokio::test]
async fn short_waits_do_not_replace_the_connection() {
    let place = Place::shared();
    let proxy = Proxy::start(place.server.port()).expect("a proxy");
    let client = place.builder_at(proxy.url()).connect().await.expect("a client");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let before = proxy.accepted();
    proxy.delay(Duration::from_millis(20));
    for _ in 0..10 {
        let error = mutex
            .try_lock_for(Duration::from_millis(5))
            .await
            .expect_err("no answer in that time");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    proxy.delay(Duration::ZERO);
    mutex
        .lock()
        .await
        .expect("the lock")
        .unlock()
        .await
        .expect("released");
    assert_eq!(proxy.accepted(), before, "the same connection");
    eventually("all is undone", || client.live() == 0).await;
    place.settled("a", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn h20_a_short_unavailable_after_does_not_fail_a_healthy_wait() {
    let place = Place::shared();
    let client = place
        .builder()
        .lease(Duration::from_secs(30))
        .unavailable_after(Duration::from_millis(300))
        .connect()
        .await
        .expect("a client");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(mutex.lock());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiter.is_finished(), "the server answers, so it waits");
    guard.unlock().await.expect("released");
    waiter
        .await
        .expect("no panic")
        .expect("the lock")
        .unlock()
        .await
        .expect("released");
}

#[tokio::test]
async fn forged_messages_do_no_lasting_harm() {
    let place = Place::shared();
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let guard = mutex.lock().await.expect("the lock");
    let waiter = go(mutex.lock());
    eventually("it waits", || place.members("a").len() == 3).await;
    let members = place.members("a");
    let id = members.iter().find(|id| id.contains(".2:")).expect("the waiter");
    let channel = format!("{}:inbox:{}", place.prefix, &id[..22]);
    let rest = &id[22..];
    let most = u64::MAX;
    for text in [
        format!("g {rest} 1 {most} {most}"),
        format!("w {rest} {most} {most}"),
        format!("f {rest} {most}"),
        "nonsense".to_owned(),
    ] {
        place
            .server
            .admin(&["PUBLISH", &channel, &text])
            .expect("an answer");
    }
    guard.unlock().await.expect("released");
    let next = waiter.await.expect("no panic").expect("handed over all the same");
    assert!(client.is_listening(), "the inbox lives");
    next.unlock().await.expect("released");
}

#[tokio::test]
async fn t16_a_fence_refuses_what_cannot_be_a_token() {
    let place = Place::shared();
    let client = place.client().await;
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

#[tokio::test]
async fn a_dropped_guard_cancels_its_token_without_waiting_for_a_timer() {
    let place = Place::shared();
    let client = place
        .builder()
        .lease(Duration::from_secs(600))
        .connect()
        .await
        .expect("a client");
    let guard = Mutex::new(&client, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let token = guard.cancellation_token();
    tokio::task::yield_now().await;
    drop(guard);
    // A few turns of the scheduler; its timer would take a second.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(token.is_cancelled(), "told, not found out");
}

#[tokio::test]
async fn h2_a_hand_off_that_is_lost_twice_is_found_by_ticks() {
    let place = Place::shared();
    let proxy = Proxy::start(place.server.port()).expect("a proxy");
    let client = place.builder_at(proxy.url()).connect().await.expect("a client");
    let holder = place.client().await;
    let guard = Mutex::new(&holder, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let waiter = go(Mutex::new(&client, "a").expect("a mutex").lock());
    eventually("it waits", || place.members("a").len() == 3).await;
    proxy.on_chunk(|direction, _, chunk| {
        let message = direction == Direction::ToClient && contains(chunk, b"g .");
        if message { Action::Drop } else { Action::Pass }
    });
    guard.unlock().await.expect("released");
    let guard = tokio::time::timeout(LEASE * 10, waiter)
        .await
        .expect("served")
        .expect("no panic")
        .expect("the lock");
    assert!(!guard.is_lost(), "a good one");
    guard.unlock().await.expect("released");
}

#[tokio::test]
async fn a_lock_future_that_nobody_polls_does_not_hold_up_the_others() {
    let place = Place::shared();
    let proxy = Proxy::start(place.server.port()).expect("a proxy");
    let parked = place.builder_at(proxy.url()).connect().await.expect("a client");
    let (one, two) = (place.client().await, place.client().await);
    let claims = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&claims);
    proxy.on_chunk(move |direction, _, chunk| {
        if direction == Direction::ToClient && contains(chunk, b"g .") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Action::Pass
    });
    let first = Mutex::new(&one, "a")
        .expect("a mutex")
        .lock()
        .await
        .expect("the lock");
    let mut future = Box::pin(Mutex::new(&parked, "a").expect("a mutex").lock());
    // Polled until it waits, and then left alone, as in a `select!` whose other branch is busy.
    let polled = tokio::time::timeout(Duration::from_millis(50), &mut future).await;
    assert!(polled.is_err(), "it waits");
    first.unlock().await.expect("released");
    let turns = |client: &latchwork_mutex::Client| {
        let mutex = Mutex::new(client, "a").expect("a mutex");
        go(async move {
            for _ in 0..6 {
                let guard = mutex.lock().await.expect("the lock");
                // Long enough for the parked client's ticks to come by.
                tokio::time::sleep(LEASE / 2).await;
                guard.unlock().await.expect("released");
            }
        })
    };
    let (left, right) = (turns(&one), turns(&two));
    left.await.expect("no panic");
    right.await.expect("no panic");
    let claims = claims.load(Ordering::Relaxed);
    assert!(
        claims <= 3,
        "{claims} claims were lost on it: one for every turn of the others?"
    );
    drop(future);
    place.settled("a", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn h41_a_release_of_a_record_that_is_not_ours_any_more_says_lost() {
    let place = Place::shared();
    let client = place
        .builder()
        .lease(Duration::from_secs(30))
        .connect()
        .await
        .expect("a client");
    for foreign in [1, 5] {
        let guard = Mutex::new(&client, "a")
            .expect("a mutex")
            .lock()
            .await
            .expect("the lock");
        place.server.admin(&["DEL", &place.key("a")]).expect("an answer");
        for member in 0..foreign {
            place
                .server
                .admin(&["ZADD", &place.key("a"), "1", &member.to_string()])
                .expect("an answer");
        }
        let error = guard.unlock().await.expect_err("lost");
        assert_eq!(
            error.loss(),
            Some(Loss::Vanished),
            "{foreign} foreign members: {error}"
        );
        place.server.admin(&["DEL", &place.key("a")]).expect("an answer");
    }
}

#[tokio::test]
async fn the_right_to_publish_can_be_given_later() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let user = |right: &str| {
        server
            .admin(&["ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", right])
            .expect("an answer");
    };
    user("-publish");
    let url = format!("redis://mute:pw@127.0.0.1:{}", server.port());
    let client = place.builder_at(url).connect().await.expect("a client");
    assert!(!client.is_listening(), "nobody can tell it anything");
    user("+publish");
    server.kill_normal_clients().expect("an answer");
    eventually("it listens", || client.is_listening()).await;
}

#[tokio::test]
async fn requests_that_are_dropped_do_not_replace_the_connection() {
    let place = Place::shared();
    let proxy = Proxy::start(place.server.port()).expect("a proxy");
    let client = place
        .builder_at(proxy.url())
        .operation_timeout(Duration::from_millis(100))
        .connect()
        .await
        .expect("a client");
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let before = proxy.accepted();
    proxy.delay(Duration::from_millis(10));
    for _ in 0..5 {
        let dropped = tokio::time::timeout(Duration::from_millis(2), client.ping()).await;
        assert!(dropped.is_err(), "dropped before its reply");
        // Longer than the operation timeout: the next one looks as if nothing had come since.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let error = mutex
            .try_lock_for(Duration::from_millis(4))
            .await
            .expect_err("too short");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(client.ping().await.is_ok(), "it answers");
    assert_eq!(proxy.accepted(), before, "the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_polled_at_the_very_moment_its_time_is_up_sees_it() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let client = place.client().await;
    let mutex = Mutex::new(&client, "a").expect("a mutex");
    let held = mutex.lock().await.expect("the lock");
    let (done, polled) = tokio::sync::oneshot::channel();
    // Without a pause, so that some poll has its end between two looks at the clock.
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        for turn in 0..100 {
            let mut waiting = pin!(mutex.try_lock_for(Duration::from_millis(3)));
            let outcome = loop {
                if let Poll::Ready(outcome) = waiting.as_mut().poll(&mut cx) {
                    break outcome;
                }
            };
            assert!(!matches!(outcome, Ok(Some(_))), "{turn}: {outcome:?}");
        }
        done.send(()).expect("somebody listens");
    });
    let outcome = tokio::time::timeout(Duration::from_secs(20), polled).await;
    assert!(
        matches!(outcome, Ok(Ok(()))),
        "{outcome:?}: it is still being polled"
    );
    held.unlock().await.expect("released");
}

/// Scripts find the clients' channels by the key: once only if the kind was made of small letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_of_any_prefix_and_kind_are_told() {
    let server = TestServer::start().expect("a server");
    for prefix in ["a:lock", "p:", "::"] {
        let builder = || {
            latchwork_core::Client::builder()
                .url(server.url())
                .prefix(prefix)
                .lease(LEASE)
        };
        let clients = [
            builder().connect().await.expect("a client"),
            builder().connect().await.expect("a client"),
        ];
        for kind in ["read_lock", "lock-2", "Lock", &"x".repeat(32)] {
            let options = PrimitiveOptions::default();
            let [one, two] = [&clients[0], &clients[1]]
                .map(|client| Primitive::new(client, kind, b"a:b", &options).expect("a kind"));
            let held = one
                .acquire(Wait::Forever)
                .await
                .expect("no error")
                .expect("the lock");
            let waiter = go(two.acquire(Wait::Forever));
            eventually("it waits", || {
                server
                    .admin(&["ZCARD", &format!("{prefix}:{kind}:{{a:b}}")])
                    .is_ok_and(|reply| reply.int() == Some(4))
            })
            .await;
            held.unlock().await.expect("released");
            let guard = waiter
                .await
                .expect("no panic")
                .expect("no error")
                .expect("the lock");
            guard.unlock().await.expect("released");
        }
    }
    let client = latchwork_core::Client::builder()
        .url(server.url())
        .connect()
        .await
        .expect("a client");
    for kind in ["", "a:b", "a{b", "a b", "ä", &"x".repeat(33)] {
        let error = Primitive::new(&client, kind, b"a", &PrimitiveOptions::default()).expect_err("no kind");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
