//! An upgradable reader becomes the writer before everybody else.

use std::time::{Duration, Instant};

use latchwork_rwlock::{Loss, Renew, RwLock, RwPolicy};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, LEASE, MINUTE, eventually, go, soon};

use super::common::{lock, with_policy};

const SOON: Duration = Duration::from_millis(30);

#[tokio::test]
async fn a_busy_or_late_upgrade_hands_the_guard_back() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = lock(&client);
    let reader = lock.read().await.unwrap();
    let mut upgradable = lock.upgradable_read().await.unwrap();
    for how in 0..4 {
        let outcome = match how {
            0 => upgradable.try_upgrade().await,
            1 => upgradable.try_upgrade_for(Duration::ZERO).await,
            2 => upgradable.try_upgrade_until(Instant::now()).await,
            _ => upgradable.try_upgrade_for(SOON).await,
        };
        let error = outcome.unwrap_err();
        assert!(error.is_busy() && error.error().is_none(), "{how}: {error}");
        assert_eq!(error.to_string(), "`a`: not upgraded, others read");
        upgradable = error.into_guard().expect("as it was");
        assert!(!upgradable.is_lost(), "{how}");
    }
    fixture.queued(0).await;
    drop(lock.try_read().await.unwrap().expect("it may join again"));
    tokio::time::sleep(LEASE * 2).await;
    assert!(!upgradable.is_lost(), "it is renewed as before");
    reader.unlock().await.unwrap();
    let deadline = Instant::now() + MINUTE;
    let writer = upgradable.try_upgrade_until(deadline).await.unwrap();
    tokio::time::sleep(LEASE * 2).await;
    assert!(!writer.is_lost(), "it is renewed as the writer");
    writer.unlock().await.unwrap();
    assert_eq!(client.live(), 0, "no slot is left");
    fixture.over().await;
}

/// It goes before the queue, whatever the policy; and while it waits new readers do.
async fn before_the_queue(policy: RwPolicy) {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (ours, theirs) = (with_policy(&one, policy), with_policy(&two, policy));
    let upgradable = ours.upgradable_read().await.unwrap();
    let reader = theirs.read().await.unwrap();
    let queued = fixture.enqueue(theirs.write()).await;
    let upgrading = go(upgradable.upgrade());
    fixture.queued(2).await;
    assert!(
        theirs.try_read().await.unwrap().is_none(),
        "{policy:?}: new ones wait"
    );
    let late = fixture.enqueue(theirs.read()).await;
    assert_eq!(fixture.holders().len(), 2, "{policy:?}: nobody was let in");
    reader.unlock().await.unwrap();
    let writer = soon("the upgrade", upgrading).await.unwrap().unwrap();
    assert!(
        !queued.is_finished() && !late.is_finished(),
        "{policy:?}: it was first"
    );
    assert!(theirs.try_read().await.unwrap().is_none(), "{policy:?}: alone");
    assert!(
        theirs.try_upgradable_read().await.unwrap().is_none(),
        "{policy:?}: alone"
    );
    let token = writer.fencing_token();
    let info = ours.inspect().await.unwrap();
    assert_eq!(
        info.holders[0].token,
        Some(token),
        "{policy:?}: a writer like others"
    );
    assert!(!info.holders[0].shared, "{policy:?}: {info:?}");
    writer.unlock().await.unwrap();
    let (next, last) = tokio::join!(
        async { soon("the writer", queued).await.unwrap().unlock().await },
        async { soon("the reader", late).await.unwrap().unlock().await }
    );
    next.unwrap();
    last.unwrap();
    fixture.settled().await;
    assert_eq!(fixture.marks(), Vec::<String>::new(), "no mark is left");
}

#[tokio::test]
async fn an_upgrade_goes_before_the_queue() {
    before_the_queue(RwPolicy::Fair).await;
}

