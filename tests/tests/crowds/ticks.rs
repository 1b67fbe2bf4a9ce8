//! The keeper refreshes thousands of places in turn, a few requests at a time, renewals first.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use latchwork_mutex::{Client, Mutex, MutexGuard, Result};
use latchwork_testkit::{ConnId, Direction, Proxy};
use latchwork_tests::{Fixture, LONG, eventually, go, locked, mutex};
use tokio::task::JoinHandle;

/// Requests about places that are under way at once.
const WINDOW: usize = 4;
const BATCH: usize = 100;

/// What a client sends through a proxy.
#[derive(Clone, Default)]
struct Wire(Arc<StdMutex<BTreeMap<ConnId, Vec<u8>>>>);

/// A script call of a client.
#[derive(Debug, PartialEq)]
enum Call {
    /// A tick that refreshes the places of the attempts with these counters.
    Places(Vec<u64>),
    /// A tick that renews holds.
    Renewals,
    Other,
}

impl Wire {
    fn of(proxy: &Proxy) -> Self {
        let wire = Self::default();
        let seen = Arc::clone(&wire.0);
        proxy.on_chunk(move |direction, id, chunk| {
            if direction == Direction::ToServer {
                seen.lock().unwrap().entry(id).or_default().extend(chunk);
            }
            latchwork_testkit::Action::Pass
        });
        wire
    }

    /// The script calls so far, in order: one connection has them all.
    fn calls(&self) -> Vec<Call> {
        let bytes = self.0.lock().unwrap().clone();
        let requests = bytes.values().flat_map(|bytes| requests(bytes));
        let scripts = requests.filter(|words| words[0] == "EVALSHA");
        scripts.map(|words| call(&words)).collect()
    }

    /// The attempts whose places were refreshed, request by request.
    fn places(&self) -> Vec<Vec<u64>> {
        let places = self.calls().into_iter().filter_map(|call| match call {
            Call::Places(counters) => Some(counters),
            Call::Renewals | Call::Other => None,
        });
        places.collect()
    }

    fn renewals(&self) -> usize {
        let calls = self.calls();
        calls.iter().filter(|call| **call == Call::Renewals).count()
    }
}

/// The whole requests in a stream of RESP arrays.
fn requests(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let mut found = Vec::new();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')?.parse().ok()) {
        let words: Vec<String> = (0..count)
            .filter_map(|_| lines.next().and_then(|_| lines.next()).map(str::to_owned))
            .collect();
        if words.len() < count {
            break;
        }
        found.push(words);
    }
    found
}

fn call(words: &[String]) -> Call {
    let keys: usize = words[2].parse().unwrap();
    let items: Vec<&[String]> = words[3 + keys..].chunks(6).collect();
    let is_tick = items.len() == keys && items.iter().all(|item| item.len() == 6);
    match items.first().map(|item| item[0].as_str()) {
        Some("h" | "x") if is_tick => Call::Renewals,
        Some("w" | "p") if is_tick => Call::Places(items.iter().map(|item| counter(&item[1])).collect()),
        _ => Call::Other,
    }
}

/// The counter in `<client>.<counter>:…`.
fn counter(id: &str) -> u64 {
    let number = id.split(['.', ':']).nth(1).unwrap();
    number.parse().unwrap()
}

/// How many places were refreshed.
///
/// # Panics
/// One was refreshed twice.
fn each_once(wire: &Wire) -> usize {
    let places = wire.places().concat();
    let different: BTreeSet<_> = places.iter().collect();
    assert_eq!(different.len(), places.len(), "none of them twice");
    places.len()
}

/// A client whose requests are patient, behind a proxy.
async fn behind_proxy(fixture: &Fixture<'_>) -> (Proxy, Client) {
    fixture
        .proxied_with(|builder| {
            let minute = Duration::from_secs(60);
            let builder = builder.lease(LONG).unavailable_after(minute);
            builder.operation_timeout(minute).heartbeat(minute)
        })
        .await
}

type Waiting = JoinHandle<Result<MutexGuard>>;

