//! A latch that thousands wait for lets all of them go, in steps that others follow if their client dies.

use latchwork_latch::ErrorKind;
use latchwork_testkit::{Action, Direction, TestServer, contains};
use latchwork_tests::{commands, eventually, go, messages};

use super::common::{Waiter, expect, latch, on, passed, settled, waiting};

const CLIENTS: usize = 3;
const EACH: usize = 1200;

/// What a follow-up says in place of the count of a new generation.
const GO_ON: &str = "$2\r\n-2\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_are_let_go_with_one_message_for_each_client() {
    for resets in [false, true] {
        let server = TestServer::start().expect("a server");
        let fixture = on(&server);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(fixture.client().await);
        }
        let opener = fixture.client().await;
        let waiters = crowd(&clients);
        fixture.queued(CLIENTS * EACH).await;
        server.reset_stats().expect("reset");
        let made = latch(&opener, 1);
        if resets {
            made.reset(1).await.expect("reset");
        } else {
            assert_eq!(made.count_down().await.expect("counted"), 0);
        }
        assert_eq!(fixture.waiters(), 0, "when the call is over, all are let go");
        end(waiters, resets).await;
        assert_eq!(messages(&server), CLIENTS as u64, "one for each client");
        let requests = commands(&server)["evalsha"];
        assert!((4..100).contains(&requests), "four steps, and ticks: {requests}");
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
            clients.push(fixture.client().await);
        }
        let (proxy, opener) = fixture.proxied().await;
        let waiters = crowd(&clients);
        fixture.queued(CLIENTS * EACH).await;
        proxy.on_chunk(|direction, _, chunk| {
            if direction == Direction::ToServer && contains(chunk, GO_ON) {
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
        eventually("a step", || fixture.waiters() < CLIENTS * EACH).await;
        assert!(fixture.waiters() > 0, "some are left");
        call.abort();
        end(waiters, resets).await;
        let all: Vec<_> = clients.iter().chain([&opener]).collect();
        settled(&fixture, &all).await;
    }
}

fn crowd(clients: &[latchwork_latch::Client]) -> Vec<Waiter> {
    let latches: Vec<_> = clients.iter().map(|client| latch(client, 1)).collect();
    let each = (0..EACH).flat_map(|_| &latches);
    each.map(waiting).collect()
}

async fn end(waiters: Vec<Waiter>, resets: bool) {
    for waiter in waiters {
        if resets {
            expect(waiter.await.expect("no panic"), ErrorKind::Reset);
        } else {
            passed(waiter).await;
        }
    }
}
