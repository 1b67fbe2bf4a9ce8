//! One step of somebody lets all in: a release, the last count-down, a reset.

use std::time::{Duration, Instant};

use latchwork::{Client, CountdownLatch, ErrorKind, Guard, Owner, ReentrantMutex, RwLock, Semaphore};

use super::crowd::{Crowd, lost};
use super::scene::{Done, Scene};
use crate::Result;

/// After this long a hold that was handed over was confirmed, or is lost.
pub(super) const CONFIRMED: Duration = Duration::from_millis(1100);

/// Waits until `release` has let the crowd in, and whether all its holds are good.
pub(super) async fn let_in<T, R>(mut crowd: Crowd<T>, release: R) -> Result<Done>
where
    T: Guard + 'static,
    R: Future<Output = latchwork::Result<()>>,
{
    let start = Instant::now();
    release.await?;
    let guards = crowd.all().await?;
    let took = start.elapsed();
    tokio::time::sleep(CONFIRMED).await;
    Ok(Done::after(took).lost(lost(&guards)))
}

pub(super) async fn readers(scene: &mut Scene) -> Result<()> {
    let (ours, theirs) = (scene.client().await?, scene.client().await?);
    let held = RwLock::new(&ours, "config")?.write().await?;
    let (lock, mut crowd) = (RwLock::new(&theirs, "config")?, Crowd::here());
    crowd.wait(scene.n, |_| lock.read()).await?;
    let all_in = let_in(crowd, held.unlock());
    scene.measure("let-in-readers", scene.n, all_in).await
}

pub(super) async fn permits(scene: &mut Scene) -> Result<()> {
    let (ours, theirs) = (scene.client().await?, scene.client().await?);
    let all = u32::try_from(scene.n)?;
    let held = Semaphore::new(&ours, "pool", all)?.acquire_many(all).await?;
    let (semaphore, mut crowd) = (Semaphore::new(&theirs, "pool", all)?, Crowd::here());
    crowd.wait(scene.n, |_| semaphore.acquire()).await?;
    let all_in = let_in(crowd, held.release());
    scene.measure("let-in-permits", scene.n, all_in).await
}

pub(super) async fn owner(scene: &mut Scene) -> Result<()> {
    let (ours, theirs) = (scene.client().await?, scene.client().await?);
    let held = ReentrantMutex::new(&ours, "ledger")?.lock(&Owner::new()).await?;
    let (mutex, owner) = (ReentrantMutex::new(&theirs, "ledger")?, Owner::new());
    let mut crowd = Crowd::here();
    crowd.wait(scene.n, |_| mutex.lock(&owner)).await?;
    let all_in = let_in(crowd, held.unlock());
    scene.measure("let-in-owner", scene.n, all_in).await
}

/// How a wait has ended: with an error of this kind, or at zero.
type End = Option<ErrorKind>;

/// A latch with one left to count, and all who wait for it.
async fn latch(scene: &Scene, theirs: &Client) -> Result<(CountdownLatch, Crowd<End>)> {
    let ours = scene.client().await?;
    let (latch, waited_for) = (
        CountdownLatch::new(&ours, "loaded", 1)?,
        CountdownLatch::new(theirs, "loaded", 1)?,
    );
    let mut crowd = Crowd::here();
    let wait = |_| {
        let wait = waited_for.wait();
        async { Ok(wait.await.err().map(|error| error.kind())) }
    };
    crowd.wait(scene.n, wait).await?;
    Ok((latch, crowd))
}

/// How the waits have ended, other than `expected`.
fn others(ends: &[End], expected: End) -> usize {
    ends.iter().filter(|end| **end != expected).count()
}

pub(super) async fn zero(scene: &mut Scene) -> Result<()> {
    let theirs = scene.client().await?;
    let (latch, mut crowd) = latch(scene, &theirs).await?;
    let passed = async {
        let start = Instant::now();
        latch.count_down().await?;
        let ends = crowd.all().await?;
        Ok(Done::after(start.elapsed()).wrong(others(&ends, None)))
    };
    scene.measure("latch-zero", scene.n, passed).await
}

pub(super) async fn reset(scene: &mut Scene) -> Result<()> {
    let theirs = scene.client().await?;
    let (latch, mut crowd) = latch(scene, &theirs).await?;
    let told = async {
        let start = Instant::now();
        latch.reset(1).await?;
        let ends = crowd.all().await?;
        let wrong = others(&ends, Some(ErrorKind::Reset));
        Ok(Done::after(start.elapsed()).wrong(wrong))
    };
    scene.measure("latch-reset", scene.n, told).await
}
