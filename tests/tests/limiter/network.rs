//! A lost or late request consumes at most its permits and is never sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use latchwork_limiter::{Algorithm, Client, ErrorKind};
use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};
use latchwork_tests::{Fixture, eventually, go, soon};

use crate::calls::{BOTH, MINUTE, becomes, left, limiter};

const TIMEOUT: Duration = Duration::from_millis(200);

async fn behind(fixture: &Fixture<'_>, proxy: &Proxy) -> Client {
    let builder = fixture.builder_at(proxy.url()).operation_timeout(TIMEOUT);
    builder.connect().await.unwrap()
}

/// How often a limiter's key is named in requests, and what becomes of the first answer after that.
fn lose_an_answer(proxy: &Proxy, fixture: &Fixture<'_>, action: Action) -> Arc<AtomicU64> {
    let requests = Arc::new(AtomicU64::new(0));
    let (counter, key) = (Arc::clone(&requests), format!("{}:limiter:{{a}}", fixture.prefix));
    let (mut asked, mut lost) = (None, false);
    proxy.on_chunk(move |direction, id, chunk| {
        if direction == Direction::ToServer && contains(chunk, &key) {
            counter.fetch_add(1, Ordering::Relaxed);
            asked = Some(id);
        } else if direction == Direction::ToClient && asked == Some(id) && !lost {
            lost = true;
            return action;
        }
        Action::Pass
    });
    requests
}

#[tokio::test]
async fn h26_a_call_without_an_answer_is_not_sent_again_and_given_back() {
    for algorithm in BOTH {
        for action in [Action::Cut, Action::Drop] {
            let server = TestServer::start().unwrap();
            let proxy = Proxy::start(server.port()).unwrap();
            let fixture = Fixture::on(&server);
            let client = behind(&fixture, &proxy).await;
            let other = fixture.client().await;
            let [limiter, other] = [&client, &other].map(|client| limiter(client, algorithm, 5, MINUTE));
            let requests = lose_an_answer(&proxy, &fixture, action);
            let error = limiter.acquire_many(3).await.expect_err("no answer");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            eventually("one request, and one that gives back", || {
                requests.load(Ordering::Relaxed) == 2
            })
            .await;
            becomes(&other, 5).await;
            assert_eq!(requests.load(Ordering::Relaxed), 2, "it was not sent again");
        }
    }
}

#[tokio::test]
async fn h26_a_lost_call_with_a_reservation_behind_it_counts_as_consumed() {
    for algorithm in BOTH {
        let server = TestServer::start().unwrap();
        let proxy = Proxy::start(server.port()).unwrap();
        let fixture = Fixture::on(&server);
        let client = behind(&fixture, &proxy).await;
        let other = fixture.client().await;
        let [limiter, other] = [&client, &other].map(|client| limiter(client, algorithm, 5, MINUTE));
        let requests = lose_an_answer(&proxy, &fixture, Action::Hold);
        let call = go(limiter.acquire_many(3));
        becomes(&other, 2).await;
        assert!(other.try_acquire().await.unwrap().allowed, "behind it");
        let error = call.await.unwrap().expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        eventually("it tries to give back", || requests.load(Ordering::Relaxed) == 2).await;
        eventually("nothing more is tried", || client.live() == 0).await;
        proxy.no_hook();
        proxy.release();
        client.ping().await.unwrap();
        assert_eq!(left(&other).await, 1, "never more than the rate");
    }
}

#[tokio::test]
async fn h35_a_request_that_was_held_up_consumes_nothing() {
    for algorithm in BOTH {
        let server = TestServer::start().unwrap();
        let proxy = Proxy::start(server.port()).unwrap();
        let fixture = Fixture::on(&server);
        let client = behind(&fixture, &proxy).await;
        let other = fixture.client().await;
        let [limiter, other] = [&client, &other].map(|client| limiter(client, algorithm, 5, MINUTE));
        limiter.acquire().await.unwrap();
        let key = format!("{}:limiter:{{a}}", fixture.prefix);
        let held = Arc::new(AtomicBool::new(false));
        let holds = Arc::clone(&held);
        proxy.on_chunk(move |direction, _, chunk| {
            // Only the first: on its connection all that follows waits behind it.
            if direction == Direction::ToServer
                && contains(chunk, &key)
                && !holds.swap(true, Ordering::Relaxed)
            {
                return Action::Hold;
            }
            Action::Pass
        });
        let error = limiter.acquire_many(3).await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(held.load(Ordering::Relaxed), "it was held up");
        // Longer than its `not_after`: what its client gave it, to the millisecond, and one more.
        tokio::time::sleep(Duration::from_millis(10)).await;
        server.reset_stats().unwrap();
        proxy.no_hook();
        proxy.release();
        eventually("it has arrived", || {
            server.command_calls().unwrap().contains_key("evalsha")
        })
        .await;
        assert_eq!(left(&other).await, 4, "too late: nothing was consumed");
    }
}

