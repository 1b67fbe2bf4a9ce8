//! An acquire or release runs as many commands beside 1000 others as beside one.
//!
//! The commands are those that the scripts run. Redis runs each of them in at most logarithmic
//! time.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use latchwork_mutex::{Client, FairMutex, Mutex, Owner, ReentrantMutex, Result};
use latchwork_rwlock::{RwLock, RwPolicy};
use latchwork_semaphore::Semaphore;
use latchwork_testkit::{Direction, Proxy, TestServer};
use latchwork_tests::{Fixture, MINUTE, commands, eventually, go, soon};
use tokio::task::JoinHandle;

type Commands = BTreeMap<String, u64>;
type Guards = Vec<Box<dyn std::any::Any + Send>>;

/// A crowd that holds or waits, and is silent while something is measured.
struct Crowd {
    proxy: Proxy,
    client: Client,
    holds: Guards,
    waiting: Vec<JoinHandle<()>>,
}

impl Crowd {
    async fn new(fixture: &Fixture<'_>) -> Self {
        let proxy = Proxy::start(fixture.server.port()).unwrap();
        let builder = fixture
            .builder_at(proxy.url())
            .lease(MINUTE * 10)
            .heartbeat(MINUTE);
        let builder = builder.operation_timeout(MINUTE).unavailable_after(MINUTE);
        let client = builder.connect().await.unwrap();
        Self {
            proxy,
            client,
            holds: Vec::new(),
            waiting: Vec::new(),
        }
    }

    async fn hold<G: Send + 'static>(&mut self, acquire: impl Future<Output = Result<G>>) {
        let guard = acquire.await.unwrap();
        self.holds.push(Box::new(guard));
    }

    /// So many wait, in this order; their first requests are sent by the time this returns.
    async fn wait<G, F>(&mut self, fixture: &Fixture<'_>, count: usize, acquire: impl Fn() -> F)
    where
        G: Send + 'static,
        F: Future<Output = Result<G>> + Send + 'static,
    {
        for _ in 0..count {
            let mut waiting: Pin<Box<F>> = Box::pin(acquire());
            let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
            assert!(first.await, "somebody holds");
            self.waiting.push(go(async move {
                // A grant that it gets is kept.
                drop((waiting.await, std::future::pending::<()>().await));
            }));
        }
        // Counted by the server: to dump thousands of members would hold up those that still come.
        let key = fixture.key();
        let waiters = || fixture.server.admin(&["ZCOUNT", &key, "-inf", "(0"]);
        let count = i64::try_from(count).unwrap();
        let all_wait = async {
            while waiters().unwrap().int() != Some(count) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("they wait", all_wait).await;
    }

    /// From now on nothing of it reaches the server: no renewal, no refresh. The first waiter was seen just before, or the
    /// scripts would ask whether it lives.
    async fn silence(&self, server: &TestServer, fixture: &Fixture<'_>) {
        const UNITS: u64 = 1 << 18;
        eventually("it was seen", || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now = u64::try_from(now.as_millis()).unwrap() / 512 % UNITS;
            let seen = fixture.scores()[0].1.rem_euclid(262_144.0);
            let age = |units| u32::try_from((now + UNITS - units) % UNITS).unwrap();
            (0..4).any(|units| (f64::from(age(units)) - seen).abs() < 0.5)
        })
        .await;
        self.proxy.block(Direction::ToServer);
        // What was under way comes to its end.
        let scripts = || server.command_calls().unwrap().get("evalsha").copied();
        let mut last = None;
        while last != Some(scripts()) {
            last = Some(scripts());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.proxy.unblock(Direction::ToServer);
        for task in &self.waiting {
            task.abort();
        }
    }
}

/// What the server runs for this. Setting the key's life is left out: it is done once a millisecond.
async fn cost<T>(server: &TestServer, what: impl Future<Output = T>) -> (T, Commands) {
    server.reset_stats().unwrap();
    let done = what.await;
    let mut ran = commands(server);
    ran.remove("pexpire");
    assert_eq!(ran.remove("evalsha"), Some(1), "one request: {ran:?}");
    (done, ran)
}

/// A client that measures: it sends nothing by itself.
async fn measuring(fixture: &Fixture<'_>) -> Client {
    let client = fixture
        .client_with(|b| b.lease(MINUTE * 10).heartbeat(MINUTE).operation_timeout(MINUTE))
        .await;
    eventually("its label is written", || {
        !fixture
            .server
            .keys(&format!("{}:client", fixture.prefix))
            .unwrap()
            .is_empty()
    })
    .await;
    client
}

/// A release to the first of so many waiters, and an acquire that joins them.
async fn behind<G, F>(
    waiters: usize,
    kind: &'static str,
    acquire: impl Fn(&Client) -> F,
) -> (Commands, Commands)
where
    G: Send + 'static,
    F: Future<Output = Result<G>> + Send + 'static,
    G: Release,
{
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server).with_kind(kind);
    let client = measuring(&fixture).await;
    let held = acquire(&client).await.unwrap();
    let mut crowd = Crowd::new(&fixture).await;
    let theirs = crowd.client.clone();
    crowd.wait(&fixture, waiters, || acquire(&theirs)).await;
    crowd.silence(&server, &fixture).await;
    let mut one_more = Box::pin(acquire(&client));
    let joins = async {
        tokio::select! {
            _ = &mut one_more => panic!("somebody holds"),
            () = eventually("it waits", || fixture.waiters() == waiters + 1) => {}
        }
    };
    server.reset_stats().unwrap();
    joins.await;
    let mut joined = commands(&server);
    // What the test looked at, and what depends on the millisecond.
    for own in ["zrange", "pexpire"] {
        joined.remove(own);
    }
    assert_eq!(joined.remove("evalsha"), Some(1), "one request: {joined:?}");
    let (released, ran) = cost(&server, held.release()).await;
    released.unwrap();
    assert_eq!(
        (fixture.holders().len(), fixture.waiters()),
        (1, waiters),
        "handed on"
    );
    (ran, joined)
}

