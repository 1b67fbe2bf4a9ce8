//! Where a server may have forgotten holds, nobody acquires anything until they are over.

use std::time::Duration;

use latchwork_core::ErrorKind;
use latchwork_testkit::{Direction, Proxy, TestSentinel, TestServer};
use latchwork_tests::{
    Fixture, MEDIUM, MINUTE, eventually, go, granted, locked, locking, mutex, soon, unlocked,
};

use super::expect;

/// A server restarts and forgets a hold whose holder hears of nothing. Somebody else asks for it,
/// from before the restart or after it. Returns whether the holder believed in its hold then.
async fn overlaps(start_delay: bool, connects_later: bool) -> bool {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let proxy = Proxy::start(server.port()).expect("a proxy");
    let holder = fixture.builder_at(proxy.url()).lease(MEDIUM).connect().await;
    let holder = holder.expect("a client");
    let connect = || fixture.client_with(|b| b.lease(MEDIUM).start_delay(start_delay));
    let before = connect().await;
    let held = locked(&holder, "a").await;
    proxy.block(Direction::ToServer);
    proxy.block(Direction::ToClient);
    server.restart().expect("restarted");
    let client = if connects_later { connect().await } else { before };
    let guard = soon("a grant", mutex(&client, "a").lock()).await.expect("a hold");
    let overlaps = !held.is_lost();
    unlocked(guard).await;
    overlaps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h52_after_a_restart_nobody_gets_what_its_old_holder_believes_in() {
    for connects_later in [false, true] {
        assert!(!overlaps(true, connects_later).await, "later: {connects_later}");
    }
    assert!(overlaps(false, true).await, "without the delay they overlap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_is_an_outage_whose_error_says_why() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let delayed = |b: latchwork_core::ClientBuilder| b.lease(MINUTE).start_delay(true);
    let client = fixture.client_with(delayed).await;
    let texts = ["has restarted", "start_delay"];
    let tried = soon("a refusal", mutex(&client, "a").try_lock()).await;
    expect(tried, ErrorKind::Unavailable, &texts);
    let bounded = mutex(&client, "a").try_lock_for(Duration::from_millis(50));
    expect(soon("a refusal", bounded).await, ErrorKind::Unavailable, &texts);
    assert_eq!(fixture.members(), [], "nothing was sent");
    let fast = fixture
        .client_with(|b| {
            delayed(b)
                .fail_fast_after(Duration::ZERO)
                .unavailable_after(MINUTE)
        })
        .await;
    let refused = soon("a refusal", mutex(&fast, "a").lock()).await;
    expect(refused, ErrorKind::Unavailable, &texts);
    eventually("nothing is left", || client.live() + fast.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_kept_everything_is_not_waited_for() {
    let server = TestServer::builder().persist(true).start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = fixture.client_with(|b| b.lease(MINUTE).start_delay(true)).await;
    let held = locked(&client, "a").await;
    server.restart().expect("restarted");
    eventually("it is back", || client.server().is_some() && server.is_running()).await;
    let guard = locked(&client, "b").await;
    unlocked(guard).await;
    unlocked(held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_holds_go_on_and_grants_wait() {
    let all = TestSentinel::builder(1, 1, 3)
        .persist(true)
        .start()
        .expect("sentinels");
    let fixture = Fixture::behind(&all);
    let delayed = |b: latchwork_core::ClientBuilder| b.lease(MINUTE).start_delay(true);
    let client = fixture.client_with(delayed).await;
    let other = fixture.client_with(delayed).await;
    let held = locked(&client, "a").await;
    let waiter = locking(&other, "a");
    fixture.queued(1).await;
    all.wait_replicated().expect("copied");
    let old = all.master().expect("a primary");
    old.kill().expect("killed");
    let new = all.wait_switched(old).expect("another primary");
    let mut fixture = fixture;
    fixture.server = new;
    let address = format!("127.0.0.1:{}", new.port());
    for client in [&client, &other] {
        eventually("it follows", || {
            client.server().is_some_and(|server| server.address == address)
        })
        .await;
    }
    let tried = soon("a refusal", mutex(&client, "b").try_lock()).await;
    expect(tried, ErrorKind::Unavailable, &["has taken over", "start_delay"]);
    held.extend(MINUTE).await.expect("renewals go on");
    unlocked(held).await;
    // The server hands it over, and nobody gets it yet.
    eventually("the waiter has it", || {
        fixture.is_held() && fixture.waiters() == 0
    })
    .await;
    assert!(!waiter.is_finished(), "somebody else may believe in it");
    waiter.abort();
    fixture.settled().await;
    // Who comes later sees a server that has been running for long enough, by what it says.
    let later = fixture.client_with(|b| b.start_delay(true)).await;
    let guard = granted(go(mutex(&later, "b").lock())).await;
    unlocked(guard).await;
}
