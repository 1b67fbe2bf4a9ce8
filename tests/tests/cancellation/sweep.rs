//! Drops every call after each of its polls in one scene, and checks what is left.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use latchwork_mutex::{Client, ClientBuilder, ErrorKind, Fence, FencingToken, Result};
use latchwork_testkit::{Outcome, TestServer, drop_after_polls, drop_when_woken};
use latchwork_tests::subject::{Boxed, Guard, Needs, Options, Subject};
use latchwork_tests::{Fixture, Waiter, go};
use tokio::time::{sleep, timeout};

use crate::calls::{Call, LEASE, SHORT, Set};
use crate::scene::{ENOUGH, Fault, STILL, STUCK, Scene};

/// How long a neighbour waits for a step of the call that may never come.
const BOUND: Duration = Duration::from_millis(50);

/// The fewest cases that a call has on average in any scene: one that does not need the server has three, the others
/// more. If there are fewer, something is not tried any more.
const FEWEST: usize = 6;

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// As soon as this many polls leave it pending.
    Polled,
    /// When it is woken after them: what it waits for has come, and it does not get to see it.
    Woken,
}

/// Sweeps one scene; returns the number of cases, and the longest that it took until nothing was left of one, which is
/// for people: nobody can say how fast a machine has to be. `others`: with the calls that have nothing to do with primitives.
pub(crate) async fn sweep(subject: &'static dyn Subject, scene: Scene, others: bool) -> (usize, Duration) {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server).with(subject);
    let other = fixture
        .client_with(|b| b.lease(LEASE).claim_window(ENOUGH).operation_timeout(ENOUGH))
        .await;
    let calls = Call::all(&*fixture.handle(&other), others);
    let (mut cases, mut slowest) = (0, Duration::ZERO);
    for when in [When::Polled, When::Woken] {
        let new = |call: &Call| Lane::new(&fixture, scene, *call, &other);
        let mut lanes: Vec<_> = calls.iter().map(new).collect();
        for polls in 0.. {
            for lane in &mut lanes {
                lane.fixture.name = format!("{}-{when:?}-{polls}", lane.call.name());
            }
            cases += lanes.len();
            round(&server, scene, &mut lanes, when, polls).await;
            slowest = lanes.iter().map(|lane| lane.slowest).fold(slowest, Duration::max);
            lanes.retain(|lane| !lane.done);
            if lanes.is_empty() {
                break;
            }
        }
    }
    fixture.check_leftovers();
    assert!(cases >= FEWEST * calls.len(), "{cases} cases only");
    (cases, slowest)
}

/// One case of each call, at once.
async fn round(server: &TestServer, scene: Scene, lanes: &mut [Lane<'_>], when: When, polls: usize) {
    join_all(lanes.iter_mut().map(Lane::prepare)).await;
    match scene {
        Scene::NoScript => {
            for lane in &mut *lanes {
                server.flush_scripts().expect("flushed"); // one by one: the first to load them loads them for all
                lane.act(when, polls).await;
            }
        }
        Scene::Frozen => {
            server.freeze().expect("it stands still");
            let thaw = async {
                sleep(STILL).await;
                server.thaw().expect("it goes on");
            };
            join(join_all(lanes.iter_mut().map(|lane| lane.act(when, polls))), thaw).await;
        }
        _ => {
            join_all(lanes.iter_mut().map(|lane| lane.act(when, polls))).await;
        }
    }
    join_all(lanes.iter_mut().map(Lane::check)).await;
}

/// One call with a client of its own, and the neighbours that its scene needs.
struct Lane<'a> {
    fixture: Fixture<'a>,
    scene: Scene,
    call: Call,
    other: &'a Client,
    fault: Fault,
    set: Option<Set>,
    holder: Option<Guard>,
    ahead: Option<Waiter>,
    behind: Option<Waiter>,
    /// The longest that it took until nothing was left and all waiters were served.
    slowest: Duration,
    /// It completed, or waits for the lock alone: more polls would change nothing.
    done: bool,
}