/// What is measured at the end.
trait Release {
    fn release(self) -> impl Future<Output = Result<()>> + Send;
}

macro_rules! release {
    ($($guard:ty: $method:ident),*) => {
        $(impl Release for $guard {
            async fn release(self) -> Result<()> {
                self.$method().await
            }
        })*
    };
}

release!(
    latchwork_mutex::MutexGuard: unlock,
    latchwork_mutex::ReentrantMutexGuard: unlock,
    latchwork_rwlock::RwLockReadGuard: unlock,
    latchwork_rwlock::RwLockWriteGuard: unlock,
    latchwork_semaphore::SemaphorePermit: release
);

/// The same with one waiter and with 5 000.
macro_rules! as_with_one {
    ($name:ident, $kind:literal, $acquire:expr) => {
        #[tokio::test]
        async fn $name() {
            let one = behind(1, $kind, $acquire).await;
            let many = behind(5000, $kind, $acquire).await;
            assert_eq!(many.0, one.0, "a release");
            assert_eq!(many.1, one.1, "an acquire");
        }
    };
}

as_with_one!(
    a_mutex_with_5000_waiters_costs_what_it_costs_with_one,
    "lock",
    |client| { Mutex::new(client, "a").unwrap().lock() }
);
as_with_one!(
    a_fair_mutex_with_5000_waiters_costs_what_it_costs_with_one,
    "lock",
    |client| { FairMutex::new(client, "a").unwrap().lock() }
);
as_with_one!(
    a_reentrant_mutex_with_5000_waiters_costs_what_it_costs_with_one,
    "lock",
    |client| ReentrantMutex::new(client, "a").unwrap().lock(&Owner::new())
);
as_with_one!(
    a_writer_with_5000_behind_it_costs_what_it_costs_with_one,
    "rwlock",
    |client| { RwLock::new(client, "a").unwrap().write() }
);
as_with_one!(
    a_preferred_writer_with_5000_behind_it_costs_what_it_costs_with_one,
    "rwlock",
    |client| {
        let builder = RwLock::builder(client, "a").policy(RwPolicy::PreferWriters);
        builder.build().unwrap().write()
    }
);
as_with_one!(
    a_semaphore_with_5000_waiters_costs_what_it_costs_with_one,
    "semaphore",
    |client| { Semaphore::new(client, "a", 1).unwrap().acquire() }
);

/// An acquire and a release beside so many others who hold, and a release of one while somebody waits for all to go.
async fn beside<G: Release + Send + 'static, W: Send + 'static>(
    holders: usize,
    kind: &'static str,
    share: impl Fn(&Client) -> Pin<Box<dyn Future<Output = Result<G>> + Send>>,
    whole: impl Fn(&Client) -> Pin<Box<dyn Future<Output = Result<W>> + Send>>,
) -> [Commands; 3] {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server).with_kind(kind);
    let client = measuring(&fixture).await;
    let mut crowd = Crowd::new(&fixture).await;
    let theirs = crowd.client.clone();
    for _ in 0..holders {
        crowd.hold(share(&theirs)).await;
    }
    let other = share(&client).await.unwrap();
    let (held, acquired) = cost(&server, share(&client)).await;
    let (released, ran) = cost(&server, held.unwrap().release()).await;
    released.unwrap();
    assert_eq!(fixture.holders().len(), holders + 1, "as before");
    crowd.wait(&fixture, 1, || whole(&theirs)).await;
    crowd.silence(&server, &fixture).await;
    let (released, waited_for) = cost(&server, other.release()).await;
    released.unwrap();
    assert_eq!(
        (fixture.holders().len(), fixture.waiters()),
        (holders, 1),
        "it waits for them"
    );
    [acquired, ran, waited_for]
}

#[tokio::test]
async fn a_reader_beside_1000_costs_what_it_costs_beside_one() {
    let lock = |client: &Client| RwLock::new(client, "a").unwrap();
    let mut found = Vec::new();
    for holders in [1, 1000] {
        let share =
            |client: &Client| -> Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(lock(client).read()) };
        let whole =
            |client: &Client| -> Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(lock(client).write()) };
        found.push(beside(holders, "rwlock", share, whole).await);
    }
    assert_eq!(found[1], found[0], "acquire, release, release before a writer");
}

#[tokio::test]
async fn a_permit_beside_1000_costs_what_it_costs_beside_one() {
    let lock = |client: &Client| Semaphore::new(client, "a", 1002).unwrap();
    let mut found = Vec::new();
    for holders in [1, 1000] {
        let share =
            |client: &Client| -> Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(lock(client).acquire()) };
        let whole = |client: &Client| -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(lock(client).acquire_many(1002))
        };
        found.push(beside(holders, "semaphore", share, whole).await);
    }
    assert_eq!(
        found[1], found[0],
        "acquire, release, release before a large request"
    );
}

#[tokio::test]
async fn a_re_entry_beside_1000_costs_what_it_costs_beside_one() {
    let owner = Owner::new();
    let mut found = Vec::new();
    for holders in [1, 1000] {
        let share = |client: &Client| -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(ReentrantMutex::new(client, "a").unwrap().lock(&owner))
        };
        let whole = |client: &Client| -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(Mutex::new(client, "a").unwrap().lock())
        };
        found.push(beside(holders, "lock", share, whole).await);
    }
    assert_eq!(found[1], found[0], "acquire, release, release before a stranger");
}
