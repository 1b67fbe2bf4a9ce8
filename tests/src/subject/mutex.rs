//! The mutex.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Result};
use latchwork_mutex::{Mutex, MutexGuard};

use super::{Body, Boxed, Extra, Guard, Handle, Held, Needs, Options, Subject, boxed, boxed_try, own};

/// The mutex.
pub static MUTEX: &dyn Subject = &MutexSubject;

#[derive(Debug)]
struct MutexSubject;

impl Subject for MutexSubject {
    fn name(&self) -> &'static str {
        "mutex"
    }

    fn kind(&self) -> &'static str {
        "lock"
    }

    fn most(&self) -> Option<usize> {
        Some(1)
    }

    fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>> {
        let mut builder = Mutex::builder(client, name).renew(options.renew);
        if let Some(lease) = options.lease {
            builder = builder.lease(lease);
        }
        if let Some(most) = options.max_hold {
            builder = builder.max_hold(most);
        }
        Ok(Arc::new(builder.build()?))
    }

    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
        boxed(Mutex::new(client, name).expect("a mutex").lock())
    }
}

impl Handle for Mutex {
    fn acquire(&self) -> Boxed<Result<Guard>> {
        boxed(self.lock())
    }

    fn try_acquire(&self) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.try_lock())
    }

    fn try_acquire_for(&self, wait: Duration) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.try_lock_for(wait))
    }

    fn try_acquire_until(&self, deadline: Instant) -> Boxed<Result<Option<Guard>>> {
        boxed_try(self.try_lock_until(deadline))
    }

    fn run(&self, body: Body) -> Boxed<Result<()>> {
        let mutex = self.clone();
        Box::pin(async move { mutex.run(async |guard: &MutexGuard| body(guard).await).await })
    }

    fn try_run(&self, body: Body) -> Boxed<Result<bool>> {
        let mutex = self.clone();
        Box::pin(async move {
            let ran = mutex.try_run(async |guard: &MutexGuard| body(guard).await).await;
            Ok(ran?.is_some())
        })
    }

    fn inspect(&self) -> Boxed<Result<LockInfo>> {
        let mutex = self.clone();
        Box::pin(async move { mutex.inspect().await })
    }

    fn force(&self) -> Boxed<Result<bool>> {
        let mutex = self.clone();
        Box::pin(async move { mutex.force_unlock().await })
    }

    fn extras(&self) -> Vec<Extra> {
        let is_locked = Extra {
            name: "IsLocked",
            needs: Needs::Nothing,
            queues: false,
            leaves_lease: false,
            begin: |given| {
                let mutex: Self = given.handle();
                Box::pin(async move { mutex.is_locked().await.map(drop) })
            },
        };
        let into_ticket = Extra {
            name: "IntoTicket",
            needs: Needs::Guard,
            leaves_lease: true,
            begin: |mut given| {
                let guard: MutexGuard = given.guard();
                guard.into_ticket().map_ok(drop).boxed()
            },
            ..is_locked
        };
        let resume = Extra {
            name: "Resume",
            needs: Needs::Ticket(|guard| own::<MutexGuard>(guard).into_ticket().boxed()),
            begin: |given| {
                let mutex: Self = given.handle();
                let ticket = given.ticket.expect("it asked for a ticket");
                Box::pin(async move { mutex.resume(&ticket).await.map(drop) })
            },
            ..into_ticket
        };
        vec![is_locked, into_ticket, resume]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

super::impl_held!(MutexGuard, release: unlock, token: |guard| Some(guard.fencing_token()));
