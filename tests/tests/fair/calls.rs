//! Tries, inspection, forced release and a full queue behave as those of a mutex.

use std::time::{Duration, Instant};

use latchwork_mutex::{Client, ErrorKind, FairMutex, Loss, MutexGuard};
use latchwork_tests::{Fixture, LEASE, MINUTE, eventually, soon};

use super::lock;

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_leaves_nothing() {
    let fixture = Fixture::shared();
    let (client, other) = (fixture.patient().await, fixture.patient().await);
    let small = |client: &Client| {
        let builder = FairMutex::builder(client, "a").max_waiters(2);
        builder.build().unwrap()
    };
    let held = small(&client).lock().await.unwrap();
    let first = fixture.enqueue(small(&client).lock()).await;
    let second = fixture.enqueue(small(&client).lock()).await;
    let full = small(&other);
    for refused in [
        full.lock().await.map(Some),
        full.with_priority(5).lock().await.map(Some),
        full.try_lock_for(MINUTE).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::QueueFull, "at once");
    }
    assert!(
        full.try_lock().await.unwrap().is_none(),
        "who does not wait is not refused"
    );
    eventually("nothing is left", || other.live() == 0).await;
    assert_eq!((fixture.holders().len(), fixture.waiters()), (1, 2), "as before");
    held.unlock().await.unwrap();
    let next = soon("the first", first).await.unwrap();
    let third = fixture.enqueue(full.lock()).await;
    next.unlock().await.unwrap();
    for task in [second, third] {
        soon("the rest", task).await.unwrap().unlock().await.unwrap();
    }
    fixture.settled().await;
    for bad in [0, 1_000_001] {
        let error = FairMutex::builder(&client, "a")
            .max_waiters(bad)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}: {error}");
    }
}

#[tokio::test]
async fn try_run_inspect_and_force_unlock() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    assert!(!lock.is_locked().await.unwrap(), "free");
    let guard: MutexGuard = lock.try_lock().await.unwrap().expect("free");
    for busy in [
        lock.try_lock_for(Duration::ZERO).await.unwrap(),
        lock.try_lock_for(LEASE / 10).await.unwrap(),
        lock.try_lock_until(Instant::now()).await.unwrap(),
        lock.with_priority(100).try_lock().await.unwrap(),
    ] {
        assert!(busy.is_none(), "held, whatever the priority");
    }
    assert!(lock.try_run(async |_| ()).await.unwrap().is_none(), "held");
    let info = lock.inspect().await.unwrap();
    assert_eq!(info.holders[0].token, Some(guard.fencing_token()), "{info:?}");
    assert!(lock.force_unlock().await.unwrap(), "held");
    assert_eq!(soon("loss", guard.lost()).await, Loss::Forced, "told");
    let token = lock.run(async |turn| turn.fencing_token()).await.unwrap();
    assert!(token > guard.fencing_token(), "tokens rise");
    let next = lock.try_run(async |turn| turn.fencing_token()).await.unwrap();
    assert!(next.unwrap() > token, "released, and taken again");
    drop(guard);
    fixture.settled().await;
}
