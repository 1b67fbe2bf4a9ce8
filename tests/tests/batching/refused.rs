//! A refused batch is asked again item by item: what is wrong with one costs only itself.

use std::time::Duration;

use latchwork_mutex::{Client, Loss};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, LONG, MINUTE, eventually, granted, locked, locking, mutex, unlocked};

/// Takes every right to a key away from the user `worker`, but for locks of these names and labels.
fn allow_only(fixture: &Fixture<'_>, names: &[&str]) {
    let key = |name: &&str| format!("~{}", fixture.named(*name).key());
    let mut rules: Vec<String> = names.iter().map(key).collect();
    rules.push(format!("~{}:client:*", fixture.prefix));
    let mut command = vec!["ACL", "SETUSER", "worker", "resetkeys"];
    command.extend(rules.iter().map(String::as_str));
    fixture.server.admin(&command).expect("fewer rights");
}

async fn worker(fixture: &Fixture<'_>, rules: &[&str], lease: Duration) -> Client {
    let builder = fixture.builder_at(fixture.restricted(rules)).lease(lease);
    let patient = builder.unavailable_after(MINUTE); // only its ticks ask again
    patient.connect().await.expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_whose_key_is_denied_costs_no_other_its_renewal() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let client = worker(&fixture, &[], LEASE).await;
    let kept = [locked(&client, "one").await, locked(&client, "two").await];
    let denied = locked(&client, "denied").await;
    allow_only(&fixture, &["one", "two"]);
    assert_eq!(denied.lost().await, Loss::Expired, "nobody renews it");
    // By now they have outlived their leases as well.
    tokio::time::sleep(LEASE * 2).await;
    for guard in kept {
        unlocked(guard).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_whose_key_is_denied_costs_no_other_its_tick() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let other = fixture.client_with(|b| b.lease(MINUTE)).await;
    let held = [locked(&other, "one").await, locked(&other, "denied").await];
    // Without an inbox, it hears of a grant only by its ticks.
    let client = worker(&fixture, &["-subscribe"], MINUTE).await;
    let (waiter, denied) = (locking(&client, "one"), locking(&client, "denied"));
    for name in ["one", "denied"] {
        fixture.named(name).queued(1).await;
    }
    allow_only(&fixture, &["one"]);
    for guard in held {
        unlocked(guard).await;
    }
    unlocked(granted(waiter).await).await;
    denied.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_may_not_be_read_hides_no_other() {
    let server = TestServer::start().expect("a server");
    let fixture = Fixture::on(&server);
    let holder = fixture.client_with(|b| b.lease(LONG).label("the holder")).await;
    let waiting = fixture.client_with(|b| b.lease(LONG).label("the waiter")).await;
    let held = locked(&holder, "a").await;
    let waiter = locking(&waiting, "a");
    fixture.queued(1).await;
    let labels = || server.keys(&format!("{}:client:", fixture.prefix)).expect("keys");
    eventually("both have a label", || labels().len() == 2).await;
    let looker = worker(&fixture, &[], LONG).await;
    let of_holder = labels().into_iter().find(|key| {
        let label = server.admin(&["GET", key]).expect("a label");
        label.text().is_some_and(|text| text.ends_with(":the holder"))
    });
    let rules = [
        format!("~{}", fixture.key()),
        format!("~{}", of_holder.expect("it is there")),
    ];
    server
        .admin(&["ACL", "SETUSER", "worker", "resetkeys", &rules[0], &rules[1]])
        .expect("fewer rights");
    let info = mutex(&looker, "a").inspect().await.expect("an answer");
    assert_eq!(info.holders[0].label.as_deref(), Some("the holder"), "{info:?}");
    assert_eq!(info.waiters[0].label, None, "it may not be read: {info:?}");
    unlocked(held).await;
    unlocked(granted(waiter).await).await;
}
