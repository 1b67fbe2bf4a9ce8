//! The reentrant mutex, each attempt by an owner of its own.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Owner, Result};
use latchwork_mutex::{ReentrantMutex, ReentrantMutexGuard};

use super::{Body, Boxed, Extra, Guard, Handle, Held, Options, Subject, boxed, boxed_try, with_options};

/// The reentrant mutex.
pub static REENTRANT: &dyn Subject = &ReentrantSubject;

#[derive(Debug)]
struct ReentrantSubject;

/// Every call is another owner's: so it excludes like the others.
#[derive(Debug, Clone)]
struct Strangers(ReentrantMutex);

impl Subject for ReentrantSubject {
    fn name(&self) -> &'static str {
        "reentrant"
    }

    fn kind(&self) -> &'static str {
        "lock"
    }

    fn most(&self) -> Option<usize> {
        Some(1)
    }

    fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>> {
        let mutex = with_options!(ReentrantMutex::builder(client, name), options);
        Ok(Arc::new(Strangers(mutex)))
    }

    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
        let mutex = ReentrantMutex::new(client, name).expect("a mutex");
        boxed(mutex.lock(&Owner::new()))
    }
}

impl Strangers {
    async fn inspect(&self) -> Result<LockInfo> {
        self.0.inspect().await
    }

    async fn force_unlock(&self) -> Result<bool> {
        self.0.force_unlock().await
    }

    fn owned(&self) -> latchwork_mutex::OwnedHandle {
        self.0.with_owner(&Owner::new())
    }
}

impl Handle for Strangers {
    fn acquire(&self) -> Boxed<Result<Guard>> {
        boxed(self.owned().lock())
    }

    fn try_acquire(&self) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.owned().try_lock())
    }

    fn try_acquire_for(&self, wait: Duration) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.owned().try_lock_for(wait))
    }

    fn try_acquire_until(&self, deadline: Instant) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.owned().try_lock_until(deadline))
    }

    fn run(&self, body: Body) -> Boxed<Result<()>> {
        let owned = self.owned();
        Box::pin(async move {
            owned
                .run(async |guard: &ReentrantMutexGuard| body(guard).await)
                .await
        })
    }

    fn try_run(&self, body: Body) -> Boxed<Result<bool>> {
        let owned = self.owned();
        Box::pin(async move {
            let ran = owned
                .try_run(async |guard: &ReentrantMutexGuard| body(guard).await)
                .await;
            Ok(ran?.is_some())
        })
    }

    fn inspect(&self) -> Boxed<Result<LockInfo>> {
        let this = self.clone();
        Box::pin(async move { this.inspect().await })
    }

    fn force(&self) -> Boxed<Result<bool>> {
        let this = self.clone();
        Box::pin(async move { this.force_unlock().await })
    }

    fn extras(&self) -> Vec<Extra> {
        let holds = Extra {
            name: "Holds",
            needs: super::Needs::Nothing,
            queues: false,
            leaves_lease: false,
            begin: |given| {
                let this: Self = given.handle();
                Box::pin(async move { this.0.holds(&Owner::new()).await.map(drop) })
            },
        };
        let again = Extra {
            name: "LockAgain",
            needs: super::Needs::Guard,
            begin: |mut given| {
                let this: Self = given.handle();
                let guard: ReentrantMutexGuard = given.guard();
                Box::pin(async move {
                    let owner = *guard.owner();
                    this.0.lock(&owner).await?.unlock().await?;
                    guard.unlock().await
                })
            },
            ..holds
        };
        vec![holds, again]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

super::impl_held!(ReentrantMutexGuard, release: unlock, unlock_after, token: |guard| Some(guard.fencing_token()));
