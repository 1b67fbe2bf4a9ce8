//! A client dies with everything that it has, and others go on.

use std::time::{Duration, Instant};

use latchwork::{Mutex, RwLock, Semaphore};

use super::crowd::{Crowd, Doomed};
use super::let_in::let_in;
use super::scene::{Done, Scene};
use crate::Result;

/// One waiter lives, behind the dead.
pub(super) async fn waiters(scene: &mut Scene) -> Result<()> {
    let client = scene.client().await?;
    let mutex = Mutex::new(&client, "orders")?;
    let held = mutex.lock().await?;
    let mut doomed = Doomed::start(scene, |builder| builder).await?;
    let (theirs, mut dead) = (Mutex::new(&doomed.client, "orders")?, doomed.crowd()?);
    dead.wait(scene.n, |_| theirs.lock()).await?;
    let mut live = Crowd::here();
    live.wait(1, |_| mutex.lock()).await?;
    doomed.die();
    let had = let_in(live, held.unlock());
    scene.measure("dead-waiters", scene.n, had).await
}

/// A writer lives, behind a dead one and dead readers.
pub(super) async fn readers(scene: &mut Scene) -> Result<()> {
    let client = scene.client().await?;
    let lock = RwLock::new(&client, "config")?;
    let held = lock.write().await?;
    let mut doomed = Doomed::start(scene, |builder| builder).await?;
    let theirs = RwLock::new(&doomed.client, "config")?;
    let (mut writer, mut readers) = (doomed.crowd()?, doomed.crowd()?);
    writer.wait(1, |_| theirs.write()).await?;
    readers.wait(scene.n, |_| theirs.read()).await?;
    let mut live = Crowd::here();
    live.wait(1, |_| lock.write()).await?;
    doomed.die();
    let had = let_in(live, held.unlock());
    scene.measure("dead-readers", scene.n, had).await
}

/// The leases of shared holds have ended, and nobody has looked since. The first call is to be
/// right, whichever it is, so each has a record of its own.
pub(super) async fn holders(scene: &mut Scene) -> Result<()> {
    // So many holds are renewed no more often than 15 000 times a second.
    let lease = Duration::from_millis(scene.n as u64).max(Duration::from_secs(1));
    let mut doomed = Doomed::start(scene, |builder| builder.lease(lease)).await?;
    let client = scene.client().await?;
    let all = u32::try_from(scene.n)?;

    let config = RwLock::new(&doomed.client, "config")?;
    let readers = doomed.crowd()?.take(scene.n, |_| config.read()).await?;
    let mut permits = Vec::new();
    for name in ["tried", "waited-for", "resized", "counted"] {
        let semaphore = Semaphore::new(&doomed.client, name, all)?;
        let mut crowd = doomed.crowd()?;
        permits.push(crowd.take(scene.n, |_| semaphore.acquire()).await?);
    }
    doomed.die();
    tokio::time::sleep(lease + Duration::from_millis(100)).await;

    let lock = RwLock::new(&client, "config")?;
    let call = async {
        let start = Instant::now();
        let guard = lock.try_write().await?;
        Ok(Done::call(start, guard.is_some()))
    };
    scene.measure("dead-holders-try-write", scene.n, call).await?;

    let semaphore = Semaphore::new(&client, "tried", all)?;
    let call = async {
        let start = Instant::now();
        let permit = semaphore.try_acquire_many(all).await?;
        Ok(Done::call(start, permit.is_some()))
    };
    scene.measure("dead-holders-try-many", scene.n, call).await?;

    let semaphore = Semaphore::new(&client, "waited-for", all)?;
    let call = async {
        let start = Instant::now();
        let permit = semaphore.acquire_many(all).await?;
        Ok(Done::call(start, permit.permits() == all))
    };
    scene.measure("dead-holders-many", scene.n, call).await?;

    let semaphore = Semaphore::new(&client, "resized", all)?;
    let call = async {
        let start = Instant::now();
        semaphore.resize(all + 1).await?;
        let done = Done::call(start, true);
        Ok(done.wrong(usize::from(semaphore.capacity().await? != all + 1)))
    };
    scene.measure("dead-holders-resize", scene.n, call).await?;

    let semaphore = Semaphore::new(&client, "counted", all)?;
    let call = async {
        let start = Instant::now();
        let available = semaphore.available_permits().await?;
        Ok(Done::call(start, available == all))
    };
    scene.measure("dead-holders-available", scene.n, call).await?;
    drop((readers, permits));
    Ok(())
}
