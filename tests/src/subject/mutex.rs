//! The mutex.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Result};
use latchwork_mutex::{Mutex, MutexGuard};

use super::{
    Body, Boxed, Extra, Guard, Handle, Held, Needs, Options, Subject, boxed, boxed_try, own, with_options,
};

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
        Ok(Arc::new(with_options!(Mutex::builder(client, name), options)))
    }

    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
        boxed(Mutex::new(client, name).expect("a mutex").lock())
    }
}

super::impl_handle!(
    Mutex, MutexGuard, |mutex| mutex,
    acquire: lock, try_lock, try_lock_for, try_lock_until,
    run: run, try_run, force: force_unlock, extras: extras()
);

fn extras() -> Vec<Extra> {
    let is_locked = Extra {
        name: "IsLocked",
        needs: Needs::Nothing,
        queues: false,
        leaves_lease: false,
        begin: |given| {
            let mutex: Mutex = given.handle();
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
            let mutex: Mutex = given.handle();
            let ticket = given.ticket.expect("it asked for a ticket");
            Box::pin(async move { mutex.resume(&ticket).await.map(drop) })
        },
        ..into_ticket
    };
    vec![is_locked, into_ticket, resume]
}

super::impl_held!(MutexGuard, release: unlock, unlock_after, token: |guard| Some(guard.fencing_token()));