impl<'a> Lane<'a> {
    fn new(fixture: &Fixture<'a>, scene: Scene, call: Call, other: &'a Client) -> Self {
        Self {
            fixture: fixture.clone(),
            scene,
            call,
            other,
            fault: Fault::between_client_and(fixture.server, scene),
            set: None,
            holder: None,
            ahead: None,
            behind: None,
            slowest: Duration::ZERO,
            done: false,
        }
    }

    /// Somebody else takes all there is, when it is there.
    fn others(&self) -> Boxed<Result<Guard>> {
        self.fixture
            .subject
            .take_all(self.other, self.fixture.name.as_bytes())
    }

    /// Waits until this many queue.
    async fn queued(&self, count: usize, within: Duration) -> bool {
        let over = Instant::now() + within;
        while self.fixture.waiters() < count {
            if Instant::now() >= over {
                return false;
            }
            sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// Somebody holds, somebody waits, before the call begins.
    async fn prepare(&mut self) {
        let builder = self.fixture.builder_at(self.fault.proxy.url()).lease(LEASE);
        let within = match self.call {
            // What it cannot send in that time it leaves to the leases, and says so.
            Call::Close => ENOUGH,
            _ => self.scene.operation_timeout(),
        };
        let builder = builder.claim_window(ENOUGH).operation_timeout(within);
        let client = match self.set.take() {
            Some(set) if !matches!(self.call, Call::Close) => set.client,
            _ => connected(&builder).await,
        };
        let name = &self.fixture.name;
        let mut options = Options::NONE;
        if self.call.leaves_lease() {
            options.lease = Some(SHORT);
        }
        let handle = self.fixture.handle_with(&client, &options);
        let mut guard = None;
        let mut ticket = None;
        match self.call.needs() {
            Needs::Guard => guard = Some(handle.acquire().await.expect("free")),
            Needs::Ticket(from) => {
                let others = self.fixture.handle_with(self.other, &options);
                while ticket.is_none() {
                    let guard = others.acquire().await.expect("free");
                    ticket = from(guard).await.ok(); // its lease is short, and the machine may be busy
                }
            }
            Needs::Nothing if self.scene.is_held() => {
                self.holder = Some(self.others().await.expect("free"));
            }
            Needs::Nothing => {}
        }
        if self.scene.waiter_ahead() {
            self.ahead = Some(go(self.others()));
            let waits = self.queued(1, ENOUGH).await;
            assert!(waits || self.call.leaves_lease(), "{name}: one waits");
        }
        self.set = Some(Set {
            fence: Fence::new(&client, format!("resource-{name}")).expect("a fence"),
            token: FencingToken::new(1),
            client,
            builder,
            handle,
            guard,
            ticket,
        });
    }

    /// The call, from its first poll to its drop.
    async fn act(&mut self, when: When, polls: usize) {
        let (scene, call) = (self.scene, self.call);
        let patience = scene.patience(call.queues());
        let holder = if scene.hands_over() {
            self.holder.take()
        } else {
            None
        };
        let mut set = self.set.take().expect("prepared");
        self.fault.arm(scene);
        let mut future = set.begin(call);
        let dropping = async {
            let pinned = future.as_mut();
            let outcome = match when {
                When::Polled => {
                    let outcome = timeout(patience, drop_after_polls(pinned, polls)).await;
                    (outcome, self.meanwhile(polls, holder).await)
                }
                When::Woken => {
                    let polling = timeout(patience, drop_when_woken(pinned, polls));
                    join(polling, self.meanwhile(polls, holder)).await
                }
            };
            drop(future);
            outcome
        };
        let release = async {
            if scene == Scene::HeldBack {
                sleep(STUCK).await;
                self.fault.proxy.release();
            }
        };
        let ((outcome, behind), ()) = join(dropping, release).await;
        self.fault.mend();
        self.behind = behind;
        self.set = Some(set);
        match outcome {
            Err(_) => self.done = polls > 0,
            Ok(Outcome::Dropped) => {}
            Ok(Outcome::Completed(result)) => {
                self.done = true;
                if let Err(error) = result {
                    let fine = match error.kind() {
                        ErrorKind::Lost => !scene.is_kind() || call.leaves_lease(),
                        kind => kind == ErrorKind::Unavailable && (!scene.is_kind() || call.is_bounded()),
                    };
                    assert!(fine, "{scene:?} {}: {error:?}", self.fixture.name);
                }
            }
        }
    }

    /// What others do between the polls and the drop.
    async fn meanwhile(&self, polls: usize, holder: Option<Guard>) -> Option<Waiter> {
        let mut behind = None;
        if self.scene.waiter_behind() {
            let mut count = usize::from(self.scene.waiter_ahead());
            if self.call.queues() && polls > 0 {
                count += 1;
                self.queued(count, BOUND).await; // in vain if the request was lost
            }
            behind = Some(go(self.others()));
            self.queued(count + 1, BOUND).await; // in vain if the call has freed the lock
        }
        if holder.is_some() {
            drop(holder);
            // Half of them are dropped before the message has come, half after it.
            sleep(Duration::from_millis(if polls.is_multiple_of(2) { 0 } else { 5 })).await;
        }
        if self.scene == Scene::CutWhileQueued {
            self.fault.proxy.cut();
        }
        behind
    }

    /// What must be true after every case.
    async fn check(&mut self) {
        let what = format!("{:?} {}", self.scene, self.fixture.name);
        let start = Instant::now();
        let mut set = self.set.take().expect("acted");
        set.guard = None;
        drop(self.holder.take());
        // A hold that was left to its lease ends with that, and its entry stays until somebody looks.
        let next = self.call.leaves_lease().then(|| go(self.others()));
        let waiters = [
            ("ahead", self.ahead.take()),
            ("behind", self.behind.take()),
            ("next", next),
        ];
        for (who, waiter) in waiters {
            if let Some(waiter) = waiter {
                let served = timeout(ENOUGH, waiter).await;
                let guard = served.unwrap_or_else(|_| panic!("{what}: the waiter {who} waits in vain"));
                drop(guard.expect("no panic").expect("all there is"));
            }
        }
        self.fixture.settled_within(ENOUGH).await;
        soon(&format!("{what}: its slot is free"), || set.client.live() == 0).await;
        self.slowest = self.slowest.max(start.elapsed());
        let client = if matches!(self.call, Call::Close) {
            self.other
        } else {
            &set.client
        };
        let all = self
            .fixture
            .subject
            .take_all(client, self.fixture.name.as_bytes());
        let fresh = timeout(ENOUGH, all).await;
        let fresh = fresh.unwrap_or_else(|_| panic!("{what}: a fresh one waits in vain"));
        let fresh = fresh.unwrap_or_else(|error| panic!("{what}: a fresh one: {error}"));
        if self.scene.replays() && !matches!(self.call, Call::Force) {
            self.fault.replay(self.fixture.server);
            assert_eq!(self.fixture.holders().len(), 1, "{what}: the fresh hold alone");
            assert_eq!(self.fixture.waiters(), 0, "{what}: the fresh hold alone");
        }
        let released = fresh.release().await;
        released.unwrap_or_else(|error| panic!("{what}: a fresh release: {error}"));
        self.fixture.settled_within(Duration::ZERO).await;
        if matches!(self.call, Call::Connect) {
            let connections = if self.scene == Scene::InboxDown {
                1..=2
            } else {
                2..=2
            };
            let proxy = &self.fault.proxy;
            let over = Instant::now() + ENOUGH;
            while !connections.contains(&proxy.open_connections()) {
                let open = proxy.open_connections();
                assert!(
                    Instant::now() < over,
                    "{what}: {open} connections, not {connections:?}"
                );
                sleep(Duration::from_millis(1)).await;
            }
        }
        self.set = Some(set);
    }
}

/// A client, though its requests may be given less time than a busy machine needs for them.
async fn connected(builder: &ClientBuilder) -> Client {
    let over = Instant::now() + ENOUGH;
    loop {
        match builder.clone().connect().await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < over, "no client: {error:?}"),
        }
    }
}

async fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let over = Instant::now() + ENOUGH;
    while !condition() {
        assert!(Instant::now() < over, "in vain: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}