/// As many attempts wait for these locks in turn when this returns.
async fn wait(fixture: &Fixture<'_>, client: &Client, number: usize, locks: usize) -> Vec<Waiting> {
    const COUNT: &str = "local sum = 0
        for _, key in ipairs(KEYS) do
          sum = sum + redis.call('ZCOUNT', key, '-inf', '(0')
        end
        return sum";
    let names: Vec<String> = (0..locks).map(|lock| format!("a{lock}")).collect();
    let waiting = (0..number).map(|n| go(mutex(client, &names[n % locks]).lock()));
    let waiting = waiting.collect();
    let keys: Vec<String> = names.iter().map(|name| fixture.named(name).key()).collect();
    let count = keys.len().to_string();
    let mut command = vec!["EVAL", COUNT, &count];
    command.extend(keys.iter().map(String::as_str));
    let number = i64::try_from(number).unwrap();
    eventually("all wait", || {
        fixture.server.admin(&command).unwrap().int() == Some(number)
    })
    .await;
    waiting
}

async fn hold(client: &Client, locks: usize) -> Vec<MutexGuard> {
    let mut guards = Vec::new();
    for lock in 0..locks {
        guards.push(locked(client, format!("a{lock}")).await);
    }
    guards
}

async fn give_up(client: &Client, waiting: Vec<Waiting>) {
    for task in waiting {
        task.abort();
    }
    eventually("all gave up", || client.live() == 0).await;
}

/// A client that gets no answers.
#[tokio::test]
async fn four_requests_about_places_wait_for_answers_and_renewals_go_on() {
    let fixture = Fixture::shared();
    let (proxy, client) = behind_proxy(&fixture).await;
    let held = hold(&fixture.patient().await, 1).await;
    let waiting = wait(&fixture, &client, 10 * BATCH, 1).await;
    let own = Mutex::builder(&client, "own").lease(Duration::from_millis(2400));
    let own = own.build().unwrap().lock().await.unwrap();
    let wire = Wire::of(&proxy);
    eventually("the first request about places", || !wire.places().is_empty()).await;
    proxy.block(Direction::ToClient);
    let (answered, before) = (wire.places().len(), wire.renewals());
    // The second and third are sent because there is no answer: by then all places would be due.
    eventually("three renewals", || wire.renewals() >= before + 3).await;
    let sent = wire.places().len();
    assert!(
        sent <= answered + WINDOW,
        "{sent} requests about places, {answered} answered"
    );
    proxy.unblock(Direction::ToClient);
    eventually("all places are refreshed", || wire.places().len() >= 10).await;
    assert_eq!(each_once(&wire), 1000, "each of them once");
    drop(own);
    give_up(&client, waiting).await;
    drop(held);
    fixture.named("a0").settled().await;
}

#[tokio::test]
async fn a_place_that_is_given_up_before_its_turn_is_not_refreshed() {
    let fixture = Fixture::shared();
    let (proxy, client) = behind_proxy(&fixture).await;
    let held = hold(&fixture.patient().await, 1).await;
    let mut waiting = wait(&fixture, &client, 10 * BATCH, 1).await;
    let wire = Wire::of(&proxy);
    eventually("the first request about places", || !wire.places().is_empty()).await;
    for task in waiting.split_off(6 * BATCH) {
        task.abort();
    }
    eventually("400 gave up", || client.live() == 6 * BATCH).await;
    eventually("the others are refreshed", || {
        wire.places().concat().len() >= 6 * BATCH
    })
    .await;
    assert_eq!(each_once(&wire), 600, "nobody else");
    give_up(&client, waiting).await;
    drop(held);
    fixture.named("a0").settled().await;
}

/// One client with 2 000 waiters on so many locks, and with something else to do.
async fn in_turn(locks: usize) {
    let fixture = Fixture::shared();
    let (proxy, client) = behind_proxy(&fixture).await;
    let held = hold(&fixture.patient().await, locks).await;
    let waiting = wait(&fixture, &client, 20 * BATCH, locks).await;
    let wire = Wire::of(&proxy);
    let other = mutex(&client, "other");
    let busy = go(async move {
        loop {
            other.lock().await.unwrap().unlock().await.unwrap();
        }
    });
    eventually("all places are refreshed", || wire.places().len() >= 20).await;
    busy.abort();
    assert_eq!(each_once(&wire), 2000, "each of them once");
    let calls = wire.calls();
    let runs = calls.split(|call| !matches!(call, Call::Places(_)));
    let longest = runs.map(<[Call]>::len).max().unwrap();
    assert!(
        longest <= 2 * WINDOW,
        "{longest} requests about places before any other"
    );
    give_up(&client, waiting).await;
    drop(held);
    fixture.named("a0").settled().await;
}

#[tokio::test]
async fn the_places_of_2000_waiters_on_a_lock_are_refreshed_in_turn() {
    in_turn(1).await;
}

#[tokio::test]
async fn the_places_of_2000_waiters_on_as_many_locks_are_refreshed_in_turn() {
    in_turn(2000).await;
}
