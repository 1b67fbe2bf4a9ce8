//! The read-write lock.
#![allow(
    clippy::significant_drop_tightening,
    clippy::unwrap_used,
    reason = "guards are the subject; helpers of tests are tests"
)]

use std::time::Duration;

use latchwork_rwlock::{ErrorKind, Loss, RwLock, RwPolicy};
use latchwork_tests::{Place, go};

#[tokio::test]
async fn readers_share_and_writers_are_alone() {
    let place = Place::shared();
    let client = place.client().await;
    let lock = RwLock::new(&client, "a").unwrap();
    let (one, two) = (lock.read().await.unwrap(), lock.read().await.unwrap());
    assert!(lock.try_write().await.unwrap().is_none(), "they read");
    one.unlock().await.unwrap();
    assert!(lock.try_write().await.unwrap().is_none(), "one reads");
    two.unlock().await.unwrap();
    let writer = lock.write().await.unwrap();
    assert!(lock.try_read().await.unwrap().is_none(), "somebody writes");
    assert!(lock.try_write().await.unwrap().is_none(), "somebody writes");
    assert!(
        lock.try_upgradable_read().await.unwrap().is_none(),
        "somebody writes"
    );
    let first = writer.fencing_token();
    writer.unlock().await.unwrap();
    let writer = lock.write().await.unwrap();
    assert!(writer.fencing_token() > first, "tokens rise");
    writer.unlock().await.unwrap();
    place.check_leftovers();
}

#[tokio::test]
async fn an_upgradable_reader_becomes_the_writer_before_the_queue() {
    let place = Place::shared();
    let client = place.client().await;
    let lock = RwLock::new(&client, "a").unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    assert!(
        lock.try_upgradable_read().await.unwrap().is_none(),
        "one at a time"
    );
    let reader = lock.read().await.unwrap();
    let busy = upgradable.try_upgrade().await.unwrap_err();
    assert!(busy.is_busy(), "somebody reads");
    let upgradable = busy.into_guard().unwrap();
    let queued = go({
        let lock = lock.clone();
        async move { lock.write().await.unwrap() }
    });
    latchwork_tests::eventually("a writer waits", || {
        place
            .server
            .dump_zset(&key(&place))
            .unwrap()
            .iter()
            .any(|(member, _)| member == "q")
    })
    .await;
    let upgrading = go(upgradable.upgrade());
    latchwork_tests::eventually("two wait", || {
        let dump = place.server.dump_zset(&key(&place)).unwrap();
        dump.iter().filter(|(_, score)| score.starts_with('-')).count() == 2
    })
    .await;
    reader.unlock().await.unwrap();
    let writer = upgrading.await.unwrap().unwrap();
    assert!(!queued.is_finished(), "it went before the queue");
    assert!(lock.try_read().await.unwrap().is_none(), "alone");
    let token = writer.fencing_token();
    assert!(token.get() > 0, "it has a token");
    let info = lock.inspect().await.unwrap();
    assert_eq!(info.holders[0].token, Some(token), "a writer like others");
    let reader = writer.downgrade_to_upgradable().await.unwrap();
    assert!(!queued.is_finished(), "still read");
    reader.unlock().await.unwrap();
    queued.await.unwrap().unlock().await.unwrap();
    place.check_leftovers();
}

fn key(place: &Place<'_>) -> String {
    format!("{}:rwlock:{{a}}", place.prefix)
}

#[tokio::test]
async fn policies() {
    let place = Place::shared();
    let client = place.client().await;
    let readers_first = RwLock::builder(&client, "a")
        .policy(RwPolicy::PreferReaders)
        .build()
        .unwrap();
    let reader = readers_first.read().await.unwrap();
    let writing = go({
        let lock = readers_first.clone();
        async move { lock.write().await.unwrap().unlock().await.unwrap() }
    });
    latchwork_tests::eventually("a writer waits", || {
        place
            .server
            .dump_zset(&key(&place))
            .unwrap()
            .iter()
            .any(|(member, _)| member == "q")
    })
    .await;
    let fair = RwLock::new(&client, "a").unwrap();
    assert!(fair.try_read().await.unwrap().is_none(), "behind the writer");
    let other = readers_first.try_read().await.unwrap().unwrap();
    reader.unlock().await.unwrap();
    other.unlock().await.unwrap();
    writing.await.unwrap();
}

#[tokio::test]
async fn a_dropped_upgrade_gives_both_up() {
    let place = Place::shared();
    let client = place.client().await;
    let lock = RwLock::new(&client, "a").unwrap();
    let reader = lock.read().await.unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let upgrade = upgradable.try_upgrade_for(Duration::from_millis(30)).await;
    let upgradable = upgrade.unwrap_err().into_guard().unwrap();
    drop(tokio::time::timeout(Duration::from_millis(20), upgradable.upgrade()).await);
    reader.unlock().await.unwrap();
    lock.write().await.unwrap().unlock().await.unwrap();
    let reader = lock.read().await.unwrap();
    lock.force_unlock().await.unwrap();
    assert_eq!(reader.lost().await, Loss::Forced, "told");
    assert_eq!(
        reader.unlock().await.unwrap_err().kind(),
        ErrorKind::Lost,
        "and again"
    );
}
