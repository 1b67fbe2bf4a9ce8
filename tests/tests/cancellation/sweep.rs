//! The matrix: every call, dropped after each of its polls, in one scene.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use latchwork_mutex::{Client, ErrorKind, Fence, FencingToken, Mutex, MutexGuard, Result};
use latchwork_testkit::{Outcome, TestServer, drop_after_polls, drop_when_woken};
use latchwork_tests::{Place, go};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::calls::{Call, LEASE, Subject};
use crate::scene::{Fault, STILL, STUCK, Scene};

/// What a case may take until nothing is left of it, and the next waiter until it is served.
const SECOND: Duration = Duration::from_secs(1);

/// How long a neighbour waits for a step of the call that may never come.
const BOUND: Duration = Duration::from_millis(50);

/// The fewest cases of a sweep: a call that does not need the server has three, the others more.
const FEWEST: usize = 4 * Call::ALL.len();

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// As soon as this many polls leave it pending.
    Polled,
    /// When it is woken after them: what it waits for has come, and it does not get to see it.
    Woken,
}

/// Sweeps one scene; returns the number of cases.
pub(crate) async fn sweep(scene: Scene) -> usize {
    let server = TestServer::start().expect("a server");
    let place = Place::on(&server);
    let other = place.builder().lease(LEASE).connect().await.expect("a client");
    let mut cases = 0;
    for when in [When::Polled, When::Woken] {
        let new = |call| Lane::new(&place, scene, call, &other);
        let mut lanes: Vec<_> = Call::ALL.into_iter().map(new).collect();
        for polls in 0.. {
            for lane in &mut lanes {
                lane.name = format!("{:?}-{when:?}-{polls}", lane.call);
            }
            cases += lanes.len();
            round(&server, scene, &mut lanes, when, polls).await;
            lanes.retain(|lane| !lane.done);
            if lanes.is_empty() {
                break;
            }
        }
    }
    place.check_leftovers();
    assert!(cases >= FEWEST, "{cases} cases only");
    cases
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

type Waiter = JoinHandle<Result<MutexGuard>>;

/// One call with a client of its own, and the neighbours that its scene needs.
struct Lane<'a> {
    place: &'a Place<'a>,
    scene: Scene,
    call: Call,
    other: &'a Client,
    fault: Fault,
    name: String,
    subject: Option<Subject>,
    holder: Option<MutexGuard>,
    ahead: Option<Waiter>,
    behind: Option<Waiter>,
    /// It completed, or waits for the lock alone: more polls would change nothing.
    done: bool,
}

impl<'a> Lane<'a> {
    fn new(place: &'a Place<'a>, scene: Scene, call: Call, other: &'a Client) -> Self {
        Self {
            place,
            scene,
            call,
            other,
            fault: Fault::between_client_and(place.server, scene),
            name: String::new(),
            subject: None,
            holder: None,
            ahead: None,
            behind: None,
            done: false,
        }
    }

    fn others(&self) -> Mutex {
        Mutex::new(self.other, &self.name).expect("a mutex")
    }

    fn waiters(&self) -> usize {
        let dump = self
            .place
            .server
            .dump_zset(&self.place.key(&self.name))
            .expect("a dump");
        dump.iter().filter(|(_, score)| score.starts_with('-')).count()
    }

