//! Provides runtimes of both flavours, and an executor that is not tokio's.

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use latchwork_mutex::Client;
use latchwork_tests::Fixture;
use tokio::runtime::{Builder, Handle, Runtime};

pub(crate) fn multi(workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(crate) fn current() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A runtime that a thread of its own drives until this is dropped.
pub(crate) struct Driven {
    pub(crate) handle: Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Driven {
    pub(crate) fn current() -> Self {
        Self::with(current)
    }

    pub(crate) fn multi() -> Self {
        Self::with(|| multi(2))
    }

    pub(crate) fn with_one_worker() -> Self {
        Self::with(|| multi(1))
    }

    fn with(make: impl FnOnce() -> Runtime + Send + 'static) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told): (Sender<Handle>, _) = channel();
        let thread = thread::spawn(move || {
            let runtime = make();
            tell.send(runtime.handle().clone()).expect("somebody listens");
            let _dropped = runtime.block_on(stopped).is_err();
        });
        let handle = told.recv().expect("a handle");
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A client that this runtime drives.
    pub(crate) fn client(&self, fixture: &Fixture<'_>) -> Client {
        self.run(fixture.builder().connect()).expect("a client")
    }

    /// Runs it as a task there.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, told) = channel();
        drop(self.handle.spawn(async move { tell.send(work.await) }));
        told.recv().expect("it did not panic")
    }

    /// Ends the runtime; returns when it is gone.
    pub(crate) fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it did not panic");
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor: no tokio anywhere near.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    assert!(Handle::try_current().is_err(), "this is to be outside of tokio");
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Polls a condition until it holds, without a runtime.
pub(crate) fn block_until(what: &str, mut condition: impl FnMut() -> bool) {
    let over = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < over, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
