//! A killed or stopped process costs the others one lease or one claim, and never the lock.

use std::time::{Duration, Instant};

use latchwork_testkit::{Direction, Proxy, TestServer};
use latchwork_tests::distance::{long, long_window, scaled};
use latchwork_tests::subject::Subject;
use latchwork_tests::{Fixture, Other, eventually, go};

fn short() -> Duration {
    scaled(Duration::from_millis(400))
}

/// A waiter whose lease is `long()` looks by itself this often.
const TICK: Duration = Duration::from_secs(3);

fn start(fixture: &Fixture<'_>, tasks: Option<usize>, lease: Duration, window: Duration) -> Other {
    Other::start(
        env!("CARGO_BIN_EXE_latchwork-test-holder"),
        fixture,
        tasks,
        lease,
        window,
    )
}

/// A token of a hold, as a number: zero if it has none.
fn number(guard: &latchwork_tests::subject::Guard) -> u64 {
    guard.token().map_or(0, latchwork_mutex::FencingToken::get)
}

pub(crate) async fn h4_when_a_holders_process_is_killed_the_waiter_takes_over_after_its_lease(
    subject: &'static dyn Subject,
) {
    let fixture = Fixture::of(subject);
    // The survivor looks by itself every three seconds only: it has to know when the lease ends.
    let survivor = fixture.steady().await;
    let mut other = start(&fixture, None, short(), short());
    let token = other.says("held").await;
    let waiter = fixture.queue(&survivor).await;
    let queued = Instant::now();
    // Not before its lease is over: it is renewed as long as it lives.
    tokio::time::sleep(short() * 3 / 2).await;
    assert!(!waiter.is_finished(), "the holder lives");
    other.kill();
    let guard = fixture.granted(waiter).await;
    let took = queued.elapsed();
    assert!(
        took < scaled(TICK * 2 / 3),
        "{took:?} after it queued: its tick has found it, and not the end of the lease"
    );
    assert!(
        number(&guard) > token || number(&guard) == 0,
        "tokens rise, if there are any"
    );
    fixture.released(guard).await;
    fixture.over().await;
}

pub(crate) async fn h8_the_waiters_of_a_killed_process_are_passed_over(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let survivor = fixture.steady().await;
    let first = fixture.all(&survivor).await;
    // Each of them would cost a claim window if it were granted.
    let mut other = start(&fixture, Some(3), long(), long_window());
    fixture.queued(3).await;
    let waiter = go(subject.take_all(&survivor, b"a"));
    fixture.queued(4).await;
    let channels = format!("{}:inbox:*", fixture.prefix);
    let inboxes = || {
        let reply = server.admin(&["PUBSUB", "CHANNELS", &channels]);
        reply.expect("an answer").items().len()
    };
    assert_eq!(inboxes(), 2, "the survivor's and the other's");
    other.kill();
    eventually("the server sees it", || inboxes() == 1).await;
    let start = Instant::now();
    fixture.released(first).await;
    let second = fixture.granted(waiter).await;
    let took = start.elapsed();
    assert!(took < long() / 2, "no claim of the dead was waited for: {took:?}");
    assert_eq!(fixture.waiters(), 3, "they were passed over");
    assert_eq!(fixture.holders().len(), 1, "one hold");
    fixture.released(second).await;
    fixture.check_leftovers();
}

pub(crate) async fn h8_the_dead_at_the_front_hold_up_the_living_for_a_claim_each_at_most(
    subject: &'static dyn Subject,
) {
    let fixture = Fixture::of(subject);
    let survivor = fixture.steady().await;
    let first = fixture.all(&survivor).await;
    let mut other = start(&fixture, Some(3), short(), short() / 2);
    fixture.queued(3).await;
    other.kill();
    // Nobody else waits: the dead are granted, a claim at a time.
    fixture.released(first).await;
    let start = Instant::now();
    let all = fixture.all(&survivor).await;
    let took = start.elapsed();
    assert!(took < long() / 2, "{took:?} behind the dead");
    fixture.released(all).await;
    fixture.check_leftovers();
}

