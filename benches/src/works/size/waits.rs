//! Waiters that do nothing but wait, while their client has other things to do.

use std::time::{Duration, Instant};

use latchwork::{Client, Mutex, MutexGuard};

use super::crowd::{Crowd, lost};
use super::scene::{Done, LONG, Scene};
use crate::Result;

/// How often each place is refreshed while it is measured.
const ROUNDS: usize = 2;

pub(super) async fn on_one_lock(scene: &mut Scene) -> Result<()> {
    wait(scene, "wait-one-lock", 1).await
}

pub(super) async fn on_n_locks(scene: &mut Scene) -> Result<()> {
    wait(scene, "wait-n-locks", scene.n).await
}

/// All wait on `locks` locks, which somebody else holds, and their client holds a tenth as many
/// others.
async fn wait(scene: &mut Scene, what: &'static str, locks: usize) -> Result<()> {
    // A client refreshes its places each third of its lease, and at least every 3 s, as with the
    // default lease. With few places that is shortened.
    let lease = Duration::from_secs(if scene.n <= 1000 { 3 } else { 9 });
    let builder = scene.builder(scene.stage.url())?;
    let holder = builder.clone().lease(LONG).connect().await?;
    let client = builder.lease(lease).connect().await?;
    let _held = take(&holder, "busy", locks).await?;
    let kept = take(&client, "kept", scene.n.div_ceil(10)).await?;
    let mutexes: Vec<Mutex> = (0..locks)
        .map(|at| Mutex::new(&client, format!("busy-{at}")))
        .collect::<Result<_, _>>()?;
    let mut crowd = Crowd::here();
    crowd.wait(scene.n, |at| mutexes[at % locks].lock()).await?;
    let waiting = async {
        let start = Instant::now();
        let late = ask(&client, start + lease / 3 * u32::try_from(ROUNDS)?).await;
        let done = Done::after(start.elapsed()).lost(lost(&kept));
        Ok(done.wrong(late + crowd.gone()))
    };
    scene.measure(what, scene.n * ROUNDS, waiting).await
}

async fn take(client: &Client, name: &str, locks: usize) -> Result<Vec<MutexGuard>> {
    let mutexes: Vec<Mutex> = (0..locks)
        .map(|at| Mutex::new(client, format!("{name}-{at}")))
        .collect::<Result<_, _>>()?;
    Crowd::here().take(locks, |at| mutexes[at].lock()).await
}

/// Sends small requests until then, and returns how many of them had no answer in time.
async fn ask(client: &Client, until: Instant) -> usize {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut late = 0;
    while Instant::now() < until {
        late += usize::from(client.ping().await.is_err());
        tokio::time::sleep(PAUSE).await;
    }
    late
}
