//! Lists the public functions that can fail, each with a call of it.

use std::future::ready;
use std::pin::Pin;

use futures_util::FutureExt;
use latchwork_core::{Client, Name};
use latchwork_latch::CountdownLatch;
use latchwork_limiter::RateLimiter;
use latchwork_mutex::futures::{FairLock, TryFairLock};
use latchwork_mutex::{FairMutex, Fence, Mutex, Owner, ReentrantMutex, Ticket};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_tests::MINUTE;

use crate::stage::{ALL, Failed, Seen, WAIT, World, deadline};

type Work<'a> = Pin<Box<dyn Future<Output = Option<Seen>> + 'a>>;

/// A function, and a call of it.
pub(crate) struct Row {
    pub(crate) function: &'static str,
    pub(crate) call: for<'a> fn(&'a World<'a>) -> Work<'a>,
}

fn seen<T, E: Failed>(result: &Result<T, E>) -> Option<Seen> {
    result.as_ref().err().and_then(Failed::seen)
}

/// Rows: a function, and its call after the fault; or what it needs and has before the fault, and
/// its call.
macro_rules! table {
    ($($function:expr, $w:ident $(, $held:pat = $prepare:expr)? => $call:expr;)*) => {
        [$(Row {
            function: $function,
            call: |$w| {
                let work = async move {
                    $(let $held = ($prepare).await.expect($function);)?
                    $w.fault().await;
                    let result = ($call).await;
                    seen(&result)
                };
                work.boxed_local()
            },
        }),*]
    };
}

/// Rows with a call during which the fault comes.
macro_rules! during {
    ($($function:expr, $w:ident => $call:expr;)*) => {
        [$(Row {
            function: $function,
            call: |$w| {
                let work = async move {
                    let result = ($call).await;
                    seen(&result)
                };
                work.boxed_local()
            },
        }),*]
    };
}

/// The rows of a guard, which this future yields.
macro_rules! guard {
    ($guard:literal, $release:ident, $release_after:ident, $w:ident => $hold:expr) => {
        table! {
            concat!($guard, "::extend"), $w, held = $hold => held.extend($w.lease());
            concat!($guard, "::", stringify!($release)), $w, held = $hold => held.$release();
            concat!($guard, "::", stringify!($release_after)), $w, held = $hold => held.$release_after(WAIT);
            concat!($guard, "::into_ticket"), $w, held = $hold => held.into_ticket();
            concat!($guard, "::into_ticket_for"), $w, held = $hold => held.into_ticket_for($w.lease());
        }
    };
}

/// A ticket for a hold that this future yields.
macro_rules! ticket {
    ($hold:expr) => {
        async { $hold.await?.into_ticket().await }
    };
}

/// The table.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(table! {
        "Client::connect", w => Client::connect(w.url());
        "ClientBuilder::connect", w => w.builder().connect();
        "Client::ping", w => w.client().ping();
        "Client::list", w => w.client().list(0);
        "Name::new", w => ready(Name::new(w.new_name()));
        "Owner::from_str", w => ready(w.either(w.owner.to_string(), String::new(), "?".repeat(16)).parse::<Owner>());
        "Ticket::from_str", w, held = ticket!(w.mutex().lock()) => ready(w.text(&held).parse::<Ticket>());
        "Fence::new", w => ready(Fence::new(w.client(), w.new_name()));
        "Fence::admit", w => w.fence().admit(w.token());
        "Fence::set", w => w.fence().set(w.token(), "1");
        "Fence::eval", w => w.fence().eval(w.token(), w.script(), &[], &[]);
        "Fence::pipeline", w => w.fence().pipeline(w.token(), w.commands());
        "Fence::highest", w => w.fence().highest();
    });
    rows.extend(mutexes());
    rows.extend(reentrant());
    rows.extend(rwlock());
    rows.extend(semaphore());
    rows.extend(limiter_and_latch());
    rows
}