#[tokio::test]
async fn h37_scripts_that_the_server_forgot_are_loaded_again() {
    for algorithm in BOTH {
        let server = TestServer::start().unwrap();
        let fixture = Fixture::on(&server);
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 5, MINUTE);
        for used in 1..=5 {
            server.flush_scripts().unwrap();
            assert_eq!(limiter.acquire().await.unwrap().remaining, 5 - used, "once each");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_in_time() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture.client_with(|b| b.operation_timeout(TIMEOUT)).await;
    let limiter = limiter(&client, Algorithm::Gcra, 5, MINUTE);
    server.kill().unwrap();
    for future in [
        limiter.acquire(),
        limiter.acquire_for(MINUTE),
        limiter.try_acquire(),
    ] {
        let error = future.await.expect_err("no server");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    eventually("what may be there is given up", || client.live() == 0).await;
}

/// The answer to the next request of the limiter is this one.
fn answer_with(proxy: &Proxy, fixture: &Fixture<'_>, numbers: &[i64]) {
    let items: Vec<String> = numbers.iter().map(|number| format!(":{number}\r\n")).collect();
    let reply = format!("*{}\r\n{}", items.len(), items.concat());
    lose_an_answer(proxy, fixture, Action::Replace(reply.into_bytes().leak()));
}

#[tokio::test]
async fn no_reply_makes_a_call_sleep_past_its_deadline() {
    const STAMP: i64 = 1_700_000_000_000_000;
    const SECOND: i64 = 1_000_000;
    let server = TestServer::start().unwrap();
    let proxy = Proxy::start(server.port()).unwrap();
    let fixture = Fixture::on(&server);
    let client = behind(&fixture, &proxy).await;
    for algorithm in BOTH {
        let limiter = limiter(&client, algorithm, 5, MINUTE);
        let day = 86_400 * SECOND;
        for reply in [
            [1, STAMP, 62 * SECOND, 0, 0, 0],
            [1, STAMP, 800 * day + 1, 0, 0, 0],
            [1, STAMP, i64::MAX, 0, 0, 0],
            [1, STAMP, -1, 0, 0, 0],
            [1, i64::MAX, 0, 0, 0, 0],
            [1, STAMP, 0, i64::MAX, 0, 0],
            [1, STAMP, 0, 0, i64::MIN, 0],
            [1, STAMP, 0, 0, 0, i64::MAX],
            [3, STAMP, i64::MAX, 0, 0, 0],
        ] {
            answer_with(&proxy, &fixture, &reply);
            let error = soon("an answer", limiter.acquire()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{reply:?}: {error}");
            eventually("it is given back", || client.live() == 0).await;
        }
        // A slot that comes later than the caller waits, though within what the rate allows.
        answer_with(&proxy, &fixture, &[1, STAMP, 30 * SECOND, 0, 0, 0]);
        let call = limiter.acquire_for(Duration::from_millis(50));
        let error = soon("an answer", call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        eventually("it is given back", || client.live() == 0).await;
        answer_with(&proxy, &fixture, &[1, STAMP, 1, 0, 0, 0]);
        let error = soon("an answer", limiter.try_acquire()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "it does not wait: {error}");
        eventually("it is given back", || client.live() == 0).await;
        proxy.no_hook();
        assert!(
            limiter.acquire().await.unwrap().allowed,
            "the connection works on"
        );
        limiter.reset().await.unwrap();
    }
    fixture.check_leftovers();
}
