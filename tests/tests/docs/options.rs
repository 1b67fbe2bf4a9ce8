//! Every option has the limits and the default that its documentation states.

use std::collections::BTreeMap;

use latchwork_latch::CountdownLatch;
use latchwork_limiter::{Rate, RateLimiter};
use latchwork_mutex::{Client, ClientBuilder, ErrorKind, FairMutex, Mutex, Result};
use latchwork_rwlock::RwLock;
use latchwork_semaphore::Semaphore;
use latchwork_tests::Fixture;

use crate::quantities::{Limit, limits};
use crate::read;

/// How a value of an option is set and checked.
enum Set {
    /// By `connect`.
    Client(fn(ClientBuilder, Limit) -> ClientBuilder),
    /// By `build`.
    Handle(fn(&Client, Limit) -> Result<()>),
    /// It has no limits.
    Free,
}

/// A file with a builder, an option of it, its default in words, the same as `Debug` shows it, and
/// how it is set.
struct Row(&'static str, &'static str, &'static str, &'static str, Set);

const CLIENT: &str = "crates/core/src/tasks/builder.rs";
const HOLDS: &str = "crates/core/src/kit/macros.rs";
const MUTEX: &str = "crates/mutex/src/mutex.rs";
const FAIR: &str = "crates/mutex/src/fair.rs";
const RWLOCK: &str = "crates/rwlock/src/rwlock.rs";
const SEMAPHORE: &str = "crates/semaphore/src/semaphore.rs";
const LIMITER: &str = "crates/limiter/src/limiter.rs";
const LATCH: &str = "crates/latch/src/latch.rs";

/// Where a client connects to, which is no option with a default.
const ADDRESSES: [&str; 6] = [
    "url",
    "sentinel",
    "cluster",
    "address_map",
    "redis",
    "connection_info",
];