fn mutexes() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(table! {
        "Mutex::new", w => ready(Mutex::new(w.client(), w.new_name()));
        "MutexBuilder::build", w => ready(Mutex::builder(w.client(), &w.name).lease(w.lease()).build());
        "Mutex::lock", w => w.mutex().lock();
        "Mutex::try_lock", w => w.mutex().try_lock();
        "Mutex::try_lock_for", w => w.mutex().try_lock_for(WAIT);
        "Mutex::try_lock_until", w => w.mutex().try_lock_until(deadline());
        "Mutex::run", w => w.mutex().run(async |_| ());
        "Mutex::try_run", w => w.mutex().try_run(async |_| ());
        "Mutex::is_locked", w => w.mutex().is_locked();
        "Mutex::inspect", w => w.mutex().inspect();
        "Mutex::inspect_from", w => w.mutex().inspect_from(1);
        "Mutex::force_unlock", w => w.mutex().force_unlock();
        "Mutex::force_unlock", w, _held = w.mutex().lock() => w.mutex().force_unlock();
        "Mutex::steal", w => w.mutex().steal();
        "Mutex::steal", w, _held = w.mutex().lock() => w.mutex().steal();
        "Mutex::resume", w, held = ticket!(w.mutex().lock()) => w.mutex().resume(&held);
        "FairMutex::new", w => ready(FairMutex::new(w.client(), w.new_name()));
        "FairMutexBuilder::build", w => ready(FairMutex::builder(w.client(), &w.name).lease(w.lease()).build());
        "FairMutex::lock", w => w.fair().lock();
        "FairMutex::try_lock", w => w.fair().try_lock();
        "FairMutex::try_lock_for", w => w.fair().try_lock_for(WAIT);
        "FairMutex::try_lock_until", w => w.fair().try_lock_until(deadline());
        "FairMutex::run", w => w.fair().run(async |_| ());
        "FairMutex::try_run", w => w.fair().try_run(async |_| ());
        "FairMutex::is_locked", w => w.fair().is_locked();
        "FairMutex::inspect", w => w.fair().inspect();
        "FairMutex::inspect_from", w => w.fair().inspect_from(1);
        "FairMutex::force_unlock", w => w.fair().force_unlock();
        "FairMutex::force_unlock", w, _held = w.fair().lock() => w.fair().force_unlock();
        "FairMutex::steal", w => w.fair().steal();
        "FairMutex::resume", w, held = ticket!(w.fair().lock()) => w.fair().resume(&held);
        "FairLock::position", w, waiter = w.in_queue(w.fair().lock(), FairLock::position) => waiter.position();
        "TryFairLock::position", w, waiter = w.in_queue(w.fair().try_lock_for(MINUTE), TryFairLock::position)
            => waiter.position();
    });
    rows.extend(during! {
        "Mutex::run", w => w.mutex().run(async |_| w.inside().await);
        "Mutex::try_run", w => w.mutex().try_run(async |_| w.inside().await);
        "FairMutex::run", w => w.fair().run(async |_| w.inside().await);
        "FairMutex::try_run", w => w.fair().try_run(async |_| w.inside().await);
    });
    rows.extend(guard!("MutexGuard", unlock, unlock_after, w => w.mutex().lock()));
    rows
}

