//! The read-write lock, in its three forms.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use latchwork_core::{Client, FencingToken, Hold, LockInfo, Loss, Result};
use latchwork_rwlock::{RwLock, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard};

use super::{
    Body, Boxed, Extra, Given, Guard, Handle, Held, Needs, Options, Subject, boxed, boxed_try, with_options,
};

macro_rules! form {
    ($subject:ident, $static:ident, $handle:ident, $name:literal, $most:expr) => {
        #[doc = concat!("The ", $name, " form of the read-write lock.")]
        pub static $static: &dyn Subject = &$subject;

        #[derive(Debug)]
        struct $subject;

        #[derive(Debug, Clone)]
        struct $handle(RwLock);

        impl Subject for $subject {
            fn name(&self) -> &'static str {
                $name
            }

            fn kind(&self) -> &'static str {
                "rwlock"
            }

            fn most(&self) -> Option<usize> {
                $most
            }

            fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>> {
                Ok(Arc::new($handle(with_options!(
                    RwLock::builder(client, name),
                    options
                ))))
            }

            fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
                boxed(RwLock::new(client, name).expect("a lock").write())
            }
        }
    };
}

form!(ReadSubject, READ, Reading, "read", None);
form!(UpgradableSubject, UPGRADABLE, Upgradable, "upgradable", Some(1));
form!(WriteSubject, WRITE, Writing, "write", Some(1));

super::impl_handle!(
    Reading, RwLockReadGuard, |lock| lock.0,
    acquire: read, try_read, try_read_for, try_read_until,
    run: run_read, try_run_read, force: force_unlock, extras: Vec::new()
);
super::impl_handle!(
    Writing, RwLockWriteGuard, |lock| lock.0,
    acquire: write, try_write, try_write_for, try_write_until,
    run: run_write, try_run_write, force: force_unlock, extras: vec![Extra {
        name: "Downgrade",
        needs: Needs::Guard,
        queues: false,
        leaves_lease: false,
        begin: |mut given| {
            let guard: RwLockWriteGuard = given.guard();
            Box::pin(async move { guard.downgrade().await.map(drop) })
        },
    }]
);
super::impl_handle!(
    Upgradable, RwLockUpgradableReadGuard, |lock| lock.0,
    acquire: upgradable_read, try_upgradable_read, try_upgradable_read_for, try_upgradable_read_until,
    run: run_upgradable_read, try_run_upgradable_read, force: force_unlock, extras: upgrades()
);

fn upgrades() -> Vec<Extra> {
    let upgrade = Extra {
        name: "Upgrade",
        needs: Needs::Guard,
        queues: false,
        leaves_lease: false,
        begin: |given| upgrade(given),
    };
    let try_upgrade = Extra {
        name: "TryUpgrade",
        begin: |mut given| {
            let guard: RwLockUpgradableReadGuard = given.guard();
            Box::pin(async move {
                match guard.try_upgrade().await {
                    Ok(writing) => writing.downgrade_to_upgradable().await.map(drop),
                    Err(why) => why.into_guard().map_or(Ok(()), |_busy| Ok(())),
                }
            })
        },
        ..upgrade
    };
    vec![upgrade, try_upgrade]
}

fn upgrade(mut given: Given) -> Boxed<Result<()>> {
    let guard: RwLockUpgradableReadGuard = given.guard();
    Box::pin(async move {
        match guard.upgrade().await {
            Ok(writing) => writing.unlock().await,
            Err(why) => why.into_guard().map_or(Ok(()), |_busy| Ok(())),
        }
    })
}

super::impl_held!(RwLockReadGuard, release: unlock, unlock_after, token: |_| None);
super::impl_held!(RwLockUpgradableReadGuard, release: unlock, unlock_after, token: |_| None);
super::impl_held!(RwLockWriteGuard, release: unlock, unlock_after, token: |guard| Some(guard.fencing_token()));