/// A client behind a proxy that can make it vanish: nothing comes or goes any more, and no connection is closed.
async fn vanishing(fixture: &Fixture<'_>, lease: Duration) -> (Proxy, latchwork_mutex::Client) {
    fixture.proxied_with(|b| b.lease(lease)).await
}

fn vanish(proxy: &Proxy) {
    proxy.block(Direction::ToServer);
    proxy.block(Direction::ToClient);
}

pub(crate) async fn h8_waiters_that_vanish_cost_one_claim_together(subject: &'static dyn Subject) {
    let window = scaled(Duration::from_secs(1));
    let fixture = Fixture::of(subject);
    let survivor = fixture.renewing().await;
    let first = fixture.all(&survivor).await;
    let (proxy, vanishes) = vanishing(&fixture, window * 2).await;
    let mut waiters = Vec::new();
    for place in 1..=4 {
        waiters.push(go(subject.take_all(&vanishes, b"a")));
        fixture.queued(place).await;
    }
    let last = go(subject.take_all(&survivor, b"a"));
    fixture.queued(5).await;
    vanish(&proxy);
    let start = Instant::now();
    fixture.released(first).await;
    let last = fixture.granted(last).await;
    let took = start.elapsed();
    assert!(took < window * 3, "four claims would take four seconds: {took:?}");
    fixture.released(last).await;
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
}

pub(crate) async fn h8_a_holder_that_vanishes_with_its_waiters_costs_a_lease_and_a_claim(
    subject: &'static dyn Subject,
) {
    let lease = scaled(Duration::from_secs(2));
    let fixture = Fixture::of(subject);
    let survivor = fixture.renewing().await;
    let (proxy, vanishes) = vanishing(&fixture, lease).await;
    let _first = fixture.all(&vanishes).await;
    let mut waiters = Vec::new();
    for place in 1..=3 {
        waiters.push(go(subject.take_all(&vanishes, b"a")));
        fixture.queued(place).await;
    }
    let last = go(subject.take_all(&survivor, b"a"));
    fixture.queued(4).await;
    vanish(&proxy);
    let start = Instant::now();
    let last = fixture.granted(last).await;
    let took = start.elapsed();
    assert!(
        took < lease * 9 / 4,
        "a lease, half of one, and not three halves: {took:?}"
    );
    fixture.released(last).await;
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
}

pub(crate) async fn h20_a_stopped_holder_reads_lost_when_it_goes_on(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let survivor = fixture.steady().await;
    let other = start(&fixture, Some(1), short(), short());
    let token = other.says("held").await;
    let waiter = go(subject.take_all(&survivor, b"a"));
    fixture.queued(1).await;
    other.stop().await;
    let all = fixture.granted(waiter).await;
    assert!(number(&all) > token || token == 0, "tokens rise");
    other.go_on();
    other.says("lost").await;
    // What it sends late touches nobody (H36).
    fixture.still_held(&all, long()).await;
    fixture.released(all).await;
    fixture.over().await;
}

pub(crate) async fn h20_a_stopped_waiter_lets_one_pass_and_believes_in_no_old_grant(
    subject: &'static dyn Subject,
) {
    let fixture = Fixture::of(subject);
    let survivor = fixture.steady().await;
    let first = fixture.all(&survivor).await;
    let other = start(&fixture, Some(1), short(), short());
    fixture.queued(1).await;
    let waiter = go(subject.take_all(&survivor, b"a"));
    fixture.queued(2).await;
    let last = go(subject.take_all(&survivor, b"a"));
    fixture.queued(3).await;
    other.stop().await;
    fixture.released(first).await;
    // Its inbox seems to live, so it is granted; the claim lapses.
    let second = fixture.granted(waiter).await;
    let token = number(&second);
    other.go_on();
    // Now it reads the message of the grant that is over.
    tokio::time::sleep(short()).await;
    fixture.still_held(&second, long()).await;
    let said = other.has_said();
    assert!(said.is_none(), "while another one holds it said {said:?}");
    fixture.released(second).await;
    let own = other.says("held").await;
    assert!(own > token || own == 0, "a grant of its own");
    // It had its turn before those who came later (rule 6).
    assert!(!last.is_finished(), "it was put back to the front");
    last.abort();
    fixture.queued(0).await;
    fixture.check_leftovers();
}
