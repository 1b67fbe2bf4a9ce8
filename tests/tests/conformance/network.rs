//! Late, repeated and lost requests, replies and messages never make two holders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use latchwork_mutex::Client;
use latchwork_testkit::{Action, Direction, Proxy, TestServer, contains};
use latchwork_tests::distance::{Distance, long, long_window, scaled};
use latchwork_tests::subject::Subject;
use latchwork_tests::{Fixture, eventually, go, lose_the_reply, rises, soon};

const SECOND: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(50);

/// The keeper looks at every waiter this often: what is quicker was told, or noticed.
const TICK: Duration = Duration::from_secs(3);

/// A client behind a proxy, whose requests time out soon and whose holds do not.
async fn behind(proxy: &Proxy, fixture: &Fixture<'_>) -> Client {
    let beat = scaled(BEAT);
    let builder = fixture.builder_at(proxy.url()).lease(long()).heartbeat(beat);
    let connected = builder.operation_timeout(beat * 4).connect().await;
    connected.expect("a client")
}

/// The server runs a script, and its reply is lost: what was asked for is done once however often it is asked for.
async fn lost_replies(subject: &'static dyn Subject, action: Action) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let proxy = fixture.proxy();
    let (shaky, steady) = (behind(&proxy, &fixture).await, fixture.steady().await);
    for what in ["acquire", "try", "take all", "wait"] {
        let fixture = fixture.named(what.replace(' ', "-"));
        // Somebody has it already when the acquire is to wait.
        let all = if what == "wait" {
            Some(fixture.all(&steady).await)
        } else {
            None
        };
        let lost = lose_the_reply(&proxy, fixture.key(), action);
        let handle = fixture.handle(&shaky);
        let acquiring = match what {
            "try" => {
                let trying = handle.try_acquire_for(long());
                go(async move { Ok(trying.await?.expect("its own hold is not somebody else's")) })
            }
            "take all" => go(subject.take_all(&shaky, fixture.name.as_bytes())),
            _ => fixture.waiting(&shaky),
        };
        if let Some(all) = all {
            eventually("the reply is lost", || lost.load(Ordering::SeqCst)).await;
            fixture.queued(1).await;
            fixture.released(all).await;
        }
        let guard = fixture.granted(acquiring).await;
        assert!(lost.load(Ordering::SeqCst), "{what}: a reply was lost");
        proxy.no_hook();
        proxy.release();
        if let (Some(token), Some(last)) = (guard.token(), fixture.last_token()) {
            assert_eq!(token.get(), last, "{what}: the token was issued once");
        }
        assert_eq!(fixture.holders().len(), 1, "{what}: one hold");
        assert_eq!(fixture.waiters(), 0, "{what}: no place");
        fixture.still_held(&guard, long()).await;

        // The same for its release, with somebody behind it.
        let waiter = go(subject.take_all(&steady, fixture.name.as_bytes()));
        fixture.queued(1).await;
        let lost = lose_the_reply(&proxy, fixture.key(), action);
        soon("a release", guard.release()).await.expect("released");
        assert!(lost.load(Ordering::SeqCst), "{what}: a reply was lost");
        let next = fixture.granted(waiter).await;
        proxy.no_hook();
        proxy.release();
        eventually("no slot is left", || shaky.live() == 0).await;
        // A copy of the release may have come after the grant.
        fixture.still_held(&next, long()).await;
        assert_eq!(fixture.holders().len(), 1, "{what}: the next one's hold");
        fixture.released(next).await;
        fixture.over().await;
    }
}

pub(crate) async fn h26_replies_are_lost_with_their_connection(subject: &'static dyn Subject) {
    lost_replies(subject, Action::Cut).await;
}

pub(crate) async fn h28_replies_never_come(subject: &'static dyn Subject) {
    lost_replies(subject, Action::Hold).await;
}

/// The longest time that a request of a late acquire has.
fn timeout() -> Duration {
    scaled(BEAT * 2).max(Distance::here().trip() * 2)
}

/// An acquire that was given up arrives `later` than the end of its attempt.
async fn a_late_acquire(subject: &'static dyn Subject, later: Duration) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let proxy = fixture.proxy();
    let steady = fixture.client().await;
    let builder = fixture.builder_at(proxy.url()).heartbeat(scaled(BEAT));
    let shaky = builder.operation_timeout(timeout()).connect().await;
    let shaky = shaky.expect("a client");
    let stuck = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&stuck);
    let key = fixture.key();
    proxy.on_chunk(move |direction, _, chunk| {
        let first = direction == Direction::ToServer
            && contains(chunk, "EVALSHA")
            && contains(chunk, &key)
            && !said.swap(true, Ordering::SeqCst);
        if first { Action::Hold } else { Action::Pass }
    });
    let abandoned = fixture.waiting(&shaky);
    eventually("the request is stuck", || stuck.load(Ordering::SeqCst)).await;
    abandoned.abort();
    // On a new connection.
    eventually("its end is answered", || shaky.live() == 0).await;
    let is_tombstone = |(_, score): &(String, f64)| (1e14..1e15).contains(score);
    let tombstones = fixture
        .members()
        .iter()
        .filter(|member| is_tombstone(member))
        .count();
    assert_eq!(tombstones, 1, "the attempt is marked as ended");
    let token = fixture.last_token();
    let calls = || server.command_calls().expect("stats")["evalsha"];
    tokio::time::sleep(later).await;
    let before = calls();
    proxy.release();
    eventually("the late request runs", || calls() > before).await;
    assert_eq!(fixture.last_token(), token, "nothing was granted");
    assert_eq!(fixture.holders(), Vec::<String>::new(), "nobody holds");
    assert_eq!(fixture.waiters(), 0, "nobody waits");
    fixture
        .released(fixture.tried(&steady).await.expect("free"))
        .await;
    fixture.over().await;
}

