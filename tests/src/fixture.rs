//! One test's corner of a server: a key prefix of its own, and the primitive that the test is
//! about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use latchwork_core::{Client, ClientBuilder, Inbox};
use latchwork_testkit::{Proxy, TestCluster, TestSentinel, TestServer, shared_server, slot_of};

use crate::distance::Distance;
use crate::subject::{MUTEX, Subject};

/// The lease that most tests use: short, so that a test which waits for its end is quick.
pub const LEASE: Duration = Duration::from_millis(300);

/// A lease that ends soon, but that a busy machine still renews in time: every third of it.
pub const MEDIUM: Duration = Duration::from_millis(1200);

/// A lease that no pause of a busy machine outlasts: for holds that have to survive.
pub const LONG: Duration = Duration::from_secs(9);

/// A lease without a renewal during any test: for requests that are counted.
pub const MINUTE: Duration = Duration::from_secs(60);

/// The URL of these sentinels and of what they watch.
pub fn sentinel_url(sentinel: &TestSentinel) -> String {
    let addresses: Vec<_> = sentinel
        .sentinel_urls()
        .iter()
        .filter_map(|url| url.split_once("://"))
        .map(|(_, address)| address.to_owned())
        .collect();
    format!("redis+sentinel://{}/{}", addresses.join(","), sentinel.name())
}

/// A server, a prefix that nobody else uses, and a primitive there: a mutex called `a` unless set
/// otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fixture<'a> {
    /// The server.
    pub server: &'a TestServer,
    /// The prefix of all keys and channels.
    pub prefix: String,
    /// The primitive under test.
    pub subject: &'static dyn Subject,
    /// Its name.
    pub name: String,
    /// The kind in its key.
    pub(crate) kind: &'static str,
    /// How far away its clients are.
    pub distance: Distance,
    /// What they connect through if they are far away.
    line: Option<Arc<Proxy>>,
    /// The URL of the sentinels that name the server, if they do.
    sentinels: Option<String>,
    /// How messages reach its clients in a cluster.
    inbox: Inbox,
}

impl Fixture<'static> {
    /// On the server that the test process shares: for tests that do nothing to the server itself.
    pub fn shared() -> Self {
        Self::on(shared_server())
    }

    /// The same, for this primitive.
    pub fn of(subject: &'static dyn Subject) -> Self {
        Self::shared().with(subject)
    }
}

impl<'a> Fixture<'a> {
    /// On this server.
    pub fn on(server: &'a TestServer) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let distance = Distance::here();
        let far = distance != Distance::NEAR;
        Self {
            server,
            prefix: format!("t{}-{number}", std::process::id()),
            subject: MUTEX,
            name: "a".to_owned(),
            kind: MUTEX.kind(),
            distance,
            line: far.then(|| Arc::new(distance.proxy(server.port()))),
            sentinels: None,
            inbox: Inbox::Classic,
        }
    }

    /// On the primary of these sentinels. Its clients ask them; `server` is the primary of this
    /// moment.
    ///
    /// # Panics
    /// If the sentinels do not answer.
    pub fn behind(sentinel: &'a TestSentinel) -> Self {
        let primary = sentinel.master().expect("a primary");
        Self {
            sentinels: Some(sentinel_url(sentinel)),
            ..Self::on(primary)
        }
    }

    /// In this cluster, at the master of the slot of the name `a`. Its clients are told of that node,
    /// and find the others.
    ///
    /// # Panics
    /// If the cluster does not answer.
    pub fn in_cluster(cluster: &'a TestCluster) -> Self {
        let master = cluster.master_of(slot_of("a")).expect("a master");
        Self::on(master)
    }

    /// The URL of the server for clients at the distance of the test.
    pub fn url(&self) -> String {
        let far = self.line.as_ref().map(|line| line.url());
        far.or_else(|| self.sentinels.clone())
            .unwrap_or_else(|| self.server.url())
    }

    /// With clients that have this inbox.
    #[must_use]
    pub fn with_inbox(mut self, inbox: Inbox) -> Self {
        self.inbox = inbox;
        self
    }

    /// A proxy of its own, as far away as the test.
    ///
    /// # Panics
    /// If there can be none.
    pub fn proxy(&self) -> Proxy {
        self.distance.proxy(self.server.port())
    }

    /// For this primitive.
    #[must_use]
    pub fn with(mut self, subject: &'static dyn Subject) -> Self {
        (self.subject, self.kind) = (subject, subject.kind());
        self
    }

    /// For a primitive without holders, which is no subject: the kind in its key.
    #[must_use]
    pub fn with_kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// The same place and primitive under another name, which must be one that is not escaped.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self.clone()
        }
    }

    /// The key of the primitive.
    pub fn key(&self) -> String {
        format!("{}:{}:{{{}}}", self.prefix, self.kind, self.name)
    }

    /// Options for a client with short leases.
    pub fn builder(&self) -> ClientBuilder {
        self.builder_at(self.url())
    }

    /// Options for a client that connects through another URL, such as a proxy's.
    pub fn builder_at(&self, url: impl AsRef<str>) -> ClientBuilder {
        let builder = Client::builder().url(url).prefix(&self.prefix);
        self.distance
            .patient(builder)
            .lease(self.distance.scaled(LEASE))
            .inbox(self.inbox)
            .reconnect_backoff(Duration::from_millis(5), Duration::from_millis(50))
    }

    /// The URL of a user who may do everything but for these ACL rules.
    ///
    /// # Panics
    /// If the server does not understand the rules.
    pub fn restricted(&self, rules: &[&str]) -> String {
        let mut command = vec!["ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all"];
        command.extend(rules);
        self.server.admin(&command).expect("a user");
        self.url().replacen("redis://", "redis://worker:secret@", 1)
    }

    /// A client with these options, besides short leases.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn client_with(&self, options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        options(self.builder()).connect().await.expect("a client")
    }

    /// A client with short leases behind a proxy.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn proxied(&self) -> (Proxy, Client) {
        self.proxied_with(|builder| builder).await
    }

    /// A client with these options behind a proxy.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn proxied_with(
        &self,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> (Proxy, Client) {
        let proxy = self.proxy();
        let client = options(self.builder_at(proxy.url())).connect().await;
        (proxy, client.expect("a client"))
    }

    /// A client with short leases ([`LEASE`]).
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn client(&self) -> Client {
        self.client_with(|builder| builder).await
    }

    /// A client whose holds are renewed every 400 ms, and end soon after renewal stops
    /// ([`MEDIUM`]).
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn renewing(&self) -> Client {
        self.client_with(|builder| builder.lease(self.distance.scaled(MEDIUM)))
            .await
    }

    /// A client whose holds survive whatever the test does, if they can ([`LONG`]).
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn steady(&self) -> Client {
        self.client_with(|builder| builder.lease(self.distance.scaled(LONG)))
            .await
    }

    /// A client that renews nothing while the test runs ([`MINUTE`]).
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn patient(&self) -> Client {
        self.client_with(|builder| builder.lease(MINUTE)).await
    }
}