fn ten() -> Rate {
    Rate::per_second(std::num::NonZeroU32::MIN.saturating_add(9))
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    use Set::{Client, Free, Handle};
    vec![
        Row(CLIENT, "tls", "[`Tls::new`]", "", Free),
        Row(
            CLIENT,
            "prefix",
            "`latchwork`",
            "prefix: \"latchwork\"",
            Client(|b, to| b.prefix(to.text())),
        ),
        Row(
            CLIENT,
            "lease",
            "10 s",
            "lease: 10s",
            Client(|b, to| b.lease(to.time())),
        ),
        Row(
            CLIENT,
            "operation_timeout",
            "1 s",
            "operation_timeout: 1s",
            Client(|b, to| b.operation_timeout(to.time())),
        ),
        Row(
            CLIENT,
            "unavailable_after",
            "10 s",
            "unavailable_after: 10s",
            Client(|b, to| b.unavailable_after(to.time())),
        ),
        Row(
            CLIENT,
            "fail_fast_after",
            "never",
            "fail_fast_after: None",
            Client(|b, to| b.fail_fast_after(to.time())),
        ),
        Row(
            CLIENT,
            "claim_window",
            "half of the lease",
            "claim_window: None",
            Client(|b, to| b.claim_window(to.time())),
        ),
        Row(
            CLIENT,
            "drift_margin",
            "10 000",
            "parts_per_million: 10000",
            Client(|b, to| b.drift_margin(to.number())),
        ),
        Row(
            CLIENT,
            "retention",
            "5 min",
            "retention: 300s",
            Client(|b, to| b.retention(to.time())),
        ),
        Row(
            CLIENT,
            "max_waiters",
            "10 000",
            "max_waiters: 10000",
            Client(|b, to| b.max_waiters(to.number())),
        ),
        Row(
            CLIENT,
            "reconnect_backoff",
            "20 ms and 1 s",
            "reconnect_backoff: (20ms, 1s)",
            Client(|b, to| b.reconnect_backoff(to.time(), to.time())),
        ),
        Row(
            CLIENT,
            "heartbeat",
            "3 s",
            "heartbeat: 3s",
            Client(|b, to| b.heartbeat(to.time())),
        ),
        Row(
            CLIENT,
            "label",
            "`host:pid`",
            "label: ",
            Client(|b, to| b.label(to.text())),
        ),
        Row(CLIENT, "keeper_thread", "`false`", "keeper_thread: false", Free),
        Row(CLIENT, "durability", "`Primary`", "durability: Primary", Free),
        Row(CLIENT, "inbox", "`Classic`", "inbox: Classic", Free),
        Row(CLIENT, "start_delay", "`false`", "start_delay: false", Free),
        Row(
            HOLDS,
            "durability",
            "the client's, `Primary`",
            "durability: None",
            Free,
        ),
        Row(
            HOLDS,
            "lease",
            "the client's, 10 s",
            "lease: None",
            Handle(|client, to| Mutex::builder(client, "a").lease(to.time()).build().map(drop)),
        ),
        Row(HOLDS, "renew", "[`Renew::Watchdog`]", "renew: Watchdog", Free),
        Row(
            HOLDS,
            "max_hold",
            "no limit",
            "max_hold: None",
            Handle(|client, to| Mutex::builder(client, "a").max_hold(to.time()).build().map(drop)),
        ),
        Row(
            HOLDS,
            "hold_at_least",
            "none",
            "hold_at_least: None",
            Handle(|client, to| {
                Mutex::builder(client, "a")
                    .hold_at_least(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(
            HOLDS,
            "max_waiters",
            "the client's, 10 000",
            "max_waiters: None",
            Handle(|client, to| {
                Mutex::builder(client, "a")
                    .max_waiters(to.number())
                    .build()
                    .map(drop)
            }),
        ),
        Row(MUTEX, "token_floor", "none", "token_floor: None", Free),
        Row(FAIR, "token_floor", "none", "token_floor: None", Free),
        Row(
            FAIR,
            "priority_boost",
            "1 s",
            "boost: 1s",
            Handle(|client, to| {
                FairMutex::builder(client, "a")
                    .priority_boost(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(RWLOCK, "policy", "[`RwPolicy::Fair`]", "policy: Fair", Free),
        Row(RWLOCK, "token_floor", "none", "token_floor: None", Free),
        Row(SEMAPHORE, "rate", "no rate", "rate: None", Free),
        Row(
            SEMAPHORE,
            "max_wait",
            "one period of the rate",
            "max_wait: None",
            Handle(|client, to| {
                Semaphore::builder(client, "a", 1)
                    .rate(ten())
                    .max_wait(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(
            SEMAPHORE,
            "on_mismatch",
            "[`OnMismatch::Error`]",
            "on_mismatch: Error",
            Free,
        ),
        Row(
            SEMAPHORE,
            "keep",
            "24 h",
            "keep: 86400s",
            Handle(|client, to| {
                Semaphore::builder(client, "a", 1)
                    .keep(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(
            LIMITER,
            "algorithm",
            "[`Algorithm::Gcra`]",
            "algorithm: Gcra",
            Free,
        ),
        Row(
            LIMITER,
            "on_mismatch",
            "[`OnMismatch::Error`]",
            "on_mismatch: Error",
            Free,
        ),
        Row(
            LIMITER,
            "max_wait",
            "one window",
            "max_wait: None",
            Handle(|client, to| {
                RateLimiter::builder(client, "a", ten())
                    .max_wait(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(
            LIMITER,
            "keep",
            "24 h",
            "keep: 86400s",
            Handle(|client, to| {
                RateLimiter::builder(client, "a", ten())
                    .keep(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(
            LATCH,
            "keep",
            "24 h",
            "keep: 86400s",
            Handle(|client, to| {
                CountdownLatch::builder(client, "a", 1)
                    .keep(to.time())
                    .build()
                    .map(drop)
            }),
        ),
        Row(
            LATCH,
            "on_mismatch",
            "[`OnMismatch::Error`]",
            "on_mismatch: Error",
            Free,
        ),
        Row(HOLDS, "purpose", "none", "purpose: None", Free),
        Row(LATCH, "wait_for_creation", "`false`", "on_missing: Create", Free),
    ]
}

/// What `Debug` shows of a builder on which nothing was set.
fn fresh(file: &str, client: &Client) -> String {
    match file {
        CLIENT => format!("{:?}", Client::builder()),
        HOLDS | MUTEX => format!("{:?}", Mutex::builder(client, "a")),
        FAIR => format!("{:?}", FairMutex::builder(client, "a")),
        RWLOCK => format!("{:?}", RwLock::builder(client, "a")),
        SEMAPHORE => format!("{:?}", Semaphore::builder(client, "a", 1)),
        LIMITER => format!("{:?}", RateLimiter::builder(client, "a", ten())),
        _ => format!("{:?}", CountdownLatch::builder(client, "a", 1)),
    }
}

/// The documentation of each option in a file, which is a method that takes `mut self`.
fn documented(file: &str) -> BTreeMap<String, String> {
    let (mut found, mut text) = (BTreeMap::new(), String::new());
    for line in read(file).lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            text += more;
        } else if !line.starts_with("#[") {
            let declared = line
                .strip_prefix("pub const fn ")
                .or_else(|| line.strip_prefix("pub fn "));
            let is_option = line.contains("(mut self, ") && line.ends_with("-> Self {");
            if let (Some(declared), true) = (declared, is_option) {
                let name = declared.split(['(', '<']).next().unwrap_or_default();
                found.insert(name.to_owned(), text.clone());
            }
            text.clear();
        }
    }
    found
}

/// Whether a client may have these options. It finds no server, and says so only if they are right.
async fn may_connect(options: ClientBuilder) -> bool {
    let connected = options.url("redis://127.0.0.1:1").connect().await;
    connected.expect_err("there is no server").kind() != ErrorKind::Invalid
}

async fn accepts(client: &Client, set: &Set, value: Limit) -> bool {
    match set {
        Set::Client(set) => may_connect(set(Client::builder(), value)).await,
        Set::Handle(set) => set(client, value).is_ok(),
        Set::Free => true,
    }
}

#[tokio::test]
async fn every_option_has_the_limits_and_the_default_that_are_documented() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let mut left: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for file in [CLIENT, HOLDS, MUTEX, FAIR, RWLOCK, SEMAPHORE, LIMITER, LATCH] {
        left.insert(file, documented(file));
    }
    for Row(file, name, default, shown, set) in rows() {
        let text = left.get_mut(file).and_then(|options| options.remove(name));
        let text = text.unwrap_or_else(|| panic!("{file} has no option {name}"));
        assert!(
            text.contains(&format!("Defaults to {default}")),
            "{file}, {name}: {default} is not its default in: {text}"
        );
        let fresh = fresh(file, &client);
        assert!(fresh.contains(shown), "{file}, {name}: not {shown}, but {fresh}");
        let (least, most) = match (&set, limits(&text)) {
            (Set::Free, _) => continue,
            (_, limits) => limits.unwrap_or_else(|| panic!("{file}, {name}: no limits in: {text}")),
        };
        for inside in [least, most] {
            assert!(
                accepts(&client, &set, inside).await,
                "{file}, {name}: {inside:?} is refused"
            );
        }
        for beyond in [least.beyond(true), most.beyond(false)].into_iter().flatten() {
            assert!(
                !accepts(&client, &set, beyond).await,
                "{file}, {name}: {beyond:?} is accepted"
            );
        }
    }
    for (file, options) in left {
        let names: Vec<_> = options
            .into_keys()
            .filter(|name| !ADDRESSES.contains(&&**name))
            .collect();
        assert!(
            names.is_empty(),
            "{file}: {names:?} are not in the table of this test"
        );
    }
    let label = format!(":{}\"", std::process::id());
    assert!(
        fresh(CLIENT, &client).contains(&label),
        "the label ends with the process's id"
    );
}