pub(crate) async fn h14_an_acquire_that_arrives_after_its_end_meets_a_tombstone(
    subject: &'static dyn Subject,
) {
    a_late_acquire(subject, Duration::ZERO).await;
}

pub(crate) async fn h35_an_acquire_that_arrives_after_its_tombstone_is_too_late(
    subject: &'static dyn Subject,
) {
    // The tombstone lasts until a second after the latest moment that the request may be served.
    a_late_acquire(subject, timeout() + Duration::from_millis(1500)).await;
}

/// Loses the next message that grants something, or every one of them.
fn lose_grants(proxy: &Proxy, every: bool) -> Arc<AtomicBool> {
    let lost = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&lost);
    proxy.on_chunk(move |direction, _, chunk| {
        let grants = direction == Direction::ToClient && contains(chunk, "g .");
        let goes = grants && (!said.swap(true, Ordering::SeqCst) || every);
        if goes { Action::Drop } else { Action::Pass }
    });
    lost
}

/// A hand-off whose message is lost, and with `every` all that follow. The waiter looks at every
/// third of its `lease`.
async fn a_lost_grant(subject: &'static dyn Subject, (lease, window): (Duration, Duration), every: bool) {
    let fixture = Fixture::of(subject);
    let proxy = fixture.proxy();
    let steady = fixture.steady().await;
    let builder = fixture.builder_at(proxy.url()).lease(lease).claim_window(window);
    let shaky = builder.connect().await.expect("a client");
    let first = fixture.all(&steady).await;
    let waiter = fixture.queue(&shaky).await;
    let all = subject.take_all(&steady, b"a");
    let behind = go(async move { all.await?.release().await });
    fixture.queued(2).await;
    let lost = lose_grants(&proxy, every);
    let token = first.token();
    fixture.released(first).await;
    let granted = fixture.last_token();
    let second = fixture.granted(waiter).await;
    assert!(lost.load(Ordering::SeqCst), "the message was lost");
    rises(token, second.token());
    if let Some(token) = second.token().filter(|_| every) {
        assert_eq!(Some(token.get()), granted, "before the claim lapsed");
    }
    // It has its whole lease, not what was left of the claim.
    let whole = || second.valid_for() > window || second.is_lost();
    eventually("it is confirmed", whole).await;
    assert!(!second.is_lost(), "held");
    fixture.released(second).await;
    let behind = soon("a turn", behind).await.expect("no panic");
    behind.expect("it had its turn");
    fixture.over().await;
}

pub(crate) async fn h2_a_lost_grant_is_found_at_the_next_tick(subject: &'static dyn Subject) {
    // No message ever comes: only the tick can have found it.
    a_lost_grant(subject, (scaled(SECOND * 3), scaled(SECOND * 2)), true).await;
}

pub(crate) async fn h2_a_lost_grant_that_lapsed_is_put_back_and_granted_again(subject: &'static dyn Subject) {
    // The claim ends long before anybody looks; by then the one behind may have had its turn.
    a_lost_grant(subject, (scaled(SECOND * 2), scaled(SECOND / 10)), false).await;
}

pub(crate) async fn h2_inboxes_are_killed_in_the_middle_of_waiting(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    // Nobody looks by himself for three seconds, and a claim does not lapse: only the new subscription can help.
    let connect = || {
        fixture
            .builder()
            .lease(long())
            .claim_window(long_window())
            .connect()
    };
    let (one, two) = (connect().await.expect("one"), connect().await.expect("two"));
    let trip = Distance::here().trip();
    for round in 0..4 {
        let all = fixture.all(&one).await;
        let waiter = fixture.queue(&two).await;
        let start = Instant::now();
        if round % 2 == 0 {
            assert_eq!(server.kill_pubsub_clients().expect("killed"), 2, "both inboxes");
            fixture.released(all).await;
        } else {
            let release = go(all.release());
            server.kill_pubsub_clients().expect("killed");
            soon("a release", release)
                .await
                .expect("no panic")
                .expect("released");
        }
        let next = fixture.granted(waiter).await;
        let took = start.elapsed();
        assert!(
            took < TICK.max(trip * 8),
            "the new inbox did not look at once: {took:?}"
        );
        fixture.released(next).await;
        eventually("both listen", || one.is_listening() && two.is_listening()).await;
    }
    fixture.over().await;
}

/// All connections of everybody, while one holds and another waits.
pub(crate) async fn h27_all_connections_are_killed(subject: &'static dyn Subject) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    for _ in 0..3 {
        let all = fixture.all(&one).await;
        let waiter = fixture.queue(&two).await;
        server.kill_pubsub_clients().expect("killed");
        assert!(server.kill_normal_clients().expect("killed") >= 2, "both");
        fixture.still_held(&all, long()).await;
        assert!(!waiter.is_finished(), "it waits on");
        let release = go(all.release());
        server.kill_normal_clients().expect("killed");
        soon("a release", release)
            .await
            .expect("no panic")
            .expect("released");
        fixture.released(fixture.granted(waiter).await).await;
        fixture.settled().await;
    }
    fixture.over().await;
}
