//! Readers share, writers are alone, and neither starves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use latchwork_rwlock::{FencingToken, Loss, RwLock};
use latchwork_tests::subject::READ;
use latchwork_tests::{Fixture, go, soon};

use super::common::lock;

#[tokio::test]
async fn readers_share_and_writers_are_alone() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (lock, other) = (lock(&one), lock(&two));
    let readers = [
        lock.read().await.unwrap(),
        lock.try_read().await.unwrap().unwrap(),
        other.read().await.unwrap(),
    ];
    assert!(other.try_write().await.unwrap().is_none(), "three read");
    for reader in readers {
        assert!(other.try_write().await.unwrap().is_none(), "some read");
        reader.unlock().await.unwrap();
    }
    let writer = lock.write().await.unwrap();
    for from in [&lock, &other] {
        assert!(from.try_read().await.unwrap().is_none(), "somebody writes");
        assert!(from.try_write().await.unwrap().is_none(), "somebody writes");
        assert!(
            from.try_upgradable_read().await.unwrap().is_none(),
            "somebody writes"
        );
    }
    writer.unlock().await.unwrap();
    fixture.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h9_nobody_reads_while_somebody_writes() {
    let fixture = Fixture::of(READ);
    // Readers inside; the writer makes it negative.
    let inside = Arc::new(AtomicI64::new(0));
    let together = Arc::new(AtomicI64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let client = fixture.patient().await;
        for task in 0..6 {
            let lock = lock(&client);
            let (inside, together) = (Arc::clone(&inside), Arc::clone(&together));
            tasks.push(go(async move {
                let mut tokens = Vec::new();
                for round in 0..20 {
                    if (task + round) % 3 == 0 {
                        let writer = lock.write().await.unwrap();
                        assert_eq!(inside.swap(-1, Ordering::SeqCst), 0, "alone");
                        tokio::task::yield_now().await;
                        assert_eq!(inside.swap(0, Ordering::SeqCst), -1, "to the end");
                        tokens.push(writer.fencing_token());
                    } else {
                        let _reader = lock.read().await.unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now > 0, "a writer is in");
                        together.fetch_max(now, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                tokens
            }));
        }
    }
    let mut tokens: Vec<FencingToken> = Vec::new();
    for task in tasks {
        let own = soon("turns", task).await.unwrap();
        assert!(own.is_sorted(), "tokens rise");
        tokens.extend(own);
    }
    let count = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), count, "no token twice");
    assert!(together.load(Ordering::SeqCst) > 1, "readers were in together");
    fixture.over().await;
}

#[tokio::test]
async fn tokens_of_writers_rise_whatever_readers_did_in_between() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let mut last = FencingToken::new(0);
    for round in 0..12 {
        if round % 3 > 0 {
            let reader = lock.read().await.unwrap();
            assert_eq!(reader.hold().fencing_token(), None, "readers have none");
            reader.unlock().await.unwrap();
        }
        let writer = match round % 2 {
            0 => lock.write().await.unwrap(),
            _ => lock.upgradable_read().await.unwrap().upgrade().await.unwrap(),
        };
        assert!(writer.fencing_token() > last, "round {round}");
        last = writer.fencing_token();
        writer.unlock().await.unwrap();
    }
    let floor = FencingToken::new(last.get() + 1_000_000);
    let floored = RwLock::builder(&client, "a").token_floor(floor).build().unwrap();
    let writer = floored.write().await.unwrap();
    assert!(writer.fencing_token() > floor, "above the floor");
    writer.unlock().await.unwrap();
    let writer = lock.write().await.unwrap();
    assert!(writer.fencing_token() > floor, "and so are all after it");
}

#[tokio::test]
async fn h9_writers_do_not_starve_and_h10_readers_do_not_either() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let reader = lock.read().await.unwrap();
    let writer = fixture.enqueue(lock.write()).await;
    assert!(
        lock.try_read().await.unwrap().is_none(),
        "a writer waits: new readers wait behind it"
    );
    let late = fixture.enqueue(lock.read()).await;
    let last = fixture.enqueue(lock.write()).await;
    reader.unlock().await.unwrap();
    let writer = soon("the writer", writer).await.unwrap();
    assert!(!late.is_finished(), "it came later");
    writer.unlock().await.unwrap();
    let late = soon("the reader", late).await.unwrap();
    assert!(!last.is_finished(), "the second writer came after it");
    late.unlock().await.unwrap();
    soon("the last", last).await.unwrap().unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn inspect_distinguishes_readers_upgradable_readers_and_writers() {
    let fixture = Fixture::of(READ);
    let client = fixture
        .client_with(|b| b.lease(latchwork_tests::MINUTE).label("ours"))
        .await;
    let lock = lock(&client);
    let reader = lock.read().await.unwrap();
    let upgradable = lock.upgradable_read().await.unwrap();
    let waiting = fixture.enqueue(lock.write()).await;
    latchwork_tests::eventually("the label is there", || {
        !fixture
            .server
            .keys(&format!("{}:client", fixture.prefix))
            .unwrap()
            .is_empty()
    })
    .await;
    let info = lock.inspect().await.unwrap();
    let mut weights: Vec<u32> = info.holders.iter().map(|holder| holder.weight).collect();
    weights.sort_unstable();
    assert_eq!(weights, [1, 500_000], "{info:?}");
    for holder in &info.holders {
        assert!(holder.shared, "both: {info:?}");
        assert_eq!(holder.token, None, "no token: {info:?}");
        assert_eq!(holder.label.as_deref(), Some("ours"), "{info:?}");
    }
    assert_eq!((info.queue_len, info.waiters.len()), (1, 1), "{info:?}");
    upgradable.unlock().await.unwrap();
    reader.unlock().await.unwrap();
    let writer = soon("the writer", waiting).await.unwrap();
    let info = lock.inspect().await.unwrap();
    assert_eq!(info.holders.len(), 1, "{info:?}");
    assert!(!info.holders[0].shared, "{info:?}");
    assert_eq!(info.holders[0].weight, 999_999, "all: {info:?}");
    assert_eq!(info.holders[0].token, Some(writer.fencing_token()), "{info:?}");
    writer.unlock().await.unwrap();
    let info = lock.inspect().await.unwrap();
    assert_eq!((info.holders.len(), info.queue_len), (0, 0), "{info:?}");
}

