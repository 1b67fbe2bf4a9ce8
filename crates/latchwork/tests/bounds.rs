//! What users rely on of every public type, whether or not a function asks for it.

use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::str::FromStr;

use latchwork::{
    Algorithm, Client, ClientBuilder, Closed, CountdownLatch, CountdownLatchBuilder, Decision, Error,
    ErrorKind, Fence, FenceReply, FencingToken, Hold, HolderInfo, LatchInfo, LockInfo, Loss, Mutex,
    MutexBuilder, MutexGuard, Name, Rate, RateLimiter, RateLimiterBuilder, Renew, Semaphore,
    SemaphoreBuilder, SemaphorePermit, ServerInfo, Ticket, WaiterInfo, Warning, futures,
};

fn everywhere<T: Debug + Send + Sync + Unpin + 'static>() {}
fn handle<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}
fn value<T: Copy + Eq + Hash + Debug + Display + Send + Sync + 'static>() {}
fn future<T: Future + Debug + Send + 'static>() {}
fn error<T: StdError>() {}
fn text<T: Display + FromStr>() {}
fn ordered<T: Ord + Hash>() {}

#[test]
fn bounds() {
    everywhere::<Error>();
    everywhere::<MutexGuard>();
    everywhere::<SemaphorePermit>();
    handle::<RateLimiter>();
    handle::<RateLimiterBuilder>();
    handle::<Rate>();
    handle::<Algorithm>();
    handle::<Decision>();
    future::<futures::RateAcquire>();
    handle::<Semaphore>();
    handle::<SemaphoreBuilder>();
    future::<futures::SemaphoreAcquire>();
    future::<futures::TrySemaphoreAcquire>();
    handle::<CountdownLatch>();
    handle::<CountdownLatchBuilder>();
    handle::<LatchInfo>();
    future::<futures::LatchWait>();
    future::<futures::TryLatchWait>();
    everywhere::<Closed>();
    handle::<Client>();
    handle::<ClientBuilder>();
    handle::<Mutex>();
    handle::<MutexBuilder>();
    handle::<Fence>();
    handle::<FenceReply>();
    handle::<Hold>();
    handle::<HolderInfo>();
    handle::<LockInfo>();
    handle::<WaiterInfo>();
    handle::<Name>();
    handle::<ServerInfo>();
    handle::<Ticket>();
    handle::<Warning>();
    handle::<ErrorKind>();
    handle::<Renew>();
    value::<FencingToken>();
    value::<Loss>();
    future::<futures::MutexLock>();
    future::<futures::TryMutexLock>();
    future::<futures::Unlock>();
    future::<futures::Lost>();
    error::<Error>();
    text::<Ticket>();
    ordered::<FencingToken>();
    ordered::<Name>();
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Error>(), size_of::<usize>(), "one word");
    assert!(size_of::<Client>() <= size_of::<usize>(), "cheap to clone");
}
