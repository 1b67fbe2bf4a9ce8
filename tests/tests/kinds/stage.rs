//! Makes the handles of a call, and lets all calls of a scene begin together after its fault.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use latchwork_core::dynamic::Lock;
use latchwork_core::{Algorithm, Client, ClientBuilder, Error, ErrorKind, Rate, Result, Ticket};
use latchwork_latch::CountdownLatch;
use latchwork_limiter::RateLimiter;
use latchwork_mutex::{
    FairMutex, Fence, FencingToken, Mutex, MutexBuilder, OwnedHandle, Owner, ReentrantMutex,
};
use latchwork_rwlock::{RwLock, RwLockUpgradableReadGuard, UpgradeError};
use latchwork_semaphore::{Semaphore, SemaphorePermit};
use latchwork_tests::{MINUTE, go};
use tokio::sync::Notify;

use crate::scenes::Scene;

/// What a scene's calls share.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    /// Where the client under test connects to.
    url: String,
    /// The client under test, and how to make another one like it.
    pub(crate) client: Client,
    pub(crate) builder: ClientBuilder,
    /// A client that nothing happens to.
    pub(crate) other: Client,
    ready: AtomicUsize,
    struck: AtomicBool,
    go: Notify,
}

impl Stage {
    pub(crate) fn new(
        scene: Scene,
        url: String,
        client: Client,
        builder: ClientBuilder,
        other: Client,
    ) -> Self {
        let (ready, struck, go) = <(AtomicUsize, AtomicBool, Notify)>::default();
        Self {
            scene,
            url,
            client,
            builder,
            other,
            ready,
            struck,
            go,
        }
    }

    /// How many calls have what they need, and wait for the fault.
    pub(crate) fn ready(&self) -> usize {
        self.ready.load(Ordering::SeqCst)
    }

    /// The fault is there: the calls begin.
    pub(crate) fn begin(&self) {
        self.struck.store(true, Ordering::SeqCst);
        self.go.notify_waiters();
    }

    fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

/// An error as a call returned it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) kind: ErrorKind,
    pub(crate) name: Option<String>,
    pub(crate) text: String,
}

/// What a call returns if it fails.
pub(crate) trait Failed {
    fn seen(&self) -> Option<Seen>;
}

impl Failed for Error {
    fn seen(&self) -> Option<Seen> {
        let (kind, text) = (self.kind(), self.to_string());
        let name = self.name().map(ToString::to_string);
        Some(Seen { kind, name, text })
    }
}

impl Failed for UpgradeError {
    fn seen(&self) -> Option<Seen> {
        self.error()?.seen()
    }
}

/// One call's corner of a scene: a name that no other call has, and what it is called with.
pub(crate) struct World<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) name: String,
    pub(crate) owner: Owner,
}

/// Permits of every semaphore, and the count of every latch.
pub(crate) const ALL: u32 = 5;
/// How long a bounded call waits.
pub(crate) const WAIT: Duration = Duration::from_millis(700);
const HOUR: Duration = Duration::from_secs(3600);

/// The end of a bounded call.
pub(crate) fn deadline() -> Instant {
    Instant::now() + WAIT
}

impl<'a> World<'a> {
    pub(crate) fn new(stage: &'a Stage, at: usize) -> Self {
        let (name, owner) = (format!("n{at}"), Owner::new());
        Self { stage, name, owner }
    }

    /// Waits until all calls are ready and the fault is there.
    pub(crate) async fn fault(&self) {
        let begun = self.stage.go.notified();
        self.stage.ready.fetch_add(1, Ordering::SeqCst);
        begun.await;
    }

    /// The body of a `run`: the fault comes while it runs, and it goes on until it is dropped if
    /// that takes the hold away.
    pub(crate) async fn inside(&self) {
        self.fault().await;
        if self.stage.scene.takes_holds() {
            std::future::pending::<()>().await;
        }
    }

    fn is(&self, scene: Scene) -> bool {
        self.stage.scene == scene && self.stage.has_struck()
    }

    /// One of these: if nothing is wrong with arguments, if they are too small, if they are too
    /// large.
    pub(crate) fn either<T>(&self, fine: T, small: T, large: T) -> T {
        match self.stage.scene {
            Scene::SmallArguments if self.stage.has_struck() => small,
            Scene::LargeArguments if self.stage.has_struck() => large,
            _ => fine,
        }
    }

    fn name(&self) -> String {
        let other = if self.is(Scene::OtherName) { "other-" } else { "" };
        format!("{other}{}", self.name)
    }

    /// For functions that check a name.
    pub(crate) fn new_name(&self) -> Vec<u8> {
        self.either(self.name.clone().into_bytes(), Vec::new(), vec![b'a'; 513])
    }

