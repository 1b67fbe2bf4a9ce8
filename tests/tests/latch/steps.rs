//! A latch that a crowd waits for lets all of them go, even if its caller dies between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use latchwork_latch::{Client, ClientBuilder, ErrorKind};
use latchwork_testkit::{Action, ConnKind, Direction, TestServer, contains};
use latchwork_tests::{Fixture, MINUTE, eventually, go, messages, soon};

use super::common::{Waiter, expect, latch, on, passed, settled, waiting};

/// One step lets those of two go, and some of the third's.
const CLIENTS: usize = 4;
const EACH: usize = 400;

/// What a follow-up says in place of the count of a new generation.
const GO_ON: &str = "$2\r\n-2\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_let_go_with_one_message_for_each_client() {
    for resets in [false, true] {
        let server = TestServer::start().expect("a server");
        let fixture = on(&server);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(fixture.client_with(patient).await);
        }
        let (proxy, opener) = fixture.counted().await;
        let waiters = crowd(&clients);
        eventually("all wait", || places(&fixture) == CLIENTS * EACH).await;
        server.reset_stats().expect("reset");
        proxy.reset_counts();
        let made = latch(&opener, 1);
        if resets {
            made.reset(1).await.expect("reset");
        } else {
            assert_eq!(made.count_down().await.expect("counted"), 0);
        }
        assert_eq!(places(&fixture), 0, "when the call is over, all are let go");
        end(waiters, resets).await;
        assert_eq!(messages(&server), CLIENTS as u64, "one for each client");
        let requests = proxy.requests_of(ConnKind::Commands);
        assert_eq!(requests, 2, "the call, and what it did not come to in one step");
        let all: Vec<_> = clients.iter().chain([&opener]).collect();
        settled(&fixture, &all).await;
    }
}

/// Its follow-ups never arrive, and then it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_left_when_the_opener_dies_learn_it_by_their_ticks() {
    for resets in [false, true] {
        let server = TestServer::start().expect("a server");
        let fixture = on(&server);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(fixture.client_with(patient).await);
        }
        let (proxy, opener) = fixture.proxied_with(patient).await;
        let waiters = crowd(&clients);
        eventually("all wait", || places(&fixture) == CLIENTS * EACH).await;
        let lost = Arc::new(AtomicBool::new(false));
        let was_lost = Arc::clone(&lost);
        proxy.on_chunk(move |direction, _, chunk| {
            if direction == Direction::ToServer && contains(chunk, GO_ON) {
                was_lost.store(true, Ordering::SeqCst);
                Action::Drop
            } else {
                Action::Pass
            }
        });
        let made = latch(&opener, 1);
        let call = go(async move {
            if resets {
                made.reset(1).await
            } else {
                made.count_down().await.map(drop)
            }
        });
        eventually("a step that was not all", || lost.load(Ordering::SeqCst)).await;
        call.abort();
        end(waiters, resets).await;
        let all: Vec<_> = clients.iter().chain([&opener]).collect();
        settled(&fixture, &all).await;
    }
}

/// A client whose requests are answered in time on a busy machine. One that asks again after a reset waits for the next
/// generation.
fn patient(builder: ClientBuilder) -> ClientBuilder {
    builder.lease(MINUTE).operation_timeout(MINUTE / 2)
}

/// How many places there are. Cheaper than to list them.
fn places(fixture: &Fixture<'_>) -> usize {
    let reply = fixture.server.admin(&["ZCOUNT", &fixture.key(), "-inf", "(0"]);
    let count = reply.expect("an answer").int().expect("a number");
    count.try_into().expect("a count")
}

fn crowd(clients: &[Client]) -> Vec<Waiter> {
    let latches: Vec<_> = clients.iter().map(|client| latch(client, 1)).collect();
    let each = (0..EACH).flat_map(|_| &latches);
    each.map(waiting).collect()
}

async fn end(waiters: Vec<Waiter>, resets: bool) {
    for waiter in waiters {
        if resets {
            expect(soon("a reset", waiter).await.expect("no panic"), ErrorKind::Reset);
        } else {
            passed(waiter).await;
        }
    }
}
