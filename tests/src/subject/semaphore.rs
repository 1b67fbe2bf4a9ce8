//! The semaphore, a permit at a time.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Result};
use latchwork_semaphore::{Semaphore, SemaphorePermit};

use super::{Body, Boxed, Extra, Given, Guard, Handle, Held, Needs, Options, Subject, boxed, boxed_try};

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

    fn is_kept(&self) -> bool {
        true
    }

    fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>> {
        let mut builder = Semaphore::builder(client, name, PERMITS).renew(options.renew);
        if let Some(lease) = options.lease {
            builder = builder.lease(lease);
        }
        if let Some(most) = options.max_hold {
            builder = builder.max_hold(most);
        }
        Ok(Arc::new(builder.build()?))
    }

    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
        let semaphore = Semaphore::new(client, name, PERMITS).expect("a semaphore");
        boxed(semaphore.acquire_many(PERMITS))
    }
}

impl Handle for Semaphore {
    fn acquire(&self) -> Boxed<Result<Guard>> {
        boxed(self.acquire())
    }

    fn try_acquire(&self) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.try_acquire())
    }

    fn try_acquire_for(&self, wait: Duration) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.try_acquire_for(wait))
    }

    fn try_acquire_until(&self, deadline: Instant) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.try_acquire_until(deadline))
    }

    fn run(&self, body: Body) -> Boxed<Result<()>> {
        let semaphore = self.clone();
        Box::pin(async move {
            let body = async |permit: &SemaphorePermit| body(permit).await;
            semaphore.run(body).await
        })
    }

    fn try_run(&self, body: Body) -> Boxed<Result<bool>> {
        let semaphore = self.clone();
        Box::pin(async move {
            let body = async |permit: &SemaphorePermit| body(permit).await;
            Ok(semaphore.try_run(body).await?.is_some())
        })
    }

    fn inspect(&self) -> Boxed<Result<LockInfo>> {
        let semaphore = self.clone();
        Box::pin(async move { semaphore.inspect().await })
    }

    fn force(&self) -> Boxed<Result<bool>> {
        let semaphore = self.clone();
        Box::pin(async move { semaphore.force_release().await })
    }

    fn extras(&self) -> Vec<Extra> {
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
                        .handle::<Self>()
                        .acquire_many(2)
                        .map(|had| had.map(drop))
                        .boxed()
                })
            },
            call("TryAcquireMany", |given| {
                given
                    .handle::<Self>()
                    .try_acquire_many(2)
                    .map(|had| had.map(drop))
                    .boxed()
            }),
            call("AvailablePermits", |given| {
                let semaphore: Self = given.handle();
                Box::pin(async move { semaphore.available_permits().await.map(drop) })
            }),
            call("Capacity", |given| {
                let semaphore: Self = given.handle();
                Box::pin(async move { semaphore.capacity().await.map(drop) })
            }),
            call("Resize", |given| {
                let semaphore: Self = given.handle();
                Box::pin(async move { semaphore.resize(PERMITS).await })
            }),
            call("Drain", |given| {
                let semaphore: Self = given.handle();
                Box::pin(async move { semaphore.drain().await.map(drop) })
            }),
            Extra {
                needs: Needs::Guard,
                ..call("SplitAndMerge", split_and_merge)
            },
        ]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
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

super::impl_held!(SemaphorePermit, release: release, token: |_| None);
