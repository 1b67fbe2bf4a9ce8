//! The fair queue lock. Its guard is the mutex's.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use latchwork_core::{Client, LockInfo, Result};
use latchwork_mutex::{FairMutex, MutexGuard};

use super::{Body, Boxed, Extra, Guard, Handle, Options, Subject, boxed, boxed_try, with_options};

/// The fair queue lock.
pub static FAIR: &dyn Subject = &FairSubject;

#[derive(Debug)]
struct FairSubject;

impl Subject for FairSubject {
    fn name(&self) -> &'static str {
        "fair"
    }

    fn kind(&self) -> &'static str {
        "lock"
    }

    fn most(&self) -> Option<usize> {
        Some(1)
    }

    fn handle(&self, client: &Client, name: &[u8], options: &Options) -> Result<Arc<dyn Handle>> {
        Ok(Arc::new(with_options!(FairMutex::builder(client, name), options)))
    }

    fn take_all(&self, client: &Client, name: &[u8]) -> Boxed<Result<Guard>> {
        boxed(FairMutex::new(client, name).expect("a fair mutex").lock())
    }
}

super::impl_handle!(
    FairMutex, MutexGuard, |mutex| mutex,
    acquire: lock, try_lock, try_lock_for, try_lock_until,
    run: run, try_run, force: force_unlock, extras: Vec::new()
);
