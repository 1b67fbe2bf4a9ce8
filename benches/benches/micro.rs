//! Micro benches: one operation at a time, with criterion's statistics. The works that are compared with bars are in the
//! library of this package; these are for whoever changes a hot path and wants to see a change of a percent.
//!
//! `cargo bench -p latchwork-benches`, with a name after it for one alone.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use latchwork::{Algorithm, Client, Mutex, MutexGuard, RwLock};
use latchwork_benches::contender::{Library, Lock};
use latchwork_benches::floor::Floor;
use latchwork_benches::ours::Latchwork;
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
    let ours = runtime.block_on(Latchwork.connect(&url)).expect("a client");
    for (library, session) in [("floor", floor), ("latchwork", ours)] {
        let cycles = [
            ("mutex", session.mutex("orders")),
            ("semaphore", session.permit("calls", 10)),
            ("latch", session.latch("loaded")),
            ("limiter", session.limiter("gcra", Algorithm::Gcra, 1_000_000)),
            (
                "window",
                session.limiter("window", Algorithm::SlidingWindow, 1_000_000),
            ),
        ];
        for (name, lock) in cycles {
            let lock: Arc<dyn Lock> = lock.expect("a lock").expect("both have it");
            criterion.bench_function(&format!("{library}/{name}"), |bencher| {
                bencher.to_async(&runtime).iter_custom(|count| {
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    prepared(Arc::clone(&lock), count)
                });
            });
        }
    }
    let client = runtime.block_on(Client::connect(&url)).expect("a client");
    let mutex = Mutex::new(&client, "orders").expect("a mutex");
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

/// How long so many cycles take, without what makes them possible.
async fn prepared(lock: Arc<dyn Lock>, count: usize) -> Duration {
    Arc::clone(&lock)
        .prepare(count)
        .await
        .expect("what cycles use up");
    let laps = lock.cycles(count).await.expect("cycles");
    laps.iter().sum()
}

fn pinned() -> Criterion {
    let _where = pin_this_process();
    Criterion::default().configure_from_args()
}

criterion_group! { name = micro; config = pinned(); targets = local, round_trips }
criterion_main!(micro);
