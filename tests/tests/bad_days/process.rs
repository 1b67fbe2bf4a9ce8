//! A holder's or waiter's process is killed, or stops for a while.

use std::time::{Duration, Instant};

use latchwork_mutex::Client;
use latchwork_testkit::TestServer;
use latchwork_tests::{Other, Place, eventually};

use super::common::{LONG, granted, held, holders, queued, soon, still_held, waiters, waiting};

const SHORT: Duration = Duration::from_millis(400);

fn other(place: &Place<'_>, attempts: usize, lease: Duration, window: Duration) -> Other {
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    Other::start(program, place, "mutex", attempts, lease, window)
}

async fn client(place: &Place<'_>) -> Client {
    place.builder().lease(LONG).connect().await.expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h4_when_a_holders_process_is_killed_the_waiter_takes_over_after_its_lease() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    // The survivor looks by itself every three seconds only: it has to know when the lease ends.
    let survivor = client(&place).await;
    let window = Duration::from_secs(1);
    let mut other = other(&place, 1, SHORT, window);
    let token = other.says("held").await;
    let waiter = waiting(&survivor, "a");
    queued(&place, "a", 1).await;
    // Not before its lease is over: it is renewed as long as it lives.
    tokio::time::sleep(SHORT * 3 / 2).await;
    assert!(!waiter.is_finished(), "the holder lives");
    other.kill();
    let start = Instant::now();
    let guard = granted(waiter).await;
    let took = start.elapsed();
    assert!(took < SHORT + window, "{took:?} after the kill");
    assert!(guard.fencing_token().get() > token, "tokens rise");
    soon("an unlock", guard.unlock()).await.expect("released");
    place.settled("a", Duration::ZERO).await;
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_the_waiters_of_a_killed_process_are_passed_over() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let survivor = client(&place).await;
    let first = held(&survivor, "a").await;
    // Each of them would cost a claim window if it were granted.
    let mut other = other(&place, 3, LONG, LONG);
    queued(&place, "a", 3).await;
    let waiter = waiting(&survivor, "a");
    queued(&place, "a", 4).await;
    let channels = format!("{}:inbox:*", place.prefix);
    let inboxes = || {
        let reply = server.admin(&["PUBSUB", "CHANNELS", &channels]);
        reply.expect("an answer").items().len()
    };
    assert_eq!(inboxes(), 2, "the survivor's and the other's");
    other.kill();
    eventually("the server sees it", || inboxes() == 1).await;
    let start = Instant::now();
    soon("an unlock", first.unlock()).await.expect("released");
    let second = granted(waiter).await;
    let took = start.elapsed();
    assert!(took < LONG / 2, "no claim of the dead was waited for: {took:?}");
    assert_eq!(waiters(&place, "a"), 3, "they were passed over");
    assert_eq!(holders(&place, "a").len(), 1, "one hold");
    soon("an unlock", second.unlock()).await.expect("released");
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_the_dead_at_the_front_hold_up_the_living_for_a_claim_each_at_most() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let survivor = client(&place).await;
    let first = held(&survivor, "a").await;
    let mut other = other(&place, 3, SHORT, SHORT / 2);
    queued(&place, "a", 3).await;
    other.kill();
    // Nobody else waits: the dead are granted, one claim at a time.
    soon("an unlock", first.unlock()).await.expect("released");
    let start = Instant::now();
    let guard = held(&survivor, "a").await;
    let took = start.elapsed();
    assert!(took < LONG / 2, "{took:?} behind the dead");
    soon("an unlock", guard.unlock()).await.expect("released");
    place.check_leftovers();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h20_a_stopped_holder_reads_lost_when_it_goes_on() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let survivor = client(&place).await;
    let other = other(&place, 1, SHORT, SHORT);
    let token = other.says("held").await;
    let waiter = waiting(&survivor, "a");
    queued(&place, "a", 1).await;
    other.stop().await;
    let guard = granted(waiter).await;
    assert!(guard.fencing_token().get() > token, "tokens rise");
    other.go_on();
    other.says("lost").await;
    // What it sends late touches nobody (H36).
    still_held(&guard, LONG).await;
    soon("an unlock", guard.unlock()).await.expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h20_a_stopped_waiter_lets_one_pass_and_believes_in_no_old_grant() {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let survivor = client(&place).await;
    let first = held(&survivor, "a").await;
    let mut other = other(&place, 1, SHORT, SHORT);
    queued(&place, "a", 1).await;
    let waiter = waiting(&survivor, "a");
    queued(&place, "a", 2).await;
    let last = waiting(&survivor, "a");
    queued(&place, "a", 3).await;
    other.stop().await;
    soon("an unlock", first.unlock()).await.expect("released");
    // Its inbox seems to live, so it is granted; the claim lapses.
    let second = granted(waiter).await;
    let token = second.fencing_token().get();
    other.go_on();
    // Now it reads the message of the grant that is over.
    tokio::time::sleep(SHORT).await;
    still_held(&second, LONG).await;
    let said = other.said();
    assert!(said.is_none(), "while another one holds it said {said:?}");
    soon("an unlock", second.unlock()).await.expect("released");
    let own = other.says("held").await;
    assert!(own > token, "a grant of its own");
    // It had its turn before those who came later (rule 6).
    assert!(!last.is_finished(), "it was put back to the front");
    other.kill();
    let last = granted(last).await;
    assert!(last.fencing_token().get() > own, "tokens rise");
}
