//! What is done with a hold, and what has to come of it.

use std::time::{Duration, Instant};

use latchwork_core::{Error, ErrorKind, Loss};
use latchwork_mutex::Mutex;
use latchwork_rwlock::RwLock;
use latchwork_semaphore::{Semaphore, SemaphorePermit};
use latchwork_tests::eventually;
use latchwork_tests::subject::{MUTEX, SEMAPHORE, WRITE};

use crate::state::{LEASE, Scene, State};

/// A semaphore of three, of which the hold has all.
async fn permits(state: State) -> (Scene, Semaphore, SemaphorePermit) {
    let scene = Scene::new(SEMAPHORE, state).await;
    let semaphore = Semaphore::new(&scene.client, "a", 3).expect("a semaphore");
    let handle = semaphore.clone();
    let permit = scene.hold(async move { handle.acquire_many(3).await }).await;
    (scene, semaphore, permit)
}

fn is_lost(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
}

/// What all that hold have together, by the server.
async fn taken(semaphore: &Semaphore) -> u32 {
    let info = semaphore.inspect().await.expect("an answer");
    info.holders.iter().map(|holder| holder.weight).sum()
}

pub(crate) async fn dropped(state: State) {
    let (scene, _, permit) = permits(state).await;
    let watched = permit.hold();
    drop(permit);
    scene.go_on();
    eventually("it is free", || !scene.fixture.is_held()).await;
    assert!(!watched.is_valid(), "a view says so");
    scene.over().await;
}

pub(crate) async fn released(state: State) {
    let (scene, _, permit) = permits(state).await;
    let result = scene.run(async move { permit.release().await }).await;
    if scene.is_over() {
        is_lost(&result.expect_err("over"));
    } else {
        result.expect("released");
        assert!(!scene.fixture.is_held(), "at once");
    }
    scene.over().await;
}

pub(crate) async fn forgotten(state: State) {
    let (scene, semaphore, permit) = permits(state).await;
    let watched = permit.hold();
    let start = Instant::now();
    permit.forget();
    assert!(!watched.is_valid(), "nobody can rely on it");
    scene.go_on();
    let beside = Semaphore::new(&scene.beside, "a", 3).expect("a semaphore");
    let next = beside.acquire_many(3).await.expect("when its lease is over");
    let held = start.elapsed();
    match state {
        State::Claim | State::Confirming => {
            assert!(held > LEASE * 9 / 10, "its lease, and not its claim: {held:?}");
        }
        State::Past => assert!(held < LEASE / 2, "it was over: {held:?}"),
        _ => {}
    }
    assert!(held < LEASE + Duration::from_secs(2), "{held:?}");
    assert_eq!(scene.fixture.waiters(), 0, "it has no place");
    assert_eq!(taken(&semaphore).await, 3, "the next one's");
    next.release().await.expect("released");
    scene.over().await;
}

pub(crate) async fn made_a_ticket(state: State) {
    let scene = Scene::new(MUTEX, state).await;
    let mutex = Mutex::new(&scene.client, "a").expect("a mutex");
    let handle = mutex.clone();
    let guard = scene.hold(async move { handle.lock().await }).await;
    let token = guard.fencing_token();
    let ticket = scene.run(async move { guard.into_ticket().await }).await;
    if scene.is_over() {
        is_lost(&ticket.expect_err("over"));
        return scene.over().await;
    }
    let ticket = ticket.expect("a ticket");
    let beside = Mutex::new(&scene.beside, "a").expect("a mutex");
    let guard = beside.resume(&ticket).await.expect("resumed");
    assert_eq!(guard.fencing_token(), token, "the same hold");
    assert!(beside.resume(&ticket).await.is_err(), "once");
    eventually("nothing is left of the old one here", || scene.client.live() == 0).await;
    assert_eq!(scene.fixture.holders().len(), 1, "one hold");
    guard.unlock().await.expect("released");
    assert!(!scene.fixture.is_held(), "and it is free");
    scene.over().await;
}

/// The hold of a ticket goes on in this state.
pub(crate) async fn resumed(state: State) {
    let scene = Scene::new(MUTEX, state).await;
    let mutex = Mutex::new(&scene.client, "a").expect("a mutex");
    let handle = mutex.clone();
    let beside = Mutex::new(&scene.beside, "a").expect("a mutex");
    let guard = if matches!(state, State::Claim | State::Confirming) {
        let guard = scene.hold(async move { handle.lock().await }).await;
        let ticket = scene.run(async move { guard.into_ticket().await }).await;
        mutex.resume(&ticket.expect("a ticket")).await.expect("resumed")
    } else {
        let guard = beside.lock().await.expect("the lock");
        let ticket = guard.into_ticket().await.expect("a ticket");
        let resume = async move { handle.resume(&ticket).await };
        scene.hold(resume).await
    };
    let result = scene.run(async move { guard.unlock().await }).await;
    if scene.is_over() {
        is_lost(&result.expect_err("over"));
    } else {
        result.expect("released");
    }
    scene.over().await;
}