#[tokio::test]
async fn an_upgrade_goes_before_the_queue_on_many_threads() {
    tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(before_the_queue(RwPolicy::Fair));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_upgrade_goes_before_preferred_writers() {
    before_the_queue(RwPolicy::PreferWriters).await;
}

#[tokio::test]
async fn an_upgrade_goes_before_preferred_readers() {
    before_the_queue(RwPolicy::PreferReaders).await;
}

#[tokio::test]
async fn there_is_one_upgradable_reader_at_a_time() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (lock, other) = (lock(&one), lock(&two));
    let upgradable = lock.upgradable_read().await.unwrap();
    for found in [
        other.try_upgradable_read().await.unwrap(),
        other.try_upgradable_read_for(SOON).await.unwrap(),
        other
            .try_upgradable_read_until(Instant::now() + SOON)
            .await
            .unwrap(),
    ] {
        assert!(found.is_none(), "one at a time");
    }
    fixture.queued(0).await;
    let next = fixture.enqueue(other.upgradable_read()).await;
    let writer = upgradable.upgrade().await.unwrap();
    assert!(!next.is_finished(), "nor beside the writer");
    let upgradable = writer.downgrade_to_upgradable().await.unwrap();
    assert!(!next.is_finished(), "nor after a downgrade");
    upgradable.unlock().await.unwrap();
    soon("the next", next).await.unwrap().unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn each_upgrade_of_a_guard_has_a_token_of_its_own() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let mut upgradable = lock.upgradable_read().await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..5 {
        let writer = upgradable.upgrade().await.unwrap();
        tokens.push(writer.fencing_token());
        assert_eq!(
            writer.hold().fencing_token(),
            tokens.last().copied(),
            "its view too"
        );
        upgradable = writer.downgrade_to_upgradable().await.unwrap();
        lock.try_read()
            .await
            .unwrap()
            .expect("shared")
            .unlock()
            .await
            .unwrap();
    }
    tokens.dedup();
    assert!(tokens.len() == 5 && tokens.is_sorted(), "{tokens:?}");
    let reading = upgradable.upgrade().await.unwrap().downgrade().await.unwrap();
    drop(
        lock.try_upgradable_read()
            .await
            .unwrap()
            .expect("an ordinary share"),
    );
    reading.unlock().await.unwrap();
    eventually("nothing is left", || client.live() == 0).await;
    fixture.settled().await;
}

#[tokio::test]
async fn an_upgraded_guard_has_all_methods() {
    let fixture = Fixture::of(READ);
    let client = fixture.client().await;
    let lock = RwLock::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let before = upgradable.hold();
    let writer = upgradable.upgrade().await.unwrap();
    writer.extend(MINUTE).await.unwrap();
    assert!(writer.valid_for() > MINUTE / 2, "extended as the writer");
    assert!(before.valid_for() > MINUTE / 2, "it is the same hold");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!writer.is_lost(), "past its first lease");
    lock.force_unlock().await.unwrap();
    assert_eq!(soon("loss", writer.lost()).await, Loss::Forced, "told");
    assert_eq!(soon("loss", before.lost()).await, Loss::Forced, "and an old view");
    assert_eq!(writer.unlock().await.unwrap_err().loss(), Some(Loss::Forced));
    // A writer whose lease ends lets the next one in.
    let writer = lock.upgradable_read().await.unwrap().upgrade().await.unwrap();
    assert_eq!(soon("loss", writer.lost()).await, Loss::Expired, "nobody renews");
    soon("the next", lock.write())
        .await
        .unwrap()
        .unlock()
        .await
        .unwrap();
    writer.forget();
    fixture.settled().await;
}

#[tokio::test]
async fn a_dropped_upgrade_gives_both_up_and_the_next_one_gets_it() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (lock, other) = (lock(&one), lock(&two));
    let reader = lock.read().await.unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let next = fixture.enqueue(other.upgradable_read()).await;
    let upgrading = go(upgradable.upgrade());
    fixture.queued(2).await;
    upgrading.abort();
    assert!(upgrading.await.unwrap_err().is_cancelled(), "dropped");
    let next = soon("the next", next).await.unwrap();
    assert!(next.try_upgrade().await.unwrap_err().is_busy(), "one reads");
    reader.unlock().await.unwrap();
    eventually("nothing is left", || one.live() == 0 && two.live() == 0).await;
    fixture.settled().await;
}

#[tokio::test]
async fn an_upgrade_dropped_at_any_poll_leaves_nothing() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    for with_reader in [false, true] {
        for polls in 0..8 {
            let reader = if with_reader {
                Some(lock.read().await.unwrap())
            } else {
                None
            };
            let upgradable = lock.upgradable_read().await.unwrap();
            let polled = latchwork_testkit::drop_after_polls(upgradable.upgrade(), polls);
            drop(tokio::time::timeout(SOON, polled).await);
            drop(reader);
            soon("a writer", lock.write())
                .await
                .unwrap()
                .unlock()
                .await
                .unwrap();
            eventually("nothing is left", || client.live() == 0).await;
        }
    }
    fixture.settled().await;
    assert_eq!(fixture.marks(), Vec::<String>::new(), "no mark is left");
}
