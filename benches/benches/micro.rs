//! Micro benches: one operation at a time, with criterion's statistics. The works that are compared with bars are in the
//! library of this package; these are for whoever changes a hot path and wants to see a change of a percent.
//!
//! `cargo bench -p latchwork-benches`, with a name after it for one alone.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use latchwork::{Client, Mutex, MutexGuard, RwLock, Semaphore};
use latchwork_benches::contender::{Library, Lock};
use latchwork_benches::floor::Floor;
use latchwork_benches::stage::{Stage, pin_this_process};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// What needs no server.
fn local(criterion: &mut Criterion) {
    let (stage, runtime) = (Stage::start().expect("a server"), runtime());
    let client = runtime.block_on(Client::connect(stage.url())).expect("a client");
    criterion.bench_function("local/Mutex::new", |bencher| {
        bencher.iter(|| Mutex::new(&client, black_box("orders")).expect("a mutex"));
    });
    let mutex = Mutex::new(&client, "orders").expect("a mutex");
    let guard: MutexGuard = runtime.block_on(mutex.lock()).expect("the lock");
    criterion.bench_function("local/is_lost", |bencher| {
        bencher.iter(|| black_box(&guard).is_lost());
    });
    criterion.bench_function("local/valid_for", |bencher| {
        bencher.iter(|| black_box(&guard).valid_for());
    });
    drop(guard);
}

/// Round trips, each next to its floor.
fn round_trips(criterion: &mut Criterion) {
    let (stage, runtime) = (Stage::start().expect("a server"), runtime());
    let url = stage.url();
    let floor = runtime.block_on(Floor::new().connect(&url)).expect("the floor");
    let bare = [
        ("floor/mutex", floor.mutex("orders")),
        ("floor/semaphore", floor.permit("calls", 10)),
    ];
    for (name, lock) in bare {
        let lock: Arc<dyn Lock> = lock.expect("a lock").expect("the floor has it");
        criterion.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| Arc::clone(&lock).cycles(1));
        });
    }
    let client = runtime.block_on(Client::connect(&url)).expect("a client");
    let mutex = Mutex::new(&client, "orders").expect("a mutex");
    criterion.bench_function("latchwork/mutex", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || mutex.lock().await.expect("the lock").unlock().await);
    });
    let semaphore = Semaphore::new(&client, "calls", 10).expect("a semaphore");
    criterion.bench_function("latchwork/semaphore", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || semaphore.acquire().await.expect("a permit").release().await);
    });
    let rwlock = RwLock::new(&client, "stock").expect("a lock");
    criterion.bench_function("latchwork/read", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || rwlock.read().await.expect("a share").unlock().await);
    });
    let held = runtime.block_on(mutex.lock()).expect("the lock");
    criterion.bench_function("latchwork/try_lock, busy", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || mutex.try_lock().await.expect("an answer").is_none());
    });
    drop(held);
}

fn pinned() -> Criterion {
    let _where = pin_this_process();
    Criterion::default().configure_from_args()
}

criterion_group! { name = micro; config = pinned(); targets = local, round_trips }
criterion_main!(micro);