fn reentrant() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(table! {
        "ReentrantMutex::new", w => ready(ReentrantMutex::new(w.client(), w.new_name()));
        "ReentrantMutexBuilder::build", w
            => ready(ReentrantMutex::builder(w.client(), &w.name).lease(w.lease()).build());
        "ReentrantMutex::lock", w => w.reentrant().lock(&w.owner);
        "ReentrantMutex::try_lock", w => w.reentrant().try_lock(&w.owner);
        "ReentrantMutex::try_lock_for", w => w.reentrant().try_lock_for(&w.owner, WAIT);
        "ReentrantMutex::try_lock_until", w => w.reentrant().try_lock_until(&w.owner, deadline());
        "ReentrantMutex::run", w => w.reentrant().run(&w.owner, async |_| ());
        "ReentrantMutex::try_run", w => w.reentrant().try_run(&w.owner, async |_| ());
        "ReentrantMutex::holds", w => w.reentrant().holds(&w.owner);
        "ReentrantMutex::is_locked", w => w.reentrant().is_locked();
        "ReentrantMutex::inspect", w => w.reentrant().inspect();
        "ReentrantMutex::inspect_from", w => w.reentrant().inspect_from(1);
        "ReentrantMutex::force_unlock", w, _held = w.owned().lock() => w.reentrant().force_unlock();
        "ReentrantMutex::resume", w, held = ticket!(w.owned().lock()) => w.reentrant().resume(&w.owner, &held);
        "OwnedHandle::lock", w => w.owned().lock();
        "OwnedHandle::try_lock", w => w.owned().try_lock();
        "OwnedHandle::try_lock_for", w => w.owned().try_lock_for(WAIT);
        "OwnedHandle::try_lock_until", w => w.owned().try_lock_until(deadline());
        "OwnedHandle::run", w => w.owned().run(async |_| ());
        "OwnedHandle::try_run", w => w.owned().try_run(async |_| ());
        "OwnedHandle::holds", w => w.owned().holds();
        "OwnedHandle::is_locked", w => w.owned().is_locked();
        "OwnedHandle::inspect", w => w.owned().inspect();
        "OwnedHandle::force_unlock", w, _held = w.owned().lock() => w.owned().force_unlock();
        "OwnedHandle::resume", w, held = ticket!(w.owned().lock()) => w.owned().resume(&held);
        "Lock::lock", w => w.dynamic().lock();
        "Lock::try_lock", w => w.dynamic().try_lock();
        "Lock::try_lock_for", w => w.dynamic().try_lock_for(WAIT);
        "Lock::try_lock_until", w => w.dynamic().try_lock_until(deadline());
        "dyn Lock::run", w => w.dynamic().run(async |_| ());
        "dyn Lock::try_run", w => w.dynamic().try_run(async |_| ());
        "Guard::extend", w, held = w.dynamic().lock() => held.extend(w.lease());
        "Guard::unlock", w, held = w.dynamic().lock() => held.unlock();
    });
    rows.extend(during! {
        "ReentrantMutex::run", w => w.reentrant().run(&w.owner, async |_| w.inside().await);
        "ReentrantMutex::try_run", w => w.reentrant().try_run(&w.owner, async |_| w.inside().await);
        "OwnedHandle::run", w => w.owned().run(async |_| w.inside().await);
        "OwnedHandle::try_run", w => w.owned().try_run(async |_| w.inside().await);
        "dyn Lock::run", w => w.dynamic().run(async |_| w.inside().await);
        "dyn Lock::try_run", w => w.dynamic().try_run(async |_| w.inside().await);
    });
    rows.extend(guard!("ReentrantMutexGuard", unlock, unlock_after, w => w.owned().lock()));
    rows
}

