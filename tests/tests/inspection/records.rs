//! An inspection does with whatever it finds under the keys of clients, and reads each once.

use latchwork_core::Client;
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_tests::{Fixture, eventually, locked, mutex};

/// Somebody else's data under the client's key, or none, hides what it would say, and nothing more.
#[tokio::test]
async fn foreign_data_in_place_of_a_record_hides_only_what_it_would_say() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = RwLock::new(&client, "lock").expect("a lock");
    let reading = lock.read().await.expect("the lock");
    let held = locked(&client, "a").await;
    let key = |id: &str| format!("{}:client:{id}", fixture.prefix);
    let keys = || fixture.server.admin(&["KEYS", &key("*")]).expect("an answer");
    eventually("it is written", || keys().items().len() == 1).await;
    let key = keys().items()[0].text().expect("a key");
    let long = "\u{e9}".repeat(100_000);
    for (command, label) in [
        (vec!["SET", &key, "a\nb:1 2 3"], Some("a\nb:1 2 3")),
        (vec!["SET", &key, "1 7 5:label 8"], Some("1 7 5:label 8")),
        (vec!["SET", &key, &long], Some(&long[..256])),
        (vec!["SET", &key, ""], Some("")),
        (vec!["HSET", &key, "a", "b"], None),
        (vec!["DEL", &key], None),
    ] {
        fixture.server.admin(&["DEL", &key]).expect("deleted");
        fixture.server.admin(&command).expect("changed");
        let (shared, exclusive) = (lock.inspect().await, mutex(&client, "a").inspect().await);
        let (shared, exclusive) = (shared.expect("an answer"), exclusive.expect("an answer"));
        assert_eq!(shared.holders[0].label.as_deref(), label, "{command:?}");
        assert_eq!(shared.holders[0].held_for, None, "only its client knows");
        assert!(exclusive.holders[0].held_for.is_some(), "by its token");
        assert_eq!(exclusive.holders[0].label.as_deref(), label, "{command:?}");
    }
    drop((reading, held));
}

/// One request for the record of the primitive, and one for each fifty clients.
#[tokio::test]
async fn each_client_is_looked_up_once() {
    let fixture = Fixture::shared();
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(fixture.patient().await);
    }
    let (proxy, client) = fixture.counted().await;
    let of = |client: &Client, name: &str| Semaphore::new(client, name, 1000).expect("a semaphore");
    let mut permits = Vec::new();
    for holder in clients.iter().chain([&client]) {
        permits.push(of(holder, "many").acquire().await.expect("a permit"));
        if permits.len() > 1 {
            permits.push(of(holder, "fifty").acquire().await.expect("a permit"));
        }
    }
    for _ in 0..60 {
        permits.push(of(&client, "one").acquire().await.expect("a permit"));
    }
    for (name, holders, lookups) in [("one", 60, 1), ("fifty", 50, 1), ("many", 51, 2)] {
        proxy.reset_counts();
        let info = of(&client, name).inspect().await.expect("an answer");
        assert_eq!(info.holders.len(), holders, "{name}");
        assert!(info.holders.iter().all(|it| it.label.is_some()), "{info:?}");
        let sent = proxy.request_names();
        assert_eq!(sent.get("MGET"), Some(&lookups), "{name}: {sent:?}");
    }
    drop(permits);
}