    /// Waits until this many queue.
    async fn queued(&self, count: usize, within: Duration) -> bool {
        let over = Instant::now() + within;
        while self.waiters() < count {
            if Instant::now() >= over {
                return false;
            }
            sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// Somebody holds, somebody waits, before the call begins.
    async fn prepare(&mut self) {
        let builder = self.place.builder_at(self.fault.proxy.url()).lease(LEASE);
        let client = match self.subject.take() {
            Some(subject) if self.call != Call::Close => subject.client,
            _ => builder.clone().connect().await.expect("a client"),
        };
        let mutex = Mutex::new(&client, &self.name).expect("a mutex");
        let mut guard = None;
        let mut ticket = None;
        if self.call.needs_guard() {
            guard = Some(mutex.lock().await.expect("free"));
        } else if self.call.needs_ticket() {
            let guard = self.others().lock().await.expect("free");
            ticket = Some(guard.into_ticket().await.expect("a ticket"));
        } else if self.scene.is_held() {
            self.holder = Some(self.others().lock().await.expect("free"));
        }
        if self.scene.waiter_ahead() {
            self.ahead = Some(go(self.others().lock()));
            assert!(self.queued(1, SECOND).await, "{}: one waits", self.name);
        }
        self.subject = Some(Subject {
            fence: Fence::new(&client, format!("resource-{}", self.name)).expect("a fence"),
            token: FencingToken::new(1),
            client,
            builder,
            mutex,
            guard,
            ticket,
        });
    }

    /// The call, from its first poll to its drop.
    async fn act(&mut self, when: When, polls: usize) {
        let (scene, call) = (self.scene, self.call);
        let holder = if scene.hands_over() {
            self.holder.take()
        } else {
            None
        };
        let mut subject = self.subject.take().expect("prepared");
        self.fault.arm(scene);
        let mut future = subject.begin(call);
        let dropping = async {
            let pinned = future.as_mut();
            let outcome = match when {
                When::Polled => {
                    let outcome = timeout(scene.patience(), drop_after_polls(pinned, polls)).await;
                    (outcome, self.meanwhile(polls, holder).await)
                }
                When::Woken => {
                    let polling = timeout(scene.patience(), drop_when_woken(pinned, polls));
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
        self.subject = Some(subject);
        match outcome {
            Err(_) => self.done = polls > 0,
            Ok(Outcome::Dropped) => {}
            Ok(Outcome::Completed(result)) => {
                self.done = true;
                if let Err(error) = result {
                    let fine = match error.kind() {
                        ErrorKind::Lost => !scene.is_kind() || call == Call::Resume,
                        kind => kind == ErrorKind::Unavailable && !scene.is_kind(),
                    };
                    assert!(fine, "{scene:?} {}: {error:?}", self.name);
                }
            }
        }
    }

    /// What others do between the polls and the drop.
    async fn meanwhile(&self, polls: usize, holder: Option<MutexGuard>) -> Option<Waiter> {
        let mut behind = None;
        if self.scene.waiter_behind() {
            let mut count = usize::from(self.scene.waiter_ahead());
            if self.call.queues() && polls > 0 {
                count += 1;
                self.queued(count, BOUND).await; // in vain if the request was lost
            }
            behind = Some(go(self.others().lock()));
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
        let what = format!("{:?} {}", self.scene, self.name);
        let start = Instant::now();
        let mut subject = self.subject.take().expect("acted");
        subject.guard = None;
        drop(self.holder.take());
        // A ticket that was not resumed holds until its lease ends, and its entry stays until somebody looks.
        let next = self.call.leaves_ticket().then(|| go(self.others().lock()));
        let waiters = [
            ("ahead", self.ahead.take()),
            ("behind", self.behind.take()),
            ("next", next),
        ];
        for (who, waiter) in waiters {
            if let Some(waiter) = waiter {
                let served = timeout(SECOND, waiter).await;
                let guard = served.unwrap_or_else(|_| panic!("{what}: the waiter {who} waits in vain"));
                drop(guard.expect("no panic").expect("the lock"));
            }
        }
        self.place
            .settled(&self.name, SECOND.saturating_sub(start.elapsed()))
            .await;
        within_a_second(&format!("{what}: its slot is free"), || {
            subject.client.live() == 0
        })
        .await;
        let mutex = if self.call == Call::Close {
            self.others()
        } else {
            subject.mutex.clone()
        };
        let fresh = timeout(SECOND, mutex.lock()).await;
        let fresh = fresh.unwrap_or_else(|_| panic!("{what}: a fresh lock waits in vain"));
        let fresh = fresh.unwrap_or_else(|error| panic!("{what}: a fresh lock: {error}"));
        if self.scene.replays() && self.call != Call::ForceUnlock {
            self.fault.replay(self.place.server);
            let dump = self
                .place
                .server
                .dump_zset(&self.place.key(&self.name))
                .expect("a dump");
            let is_entry = |score: &str| score.starts_with('-') || score.parse().is_ok_and(is_hold);
            let entries: Vec<_> = dump.iter().filter(|(_, score)| is_entry(score)).collect();
            assert_eq!(entries.len(), 1, "{what}: the fresh hold alone, not {entries:?}");
        }
        let released = fresh.unlock().await;
        released.unwrap_or_else(|error| panic!("{what}: a fresh unlock: {error}"));
        self.place.settled(&self.name, Duration::ZERO).await;
        if self.call == Call::Connect {
            let connections = if self.scene == Scene::InboxDown {
                1..=2
            } else {
                2..=2
            };
            within_a_second(
                &format!("{what}: only the subject's connections are left"),
                || connections.contains(&self.fault.proxy.open_connections()),
            )
            .await;
        }
        self.subject = Some(subject);
    }
}

/// By its score, a member of the record is a holder.
fn is_hold(score: f64) -> bool {
    (1e12..1e14).contains(&score)
}

async fn within_a_second(what: &str, mut condition: impl FnMut() -> bool) {
    let over = Instant::now() + SECOND;
    while !condition() {
        assert!(Instant::now() < over, "in vain: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}
