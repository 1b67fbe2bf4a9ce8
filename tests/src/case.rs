//! One test of one subject: its place on a server, and what the tests of all subjects do and look at.

use std::sync::Arc;
use std::time::Duration;

use latchwork_core::{Client, ErrorKind, FencingToken, Result};
use latchwork_testkit::TestServer;
use tokio::task::JoinHandle;

use crate::subject::{Guard, Handle, Options, Subject};
use crate::{Place, eventually, go};

/// A lease that no pause of a busy machine outlasts: for holds that have to survive.
pub const LONG: Duration = Duration::from_secs(9);

/// A lease that is soon over, and that a busy machine still renews in time: every third of it.
pub const MEDIUM: Duration = Duration::from_millis(1200);

/// Fails the test when something hangs.
///
/// # Panics
/// If it does.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let limited = tokio::time::timeout(Duration::from_secs(25), future);
    limited.await.unwrap_or_else(|_| panic!("it hangs: {what}"))
}

/// An acquire that runs in a task of its own.
pub type Waiter = JoinHandle<Result<Guard>>;

/// A subject under one name at a place.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case<'a> {
    /// What is tested.
    pub subject: &'static dyn Subject,
    /// Where.
    pub place: Place<'a>,
    /// The name of it.
    pub name: String,
}

impl Case<'static> {
    /// On the server that the test process shares: for tests that do nothing to the server.
    pub fn shared(subject: &'static dyn Subject) -> Self {
        Self::at(subject, Place::shared())
    }
}

impl<'a> Case<'a> {
    /// On a server of its own.
    pub fn on(subject: &'static dyn Subject, server: &'a TestServer) -> Self {
        Self::at(subject, Place::on(server))
    }

    /// At this place, under the name `a`.
    pub fn at(subject: &'static dyn Subject, place: Place<'a>) -> Self {
        Self {
            subject,
            place,
            name: "a".to_owned(),
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self.clone()
        }
    }

    /// A client with short leases.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn client(&self) -> Client {
        self.place.client().await
    }

    /// A client whose holds are renewed every 400 ms, and over soon after that ends.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn renewing(&self) -> Client {
        let builder = self.place.builder().lease(MEDIUM);
        builder.connect().await.expect("a client")
    }

    /// A client whose holds survive whatever the test does, if they can.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn steady(&self) -> Client {
        let builder = self.place.builder().lease(LONG);
        builder.connect().await.expect("a client")
    }

    /// A handle of this client's.
    ///
    /// # Panics
    /// If there can be none.
    pub fn handle(&self, client: &Client) -> Arc<dyn Handle> {
        self.handle_with(client, &Options::NONE)
    }

    /// A handle with options.
    ///
    /// # Panics
    /// If there can be none.
    pub fn handle_with(&self, client: &Client, options: &Options) -> Arc<dyn Handle> {
        let handle = self.subject.handle(client, self.name.as_bytes(), options);
        handle.expect("a handle")
    }

    /// One hold.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn held(&self, client: &Client) -> Guard {
        let acquired = soon("an acquire", self.handle(client).acquire()).await;
        acquired.expect("a hold")
    }

    /// One hold, now.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn tried(&self, client: &Client) -> Option<Guard> {
        let tried = soon("a try", self.handle(client).try_acquire()).await;
        tried.expect("an answer")
    }

    /// All there is: whoever comes now waits.
    ///
    /// # Panics
    /// If there is nothing to be had.
    pub async fn all(&self, client: &Client) -> Guard {
        let taken = self.subject.take_all(client, self.name.as_bytes());
        soon("all there is", taken).await.expect("all there is")
    }

    /// An acquire that runs from now on.
    pub fn waiting(&self, client: &Client) -> Waiter {
        go(self.handle(client).acquire())
    }

    /// An acquire that waits in the queue.
    ///
    /// # Panics
    /// If it does not get there.
    pub async fn queue(&self, client: &Client) -> Waiter {
        let before = self.waiters();
        let waiter = self.waiting(client);
        self.queued(before + 1).await;
        waiter
    }

    /// What a waiter gets.
    ///
    /// # Panics
    /// If it gets nothing.
    pub async fn granted(&self, waiter: Waiter) -> Guard {
        let granted = soon("a grant", waiter).await.expect("no panic");
        granted.expect("a hold")
    }

    /// Releases, and hears that it was right.
    ///
    /// # Panics
    /// If it was not.
    pub async fn released(&self, guard: Guard) {
        soon("a release", guard.release()).await.expect("released");
    }

    /// The key.
    pub fn key(&self) -> String {
        self.place.key_of(self.subject.kind(), &self.name)
    }

    /// The members of the record with their scores, without the marks that are always there.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn members(&self) -> Vec<(String, f64)> {
        let dump = self.place.server.dump_zset(&self.key()).expect("a dump");
        dump.into_iter()
            .map(|(member, score)| (member, score.parse().expect("a number")))
            .filter(|(member, _)| !self.subject.marks().contains(&member.as_str()))
            .collect()
    }

    /// How many wait, as the server has it.
    pub fn waiters(&self) -> usize {
        let members = self.members();
        members.iter().filter(|(_, score)| *score < 0.0).count()
    }

    /// The ids of the holders, as the server has it.
    pub fn holders(&self) -> Vec<String> {
        let holds = |(member, score): (String, f64)| (1e12..1e14).contains(&score).then_some(member);
        self.members().into_iter().filter_map(holds).collect()
    }

    /// The last token that was issued, as the server has it.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn last_token(&self) -> Option<u64> {
        let reply = self.place.server.admin(&["ZSCORE", &self.key(), "t1"]);
        reply.expect("an answer").text()?.parse().ok()
    }

    /// Waits until so many queue.
    ///
    /// # Panics
    /// If they do not.
    pub async fn queued(&self, count: usize) {
        eventually("they queue", || self.waiters() == count).await;
    }

    /// Waits until no hold and no place is left, nor anything that belongs to one. Tombstones may be.
    ///
    /// # Panics
    /// If something stays.
    pub async fn settled(&self) {
        self.settled_within(Duration::from_secs(10)).await;
    }

    /// The same with a limit; zero: now.
    ///
    /// # Panics
    /// If something is left.
    pub async fn settled_within(&self, within: Duration) {
        let (key, marks) = (self.key(), self.subject.marks());
        self.place.settled_key(&key, marks, within).await;
    }

    /// What must be true at the end of every test: nothing of any attempt is left, and every key has a TTL.
    ///
    /// # Panics
    /// If it is not.
    pub async fn over(&self) {
        self.settled().await;
        self.place.check_leftovers();
    }

    /// The server still knows the hold: it renews it. For a while it may be unable to answer.
    ///
    /// # Panics
    /// If the hold is lost.
    pub async fn still_held(&self, guard: &Guard, lease: Duration) {
        let extended = async {
            while let Err(error) = guard.extend(lease).await {
                let passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ReadOnly);
                assert!(passing, "{error:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("an extension", extended).await;
        assert!(!guard.is_lost(), "still held");
    }
}

/// Tokens rise, where both holds have one.
///
/// # Panics
/// If they do not.
pub fn rises(before: Option<FencingToken>, after: Option<FencingToken>) {
    let rises = before.zip(after).is_none_or(|(before, after)| before < after);
    assert!(rises, "tokens rise: {before:?}, {after:?}");
}