fn rwlock() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(table! {
        "RwLock::new", w => ready(RwLock::new(w.client(), w.new_name()));
        "RwLockBuilder::build", w => ready(RwLock::builder(w.client(), &w.name).lease(w.lease()).build());
        "RwLock::read", w => w.rwlock().read();
        "RwLock::try_read", w => w.rwlock().try_read();
        "RwLock::try_read_for", w => w.rwlock().try_read_for(WAIT);
        "RwLock::try_read_until", w => w.rwlock().try_read_until(deadline());
        "RwLock::upgradable_read", w => w.rwlock().upgradable_read();
        "RwLock::try_upgradable_read", w => w.rwlock().try_upgradable_read();
        "RwLock::try_upgradable_read_for", w => w.rwlock().try_upgradable_read_for(WAIT);
        "RwLock::try_upgradable_read_until", w => w.rwlock().try_upgradable_read_until(deadline());
        "RwLock::write", w => w.rwlock().write();
        "RwLock::try_write", w => w.rwlock().try_write();
        "RwLock::try_write_for", w => w.rwlock().try_write_for(WAIT);
        "RwLock::try_write_until", w => w.rwlock().try_write_until(deadline());
        "RwLock::run_read", w => w.rwlock().run_read(async |_| ());
        "RwLock::try_run_read", w => w.rwlock().try_run_read(async |_| ());
        "RwLock::run_upgradable_read", w => w.rwlock().run_upgradable_read(async |_| ());
        "RwLock::try_run_upgradable_read", w => w.rwlock().try_run_upgradable_read(async |_| ());
        "RwLock::run_write", w => w.rwlock().run_write(async |_| ());
        "RwLock::try_run_write", w => w.rwlock().try_run_write(async |_| ());
        "RwLock::is_locked", w => w.rwlock().is_locked();
        "RwLock::inspect", w => w.rwlock().inspect();
        "RwLock::inspect_from", w => w.rwlock().inspect_from(1);
        "RwLock::force_unlock", w, _held = w.rwlock().read() => w.rwlock().force_unlock();
        "RwLock::resume_read", w, held = ticket!(w.rwlock().read()) => w.rwlock().resume_read(&held);
        "RwLock::resume_upgradable_read", w, held = ticket!(w.rwlock().upgradable_read())
            => w.rwlock().resume_upgradable_read(&held);
        "RwLock::resume_write", w, held = ticket!(w.rwlock().write()) => w.rwlock().resume_write(&held);
        "ReadLock::lock", w => w.rwlock().read_lock().lock();
        "ReadLock::try_lock", w => w.rwlock().read_lock().try_lock();
        "ReadLock::try_lock_for", w => w.rwlock().read_lock().try_lock_for(WAIT);
        "ReadLock::try_lock_until", w => w.rwlock().read_lock().try_lock_until(deadline());
        "WriteLock::lock", w => w.rwlock().write_lock().lock();
        "WriteLock::try_lock", w => w.rwlock().write_lock().try_lock();
        "WriteLock::try_lock_for", w => w.rwlock().write_lock().try_lock_for(WAIT);
        "WriteLock::try_lock_until", w => w.rwlock().write_lock().try_lock_until(deadline());
        "RwLockUpgradableReadGuard::upgrade", w, held = w.upgradable() => held.upgrade();
        "RwLockUpgradableReadGuard::try_upgrade", w, held = w.upgradable() => held.try_upgrade();
        "RwLockUpgradableReadGuard::try_upgrade_for", w, held = w.upgradable()
            => held.try_upgrade_for(WAIT);
        "RwLockUpgradableReadGuard::try_upgrade_until", w, held = w.upgradable()
            => held.try_upgrade_until(deadline());
        "RwLockUpgradableReadGuard::downgrade", w, held = w.rwlock().upgradable_read() => held.downgrade();
        "RwLockWriteGuard::downgrade", w, held = w.rwlock().write() => held.downgrade();
        "RwLockWriteGuard::downgrade_to_upgradable", w, held = w.rwlock().write()
            => held.downgrade_to_upgradable();
    });
    rows.extend(during! {
        "RwLock::run_read", w => w.rwlock().run_read(async |_| w.inside().await);
        "RwLock::try_run_read", w => w.rwlock().try_run_read(async |_| w.inside().await);
        "RwLock::run_upgradable_read", w => w.rwlock().run_upgradable_read(async |_| w.inside().await);
        "RwLock::try_run_upgradable_read", w => w.rwlock().try_run_upgradable_read(async |_| w.inside().await);
        "RwLock::run_write", w => w.rwlock().run_write(async |_| w.inside().await);
        "RwLock::try_run_write", w => w.rwlock().try_run_write(async |_| w.inside().await);
    });
    rows.extend(guard!("RwLockReadGuard", unlock, unlock_after, w => w.rwlock().read()));
    rows.extend(guard!("RwLockUpgradableReadGuard", unlock, unlock_after, w => w.upgradable()));
    rows.extend(guard!("RwLockWriteGuard", unlock, unlock_after, w => w.rwlock().write()));
    rows
}

