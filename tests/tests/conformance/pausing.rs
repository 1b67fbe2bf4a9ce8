//! A hold that was handed over a moment ago survives a pause of its process or of the server.

use std::time::{Duration, Instant};

use latchwork_mutex::Client;
use latchwork_testkit::TestServer;
use latchwork_tests::distance::{Distance, answered};
use latchwork_tests::subject::Subject;
use latchwork_tests::{Fixture, Other, Waiter, go};

/// The lease of a client without options.
const LEASE: Duration = Duration::from_secs(10);

/// The same at the distance of the test: if it is so far away that its time-outs are longer, twice that,
/// for which a hand-off has its longest window.
fn lease() -> Duration {
    LEASE * Distance::here().time_outs().min(2)
}

/// A client without options but for its prefix, and what it needs if it is far away.
async fn usual(fixture: &Fixture<'_>) -> Client {
    let builder = Client::builder().url(fixture.url()).prefix(&fixture.prefix);
    let builder = fixture.distance.patient(builder).lease(lease());
    let connected = builder.connect().await;
    connected.expect("a client")
}

/// A process with default options was handed a hold this long ago, and somebody waits behind it.
struct Handed<'a> {
    fixture: Fixture<'a>,
    other: Other,
    behind: Waiter,
    holders: Vec<String>,
    /// When the claim ends unless it is confirmed.
    over: Instant,
}

impl<'a> Handed<'a> {
    async fn new(fixture: Fixture<'a>, client: &Client, since: Duration) -> Self {
        let all = fixture.all(client).await;
        let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
        let other = Other::start(program, &fixture, None, lease(), Duration::ZERO);
        fixture.queued(1).await;
        let behind = go(fixture.subject.take_all(client, fixture.name.as_bytes()));
        fixture.queued(2).await;
        fixture.released(all).await;
        let over = Instant::now() + answered(lease() / 2 + Duration::from_millis(200));
        other.says("held").await;
        tokio::time::sleep(since).await;
        let holders = fixture.holders();
        Self {
            fixture,
            other,
            behind,
            holders,
            over,
        }
    }

    /// Its process is stopped for that long. Then it still holds, and goes on doing so.
    async fn survives(self, pause: Duration) {
        self.other.stop().await;
        tokio::time::sleep(pause).await;
        self.other.go_on();
        tokio::time::sleep_until(self.over.into()).await;
        assert_eq!(self.other.has_said(), None, "it lost nothing in {pause:?}");
        assert_eq!(self.fixture.holders(), self.holders, "as before {pause:?}");
        assert!(!self.behind.is_finished(), "nobody else was let in");
        self.behind.abort();
    }
}

pub(crate) async fn h20_a_hold_that_was_just_handed_over_survives_a_pause(subject: &'static dyn Subject) {
    let fixture = Fixture::of(subject);
    let client = usual(&fixture).await;
    let mut pauses = Vec::new();
    // At once, and just before the keeper would have confirmed the hand-off.
    for since in [0, 1100].map(Duration::from_millis) {
        for pause in [500, 1200, 3000].map(Duration::from_millis) {
            let name = format!("{}-{}", since.as_millis(), pause.as_millis());
            let handed = Handed::new(fixture.named(name), &client, since);
            pauses.push(async move { handed.await.survives(pause).await });
        }
    }
    futures_util::future::join_all(pauses).await;
}

pub(crate) async fn h53_a_hold_that_was_just_handed_over_survives_a_restart(subject: &'static dyn Subject) {
    let builder = TestServer::builder().persist(true).arg("--appendfsync", "always");
    let server = builder.start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let (one, two) = (usual(&fixture).await, usual(&fixture).await);
    let all = fixture.all(&one).await;
    let waiter = go(subject.take_all(&two, b"a"));
    fixture.queued(1).await;
    let behind = fixture.queue(&one).await;
    fixture.queued(2).await;
    fixture.released(all).await;
    let second = fixture.granted(waiter).await;
    server.kill().expect("killed");
    tokio::time::sleep(Duration::from_millis(1800)).await;
    server.restart().expect("again");
    fixture.still_held(&second, lease() / 2).await;
    assert!(!behind.is_finished(), "nobody else was let in");
    fixture.released(second).await;
    fixture.released(fixture.granted(behind).await).await;
    fixture.check_leftovers();
}