#[tokio::test]
async fn force_unlock_ends_all_holds_and_hands_on() {
    let fixture = Fixture::of(READ);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (lock, other) = (lock(&one), lock(&two));
    assert!(!lock.force_unlock().await.unwrap(), "nobody holds it");
    let readers = [lock.read().await.unwrap(), other.read().await.unwrap()];
    let upgradable = lock.upgradable_read().await.unwrap();
    let writer = fixture.enqueue(other.write()).await;
    assert!(lock.force_unlock().await.unwrap(), "three held it");
    for reader in &readers {
        assert_eq!(soon("loss", reader.lost()).await, Loss::Forced, "told");
    }
    assert_eq!(soon("loss", upgradable.lost()).await, Loss::Forced, "told");
    let writer = soon("the writer", writer).await.unwrap();
    assert!(!writer.is_lost(), "the hold after them is not touched");
    assert!(other.force_unlock().await.unwrap(), "it is now");
    assert_eq!(soon("loss", writer.lost()).await, Loss::Forced, "told");
    for reader in readers {
        assert_eq!(reader.unlock().await.unwrap_err().loss(), Some(Loss::Forced));
    }
    fixture.settled().await;
}

#[tokio::test]
async fn force_unlock_of_a_hundred_readers_spares_the_writer_behind_them() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    // As many as one step of the script ends, and one more.
    for count in [100, 101] {
        let mut readers = Vec::new();
        for _ in 0..count {
            readers.push(lock.read().await.unwrap());
        }
        let writer = fixture.enqueue(lock.write()).await;
        assert!(lock.force_unlock().await.unwrap(), "{count} held it");
        let writer = soon("the writer", writer).await.unwrap();
        for reader in &readers {
            assert_eq!(soon("loss", reader.lost()).await, Loss::Forced, "told");
        }
        writer.unlock().await.expect("nobody took it away");
    }
    fixture.settled().await;
}

#[tokio::test]
async fn the_sides_are_locks() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let (reading, writing) = (lock.read_lock(), lock.write_lock());
    assert_eq!(reading.name(), writing.name());
    let one = reading.lock().await.unwrap();
    let two = reading.try_lock().await.unwrap().unwrap();
    let wait = std::time::Duration::from_millis(20);
    assert!(writing.try_lock().await.unwrap().is_none(), "two read");
    assert!(writing.try_lock_for(wait).await.unwrap().is_none(), "two read");
    one.unlock().await.unwrap();
    two.unlock().await.unwrap();
    let writer = writing.lock().await.unwrap();
    let deadline = std::time::Instant::now() + wait;
    assert!(
        reading.try_lock_until(deadline).await.unwrap().is_none(),
        "somebody writes"
    );
    writer.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn run_holds_while_the_body_runs() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let both = lock
        .run_read(async |outer| {
            let inner = lock.try_run_read(async |guard| !guard.is_lost()).await.unwrap();
            assert!(
                lock.try_run_write(async |_| ()).await.unwrap().is_none(),
                "we read"
            );
            (!outer.is_lost(), inner)
        })
        .await
        .unwrap();
    assert_eq!(both, (true, Some(true)), "two readers");
    let token = lock
        .run_write(async |guard| {
            assert!(
                lock.try_run_read(async |_| ()).await.unwrap().is_none(),
                "we write"
            );
            guard.fencing_token()
        })
        .await
        .unwrap();
    let next = lock
        .try_run_write(async |guard| guard.fencing_token())
        .await
        .unwrap();
    assert!(next.unwrap() > token, "released, and taken again");
    let error = lock
        .run_read(async |_| {
            lock.force_unlock().await.unwrap();
            std::future::pending::<()>().await;
        })
        .await
        .unwrap_err();
    assert_eq!(error.loss(), Some(Loss::Forced), "the body was dropped: {error}");
    fixture.settled().await;
}

#[tokio::test]
async fn at_most_999_999_read_and_499_999_beside_an_upgradable_reader() {
    let fixture = Fixture::of(READ);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let key = format!("{}:rwlock:{{a}}", fixture.prefix);
    let others = |readers: &str| fixture.server.admin(&["ZINCRBY", &key, readers, "u"]).unwrap();
    // As if so many more read: the record counts them.
    let reader = lock.read().await.unwrap();
    others("999997");
    let last = lock.try_read().await.unwrap().expect("the last one");
    assert!(lock.try_read().await.unwrap().is_none(), "999 999 read");
    assert!(
        lock.try_upgradable_read().await.unwrap().is_none(),
        "999 999 read"
    );
    others("-500000");
    assert!(
        lock.try_upgradable_read()
            .await
            .unwrap()
            .is_some_and(|guard| !guard.is_lost()),
        "499 999 read"
    );
    latchwork_tests::eventually("it is given back", || client.live() == 2).await;
    last.unlock().await.unwrap();
    let upgradable = lock.try_upgradable_read().await.unwrap().expect("499 998 read");
    let last = lock.try_read().await.unwrap().expect("the last one");
    assert!(lock.try_read().await.unwrap().is_none(), "499 999 read beside it");
    others("-499997");
    drop((last, upgradable, reader));
    fixture.settled().await;
}