fn semaphore() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(table! {
        "Semaphore::new", w => ready(Semaphore::new(w.client(), w.new_name(), ALL));
        "SemaphoreBuilder::build", w
            => ready(Semaphore::builder(w.client(), &w.name, w.n().min(ALL)).lease(w.lease()).build());
        "Semaphore::acquire", w => w.semaphore().acquire();
        "Semaphore::acquire_many", w => w.semaphore().acquire_many(w.n());
        "Semaphore::try_acquire", w => w.semaphore().try_acquire();
        "Semaphore::try_acquire_for", w => w.semaphore().try_acquire_for(WAIT);
        "Semaphore::try_acquire_until", w => w.semaphore().try_acquire_until(deadline());
        "Semaphore::try_acquire_many", w => w.semaphore().try_acquire_many(w.n());
        "Semaphore::try_acquire_many_for", w => w.semaphore().try_acquire_many_for(w.n(), WAIT);
        "Semaphore::try_acquire_many_until", w => w.semaphore().try_acquire_many_until(w.n(), deadline());
        "Semaphore::drain", w => w.semaphore().drain();
        "Semaphore::run", w => w.semaphore().run(async |_| ());
        "Semaphore::try_run", w => w.semaphore().try_run(async |_| ());
        "Semaphore::available_permits", w => w.semaphore().available_permits();
        "Semaphore::capacity", w => w.semaphore().capacity();
        "Semaphore::resize", w => w.semaphore().resize(w.n());
        "Semaphore::set_rate", w => w.semaphore().set_rate(Some(w.rate()));
        "Semaphore::inspect", w => w.semaphore().inspect();
        "Semaphore::inspect_from", w => w.semaphore().inspect_from(1);
        "Semaphore::force_release", w, _held = w.semaphore().acquire() => w.semaphore().force_release();
        "Semaphore::resume", w, held = ticket!(w.semaphore().acquire()) => w.semaphore().resume(&held);
        "SemaphorePermit::split", w, mut held = w.semaphore().acquire_many(3) => held.split(w.n());
        "SemaphorePermit::merge", w, (mut held, more) = w.permits() => held.merge(more);
    });
    rows.extend(during! {
        "Semaphore::run", w => w.semaphore().run(async |_| w.inside().await);
        "Semaphore::try_run", w => w.semaphore().try_run(async |_| w.inside().await);
    });
    rows.extend(guard!("SemaphorePermit", release, release_after, w => w.semaphore().acquire()));
    rows
}

fn limiter_and_latch() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(table! {
        "RateLimiter::new", w => ready(RateLimiter::new(w.client(), w.new_name(), w.rate()));
        "RateLimiterBuilder::build", w => ready(RateLimiter::builder(w.client(), &w.name, w.rate()).build());
        "RateLimiter::acquire", w => w.limiter().acquire();
        "RateLimiter::acquire_for", w => w.limiter().acquire_for(WAIT);
        "RateLimiter::acquire_until", w => w.limiter().acquire_until(deadline());
        "RateLimiter::acquire_many", w => w.limiter().acquire_many(w.n());
        "RateLimiter::acquire_many_for", w => w.limiter().acquire_many_for(w.n(), WAIT);
        "RateLimiter::acquire_many_until", w => w.limiter().acquire_many_until(w.n(), deadline());
        "RateLimiter::try_acquire", w => w.limiter().try_acquire();
        "RateLimiter::try_acquire_many", w => w.limiter().try_acquire_many(w.n());
        "RateLimiter::peek", w => w.limiter().peek();
        "RateLimiter::rate", w => w.limiter().rate();
        "RateLimiter::set_rate", w => w.limiter().set_rate(w.rate());
        "RateLimiter::reset", w => w.limiter().reset();
        "CountdownLatch::new", w => ready(CountdownLatch::new(w.client(), w.new_name(), 1));
        "CountdownLatch::open", w => ready(CountdownLatch::open(w.client(), w.new_name()));
        "CountdownLatchBuilder::build", w
            => ready(CountdownLatch::builder(w.client(), &w.name, 1).keep(w.lease() * 40).build());
        "CountdownLatch::count_down", w => w.latch().count_down();
        "CountdownLatch::count_down_by", w => w.latch().count_down_by(w.n());
        "CountdownLatch::count_down_once", w => w.latch().count_down_once(w.new_name());
        "CountdownLatch::count", w => w.latch().count();
        "CountdownLatch::wait", w => w.latch().wait();
        "CountdownLatch::try_wait", w => w.latch().try_wait();
        "CountdownLatch::try_wait_for", w => w.latch().try_wait_for(MINUTE);
        "CountdownLatch::try_wait_until", w => w.latch().try_wait_until(deadline() + MINUTE);
        "CountdownLatch::count_down_and_wait", w => w.latch().count_down_and_wait();
        "CountdownLatch::reset", w => w.latch().reset(1);
        "CountdownLatch::inspect", w => w.latch().inspect();
    });
    rows
}
