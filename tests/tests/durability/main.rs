//! A guard is handed out when its grant is at replicas or on disk, if that is asked for.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cancelling;
mod converting;
mod counting;
mod fsync;
mod replicas;
mod start_delay;

use std::time::Duration;

use latchwork_core::{Client, Durability, Error, ErrorKind};
use latchwork_testkit::{Builder, TestServer};
use latchwork_tests::{Fixture, MINUTE, eventually};

/// Long enough for whatever a busy machine does.
const ENOUGH: Duration = Duration::from_secs(20);
/// Too short for a replica that stands still.
const SHORT: Duration = Duration::from_millis(50);

/// A primary with replicas, and nobody who would promote one.
struct Group {
    primary: TestServer,
    replicas: Vec<TestServer>,
}

impl Group {
    fn start(builder: &Builder, replicas: usize) -> Self {
        // A replica that joins is served at once.
        let quick = |builder: Builder| builder.arg("--repl-diskless-sync-delay", "0");
        let primary = quick(builder.clone()).start().expect("a primary");
        let of = format!("127.0.0.1 {}", primary.port());
        let replica = |_| quick(builder.clone()).arg("--replicaof", &of).start();
        let replicas: Result<Vec<_>, _> = (0..replicas).map(replica).collect();
        Self {
            primary,
            replicas: replicas.expect("replicas"),
        }
    }

    /// The same, once the replicas have joined.
    async fn joined(replicas: usize) -> Self {
        Self::built(TestServer::builder(), replicas).await
    }

    /// The same with these options.
    async fn built(builder: Builder, replicas: usize) -> Self {
        let group = Self::start(&builder, replicas);
        let count = || {
            let info = group.primary.admin(&["INFO", "replication"]).expect("an answer");
            info.text().unwrap_or_default().matches("state=online").count()
        };
        eventually("the replicas have joined", || count() == replicas).await;
        group
    }

    fn freeze(&self) {
        self.replicas[0].freeze().expect("frozen");
    }

    fn thaw(&self) {
        self.replicas[0].thaw().expect("thawed");
    }
}

const fn replicas(n: u32, within: Duration) -> Durability {
    Durability::Replicas { n, within }
}

/// A client whose holds outlast the test, and whose grants go there.
async fn durable(fixture: &Fixture<'_>, durability: Durability) -> Client {
    fixture
        .client_with(|b| b.lease(MINUTE).claim_window(MINUTE).durability(durability))
        .await
}

/// Checks the kind and the text of an error.
fn expect<T>(result: Result<T, Error>, kind: ErrorKind, texts: &[&str]) {
    let Err(error) = result else {
        panic!("no error: {kind:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    for text in texts {
        assert!(format!("{error:?}").contains(text), "{text}: {error:?}");
    }
}
