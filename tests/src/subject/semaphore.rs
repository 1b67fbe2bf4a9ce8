//! The semaphore, a permit at a time.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Result};
use latchwork_semaphore::{Semaphore, SemaphorePermit};

use super::{
    Body, Boxed, Extra, Given, Guard, Handle, Held, Needs, Options, Subject, boxed, boxed_try, with_options,
};

/// The semaphore.
pub static SEMAPHORE: &dyn Subject = &SemaphoreSubject;

#[derive(Debug)]
struct SemaphoreSubject;

const PERMITS: u32 = 3;

impl Subject for SemaphoreSubject {
    fn name(&self) -> &'static str {
        "semaphore"
    }

    fn kind(&self) -> &'static str {
        "semaphore"
    }

    fn most(&self) -> Option<usize> {
        Some(PERMITS as usize)
    }

    fn marks(&self) -> &'static [&'static str] {
        &["t1", "c"]
    }

    fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>> {
        Ok(Arc::new(with_options!(
            Semaphore::builder(client, name, PERMITS),
            options
        )))
    }

    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
        let semaphore = Semaphore::new(client, name, PERMITS).expect("a semaphore");
        boxed(semaphore.acquire_many(PERMITS))
    }
}

super::impl_handle!(
    Semaphore, SemaphorePermit, |semaphore| semaphore,
    acquire: acquire, try_acquire, try_acquire_for, try_acquire_until,
    run: run, try_run, force: force_release, extras: extras()
);

fn extras() -> Vec<Extra> {
    let call = |name, begin| Extra {
        name,
        needs: Needs::Nothing,
        queues: false,
        leaves_lease: false,
        begin,
    };
    vec![
        Extra {
            queues: true,
            ..call("AcquireMany", |given| {
                given
                    .handle::<Semaphore>()
                    .acquire_many(2)
                    .map(|had| had.map(drop))
                    .boxed()
            })
        },
        call("TryAcquireMany", |given| {
            given
                .handle::<Semaphore>()
                .try_acquire_many(2)
                .map(|had| had.map(drop))
                .boxed()
        }),
        call("AvailablePermits", |given| {
            let semaphore: Semaphore = given.handle();
            Box::pin(async move { semaphore.available_permits().await.map(drop) })
        }),
        call("Capacity", |given| {
            let semaphore: Semaphore = given.handle();
            Box::pin(async move { semaphore.capacity().await.map(drop) })
        }),
        call("Resize", |given| {
            let semaphore: Semaphore = given.handle();
            Box::pin(async move { semaphore.resize(PERMITS).await })
        }),
        call("Drain", |given| {
            let semaphore: Semaphore = given.handle();
            Box::pin(async move { semaphore.drain().await.map(drop) })
        }),
        Extra {
            needs: Needs::Guard,
            ..call("SplitAndMerge", split_and_merge)
        },
    ]
}

/// Takes two more, gives one of them a hold of its own, and puts them together again.
fn split_and_merge(mut given: Given) -> Boxed<Result<()>> {
    let semaphore: Semaphore = given.handle();
    let mut one: SemaphorePermit = given.guard();
    Box::pin(async move {
        // Not there if somebody waits: then there is nothing to split.
        let Some(mut two) = semaphore.try_acquire_many(2).await? else {
            return Ok(());
        };
        if let Some(part) = two.split(1).await? {
            one.merge(part).await?;
        }
        one.merge(two).await
    })
}

super::impl_held!(SemaphorePermit, release: release, release_after, token: |_| None);