    pub(crate) fn client(&self) -> &Client {
        &self.stage.client
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        self.stage.builder.clone().lease(self.lease())
    }

    pub(crate) fn url(&self) -> String {
        self.either(
            self.stage.url.clone(),
            String::new(),
            "redis://localhost:99999".into(),
        )
    }

    pub(crate) fn lease(&self) -> Duration {
        self.either(MINUTE, Duration::ZERO, 25 * HOUR)
    }

    pub(crate) fn n(&self) -> u32 {
        self.either(1, 0, 1000)
    }

    pub(crate) fn token(&self) -> FencingToken {
        FencingToken::new(self.either(7, 0, 1 << 53))
    }

    pub(crate) fn script(&self) -> &'static str {
        if self.is(Scene::UserError) {
            "error('no')"
        } else {
            "return 1"
        }
    }

    pub(crate) fn commands(&self) -> Vec<Vec<&'static str>> {
        let fine = if self.is(Scene::UserError) {
            "NOTHING"
        } else {
            "TIME"
        };
        self.either(vec![vec![fine]], vec![vec![]], vec![vec!["TIME"]; 1001])
    }

    fn seldom(&self) -> bool {
        self.stage.scene == Scene::TooLate
    }

    pub(crate) fn rate(&self) -> Rate {
        let fine = if self.seldom() {
            HOUR
        } else {
            Duration::from_secs(1)
        };
        let permits = NonZeroU32::new(if self.seldom() { 1 } else { 100 }).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(ALL).unwrap_or(NonZeroU32::MIN);
        Rate::per(permits, self.either(fine, Duration::ZERO, HOUR * 24 * 400)).burst(burst)
    }

    pub(crate) fn mutexes(&self) -> MutexBuilder {
        let mut builder = Mutex::builder(self.client(), self.name());
        if self.is(Scene::FloorAhead) {
            builder = builder.token_floor(floor());
        }
        builder
    }

    pub(crate) fn mutex(&self) -> Mutex {
        self.mutexes().build().expect("a mutex")
    }

    pub(crate) fn fair(&self) -> FairMutex {
        let mut builder = FairMutex::builder(self.client(), self.name());
        if self.is(Scene::FloorAhead) {
            builder = builder.token_floor(floor());
        }
        builder.build().expect("a fair mutex")
    }

    pub(crate) fn reentrant(&self) -> ReentrantMutex {
        ReentrantMutex::new(self.client(), self.name()).expect("a reentrant mutex")
    }

    pub(crate) fn owned(&self) -> OwnedHandle {
        self.reentrant().with_owner(&self.owner)
    }

    pub(crate) fn dynamic(&self) -> Box<dyn Lock> {
        Box::new(self.owned())
    }

    pub(crate) fn rwlock(&self) -> RwLock {
        let mut builder = RwLock::builder(self.client(), self.name());
        if self.is(Scene::FloorAhead) {
            builder = builder.token_floor(floor());
        }
        builder.build().expect("a read-write lock")
    }

    /// An upgradable reader, whose upgrade has this scene's token floor.
    pub(crate) async fn upgradable(&self) -> Result<RwLockUpgradableReadGuard> {
        let mut builder = RwLock::builder(self.client(), &self.name);
        if self.stage.scene == Scene::FloorAhead {
            builder = builder.token_floor(floor());
        }
        builder.build()?.upgradable_read().await
    }

    fn semaphore_of(&self, client: &Client, name: &str, permits: u32) -> Semaphore {
        let mut builder = Semaphore::builder(client, name, permits);
        if self.seldom() {
            builder = builder.rate(self.rate()).max_wait(Duration::from_millis(1));
        }
        builder.build().expect("a semaphore")
    }

    pub(crate) fn semaphore(&self) -> Semaphore {
        self.semaphore_of(self.client(), &self.name(), ALL)
    }

    /// Three permits, and another to merge with them, if it is of the same semaphore.
    pub(crate) async fn permits(&self) -> Result<(SemaphorePermit, SemaphorePermit)> {
        let name = if self.stage.scene == Scene::OtherName {
            "another"
        } else {
            &self.name
        };
        let first = self.semaphore().acquire_many(3).await?;
        Ok((
            first,
            self.semaphore_of(self.client(), name, ALL).acquire().await?,
        ))
    }

    fn limiter_of(&self, client: &Client, algorithm: Algorithm) -> RateLimiter {
        let mut builder = RateLimiter::builder(client, self.name(), self.limit()).algorithm(algorithm);
        if self.seldom() {
            builder = builder.max_wait(Duration::from_millis(1));
        }
        builder.build().expect("a limiter")
    }

    fn limit(&self) -> Rate {
        let thousand = NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN);
        if self.seldom() {
            self.rate()
        } else {
            Rate::per_second(thousand)
        }
    }

    pub(crate) fn limiter(&self) -> RateLimiter {
        self.limiter_of(self.client(), Algorithm::Gcra)
    }

    pub(crate) fn latch(&self) -> CountdownLatch {
        let latch = if self.is(Scene::NoLatch) {
            CountdownLatch::open(self.client(), self.name())
        } else {
            CountdownLatch::new(self.client(), self.name(), ALL)
        };
        latch.expect("a latch")
    }

    pub(crate) fn fence(&self) -> Fence {
        Fence::new(self.client(), self.name()).expect("a fence")
    }

    /// A waiter in the queue for a lock that the other client holds; `position` says when it is
    /// there.
    pub(crate) async fn in_queue<
        W: Future<Output: std::fmt::Debug>,
        P: Future<Output = Result<Option<u64>>>,
    >(
        &self,
        waiter: W,
        position: impl Fn(&W) -> P,
    ) -> Result<Pin<Box<W>>> {
        Mutex::new(&self.stage.other, &self.name)?.lock().await?.forget();
        let mut waiter = Box::pin(waiter);
        while position(&waiter).await?.is_none() {
            let done = waiter.as_mut().now_or_never();
            assert!(done.is_none(), "it waits: {:?} {done:?}", self.stage.scene);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(waiter)
    }

    /// A ticket as text, which is none if the arguments of this scene are bad.
    pub(crate) fn text(&self, ticket: &Ticket) -> String {
        self.either(ticket.to_string(), String::new(), format!("{ticket} more"))
    }

    // What others do as the fault of a scene.

    /// Others hold everything, and at least one of them waits.
    pub(crate) async fn crowd(&self) {
        let (client, name) = (&self.stage.other, &self.name);
        let mutex = Mutex::new(client, name).expect("a mutex");
        let shared = RwLock::new(client, name).expect("a lock");
        let permits = self.semaphore_of(client, name, ALL);
        let latch = CountdownLatch::new(client, name, ALL).expect("a latch");
        for _ in 0..2 {
            drop(go({
                let (mutex, shared, permits, latch) =
                    (mutex.clone(), shared.clone(), permits.clone(), latch.clone());
                async move {
                    let all = tokio::join!(
                        async { mutex.lock().await.map(latchwork_mutex::MutexGuard::forget) },
                        async {
                            shared
                                .write()
                                .await
                                .map(latchwork_rwlock::RwLockWriteGuard::forget)
                        },
                        async { permits.acquire_many(ALL).await.map(SemaphorePermit::forget) },
                        latch.wait(),
                    );
                    drop(all);
                }
            }));
        }
        loop {
            let (locked, read) = tokio::join!(mutex.inspect(), shared.inspect());
            let (had, awaited) = tokio::join!(permits.inspect(), latch.inspect());
            let waiting = [locked, read, had].map(|info| info.map_or(0, |info| info.queue_len));
            let awaited = awaited.map_or(0, |info| info.waiting);
            if waiting.iter().chain([&awaited]).all(|waiting| *waiting > 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Others have made everything with other numbers.
    pub(crate) async fn other_numbers(&self) {
        let (client, name) = (&self.stage.other, &self.name);
        let permit = self
            .semaphore_of(client, name, ALL + 2)
            .acquire()
            .await
            .expect("a permit");
        permit.forget();
        let limiter = self.limiter_of(client, Algorithm::SlidingWindow);
        limiter.acquire().await.expect("a slot");
        let latch = CountdownLatch::new(client, name, ALL + 2).expect("a latch");
        latch.count().await.expect("a count");
    }

    /// Others have used up what the rates allow.
    pub(crate) async fn used_up(&self) {
        let client = &self.stage.other;
        let permits = self.semaphore_of(client, &self.name, ALL);
        while let Some(permit) = permits.try_acquire().await.expect("an answer") {
            permit.release().await.expect("released");
        }
        let limiter = self.limiter_of(client, Algorithm::Gcra);
        while limiter.try_acquire().await.expect("an answer").allowed {}
    }

    /// The latch of this name as the other client sees it.
    pub(crate) fn other_latch(&self) -> CountdownLatch {
        CountdownLatch::new(&self.stage.other, &self.name, ALL).expect("a latch")
    }

    /// Others take every hold of this name away.
    pub(crate) async fn force(&self) {
        let (client, name) = (&self.stage.other, &self.name);
        let forced = tokio::try_join!(
            async { Mutex::new(client, name)?.force_unlock().await },
            async { RwLock::new(client, name)?.force_unlock().await },
            async { self.semaphore_of(client, name, ALL).force_release().await },
        );
        forced.expect("answers");
    }
}

/// Two days ahead of the clock of any server here.
fn floor() -> FencingToken {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FencingToken::new(u64::try_from((now + 48 * HOUR).as_micros()).unwrap_or(0))
}
