//! Calls on a record that has become large: by marks, by holds of one owner, by waiters.

use std::time::{Duration, Instant};

use latchwork::{CountdownLatch, ErrorKind, Mutex, Owner, ReentrantMutex};
use latchwork_testkit::Direction;

use super::crowd::Crowd;
use super::scene::{Done, LONG, Scene};
use crate::Result;

/// How long a count-down is repeated if it is not answered.
const PATIENCE: Duration = Duration::from_secs(1);
/// It is remembered for a second longer, so that no repetition counts.
const MARKED: Duration = Duration::from_millis(2500);
/// Old marks are removed by one count-down in so many.
const COUNTS: usize = 16;

/// The first count-downs after very many.
pub(super) async fn marks(scene: &mut Scene) -> Result<()> {
    let (builder, n) = (scene.builder(scene.stage.url())?, scene.n);
    let client = builder.unavailable_after(PATIENCE).connect().await?;
    let latch = CountdownLatch::new(&client, "loaded", u32::try_from(n + COUNTS + 1)?)?;
    let count_down = |_| {
        let latch = latch.clone();
        async move { latch.count_down().await }
    };
    Crowd::here().take(n, count_down).await?;
    tokio::time::sleep(MARKED).await;
    let counted = async {
        let start = Instant::now();
        let mut left = 0;
        for _ in 0..COUNTS {
            left = latch.count_down().await?;
        }
        Ok(Done::call(start, left == 1))
    };
    scene.measure("latch-marks", COUNTS, counted).await
}

/// How deep an owner is in.
pub(super) async fn holds(scene: &mut Scene) -> Result<()> {
    let (builder, n) = (scene.builder(scene.stage.url())?, scene.n);
    let client = builder.lease(LONG).connect().await?;
    let (mutex, owner) = (ReentrantMutex::new(&client, "ledger")?, Owner::new());
    let _held = Crowd::here().take(n, |_| mutex.lock(&owner)).await?;
    let asked = async {
        let start = Instant::now();
        let holds = mutex.holds(&owner).await?;
        Ok(Done::call(start, usize::try_from(holds)? == n))
    };
    scene.measure("reentrant-holds", n, asked).await
}

/// A `lock` that the queue has no room for, and a `try_lock` for comparison. Those who wait refresh
/// no places meanwhile, so that only these calls run scripts.
pub(super) async fn full_queue(scene: &mut Scene) -> Result<()> {
    const CALLS: usize = 50;
    let (proxy, room) = (scene.stage.proxy()?, u32::try_from(scene.n)?);
    let client = async |url| {
        let builder = scene.builder(url)?.max_waiters(room);
        Result::<_>::Ok(builder.lease(LONG).connect().await?)
    };
    let (ours, theirs) = (client(scene.stage.url()).await?, client(proxy.url()).await?);
    let (mutex, waited_for) = (Mutex::new(&ours, "orders")?, Mutex::new(&theirs, "orders")?);
    let _held = mutex.lock().await?;
    let mut crowd = Crowd::here();
    crowd.wait(scene.n, |_| waited_for.lock()).await?;
    proxy.block(Direction::ToServer);
    let tried = async {
        let (start, mut wrong) = (Instant::now(), 0);
        for _ in 0..CALLS {
            wrong += usize::from(mutex.try_lock().await?.is_some());
        }
        Ok(Done::after(start.elapsed()).wrong(wrong))
    };
    scene.measure("full-queue-try-lock", CALLS, tried).await?;
    let refused = async {
        let (start, mut wrong) = (Instant::now(), 0);
        for _ in 0..CALLS {
            let refused = mutex.lock().await.err().map(|error| error.kind());
            wrong += usize::from(refused != Some(ErrorKind::QueueFull));
        }
        Ok(Done::after(start.elapsed()).wrong(wrong))
    };
    scene.measure("full-queue-lock", CALLS, refused).await?;
    scene.compare("full-queue-lock", "full-queue-try-lock");
    Ok(())
}