pub(crate) async fn extended(state: State) {
    let (scene, _, permit) = permits(state).await;
    let (result, permit) = scene
        .run(async move { (permit.extend(LEASE * 3).await, permit) })
        .await;
    if scene.is_over() {
        is_lost(&result.expect_err("over"));
        drop(permit);
    } else {
        result.expect("extended");
        assert!(permit.valid_for() > LEASE * 2, "{:?}", permit.valid_for());
        permit.release().await.expect("released");
    }
    scene.over().await;
}

pub(crate) async fn split(state: State) {
    let (scene, semaphore, mut permit) = permits(state).await;
    let (part, permit) = scene.run(async move { (permit.split(1).await, permit) }).await;
    if scene.is_over() {
        is_lost(&part.expect_err("over"));
        drop(permit);
        return scene.over().await;
    }
    let part = part.expect("an answer").expect("there is more");
    assert_eq!((permit.permits(), part.permits()), (2, 1), "as asked");
    tokio::time::sleep(Duration::from_millis(400)).await; // longer than the claim would be
    assert_eq!(taken(&semaphore).await, 3, "all are out");
    assert!(!permit.is_lost() && !part.is_lost(), "both are held");
    permit.release().await.expect("released");
    part.release().await.expect("released");
    scene.over().await;
}

pub(crate) async fn merged(state: State) {
    let scene = Scene::new(SEMAPHORE, state).await;
    let semaphore = Semaphore::new(&scene.client, "a", 6).expect("a semaphore");
    let beside = Semaphore::new(&scene.beside, "a", 6).expect("a semaphore");
    let fills = beside.acquire_many(2).await.expect("permits");
    let handle = semaphore.clone();
    // The hold takes in another of its client, which was there before.
    let two = semaphore.acquire_many(2).await.expect("permits");
    fills.release().await.expect("released");
    let mut permit = hold_beside(&scene, &beside, async move { handle.acquire_many(4).await }).await;
    let (result, permit) = scene.run(async move { (permit.merge(two).await, permit) }).await;
    if scene.is_over() {
        is_lost(&result.expect_err("over"));
        drop(permit);
        return scene.over().await;
    }
    result.expect("merged");
    assert_eq!(permit.permits(), 6, "both");
    tokio::time::sleep(Duration::from_millis(400)).await; // longer than the claim would be
    assert_eq!(taken(&semaphore).await, 6, "at the server, too");
    assert!(!permit.is_lost(), "it is held");
    permit.release().await.expect("released");
    scene.over().await;
}

/// As [`Scene::hold`], while this client has two already: whoever holds in front of it has the other four.
async fn hold_beside<G: Send + 'static>(
    scene: &Scene,
    beside: &Semaphore,
    acquire: impl Future<Output = latchwork_core::Result<G>> + Send + 'static,
) -> G {
    let front = beside.acquire_many(4).await.expect("the other four");
    scene.hold_behind(front.release(), acquire).await
}

pub(crate) async fn downgraded(state: State) {
    let scene = Scene::new(WRITE, state).await;
    let lock = RwLock::new(&scene.client, "a").expect("a lock");
    let handle = lock.clone();
    let writer = scene.hold(async move { handle.write().await }).await;
    let reader = scene.run(async move { writer.downgrade().await }).await;
    if scene.is_over() {
        is_lost(&reader.expect_err("over"));
        return scene.over().await;
    }
    let reader = reader.expect("a reader");
    let beside = RwLock::new(&scene.beside, "a").expect("a lock");
    let other = beside.try_read().await.expect("an answer").expect("it shares");
    tokio::time::sleep(Duration::from_millis(400)).await; // longer than the claim would be
    assert!(!reader.is_lost() && !other.is_lost(), "both are held");
    assert_eq!(scene.fixture.holders().len(), 2, "two readers");
    other.unlock().await.expect("released");
    reader.unlock().await.expect("released");
    scene.over().await;
}

pub(crate) async fn upgraded(state: State) {
    let scene = Scene::new(WRITE, state).await;
    let lock = RwLock::new(&scene.client, "a").expect("a lock");
    let handle = lock.clone();
    let reader = scene.hold(async move { handle.upgradable_read().await }).await;
    let writer = scene
        .run(async move {
            reader
                .upgrade()
                .await
                .map_err(|error| error.error().map(Error::kind))
        })
        .await;
    if scene.is_over() {
        assert_eq!(writer.expect_err("over"), Some(ErrorKind::Lost), "it says so");
        return scene.over().await;
    }
    let writer = writer.expect("a writer");
    let beside = RwLock::new(&scene.beside, "a").expect("a lock");
    tokio::time::sleep(Duration::from_millis(400)).await; // longer than the claim would be
    assert!(
        beside.try_read().await.expect("an answer").is_none(),
        "it is alone"
    );
    assert!(!writer.is_lost(), "and holds");
    writer.unlock().await.expect("released");
    scene.over().await;
}

pub(crate) async fn closed(state: State) {
    let (scene, _, permit) = permits(state).await;
    let client = scene.client.clone();
    scene.run(async move { client.close().await }).await;
    let expected = if scene.is_over() {
        Loss::Expired
    } else {
        Loss::Closed
    };
    let loss = permit.lost().await;
    assert_eq!(loss, expected, "the guard says so");
    assert!(!scene.fixture.is_held() || scene.is_over(), "it was released");
    drop(permit);
    scene.over().await;
}
