//! A primitive's record as the server has it, and what must be true of it after a test.

use std::ops::Range;
use std::time::{Duration, Instant};

use latchwork_core::Result;
use tokio::task::JoinHandle;

use crate::{Fixture, eventually, go};

/// The scores of holders; tombstones are above, waiters and marks below.
const HOLDERS: Range<f64> = 1e12..1e14;

impl Fixture<'_> {
    /// The record's members with their scores.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn scores(&self) -> Vec<(String, f64)> {
        let dump = self.server.dump_zset(&self.key()).expect("a dump");
        dump.into_iter()
            .map(|(member, score)| (member, score.parse().expect("a number")))
            .collect()
    }

    /// The same without the marks that every record of this primitive has.
    pub fn members(&self) -> Vec<(String, f64)> {
        let mut scores = self.scores();
        scores.retain(|(member, _)| !self.subject.marks().contains(&member.as_str()));
        scores
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.scores().iter().filter(|(_, score)| *score < 0.0).count()
    }

    /// The ids of the holders, including those whose lease is over and whom nobody has removed yet.
    pub fn holders(&self) -> Vec<String> {
        let holds = |(member, score): (String, f64)| HOLDERS.contains(&score).then_some(member);
        self.scores().into_iter().filter_map(holds).collect()
    }

    /// Whether somebody holds it, by the record.
    pub fn is_held(&self) -> bool {
        !self.holders().is_empty()
    }

    /// The members that are no waiters, holders or tombstones, nor marks that every record has.
    pub fn marks(&self) -> Vec<String> {
        let is_mark =
            |(member, score): (String, f64)| (0.0..HOLDERS.start).contains(&score).then_some(member);
        self.members().into_iter().filter_map(is_mark).collect()
    }

    /// The last token that was issued.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn last_token(&self) -> Option<u64> {
        let reply = self.server.admin(&["ZSCORE", &self.key(), "t1"]);
        reply.expect("an answer").text()?.parse().ok()
    }

    /// Returns when this many wait.
    ///
    /// # Panics
    /// If they do not come to.
    pub async fn queued(&self, count: usize) {
        eventually(&format!("{count} wait"), || self.waiters() == count).await;
    }

    /// Starts an acquire in a task, and returns when it waits behind those that wait already.
    ///
    /// # Panics
    /// If it does not come to wait. The task panics if the acquire fails.
    pub async fn enqueue<G: Send + 'static>(
        &self,
        acquire: impl Future<Output = Result<G>> + Send + 'static,
    ) -> JoinHandle<G> {
        let before = self.waiters();
        let task = go(async move { acquire.await.expect("a hold") });
        self.queued(before + 1).await;
        task
    }

    /// Returns when nothing of any attempt is left: no hold, no place, no mark. Tombstones may be.
    ///
    /// # Panics
    /// If something stays.
    pub async fn settled(&self) {
        self.settled_within(self.distance.scaled(Duration::from_secs(10)))
            .await;
    }

    /// The same with a limit; zero: now.
    ///
    /// # Panics
    /// If something is left.
    pub async fn settled_within(&self, within: Duration) {
        let over = Instant::now() + within;
        loop {
            let mut left = self.members();
            left.retain(|(_, score)| *score < HOLDERS.end);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < over, "left in {}: {left:?}", self.key());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Checks that every key below the prefix has a TTL.
    ///
    /// # Panics
    /// If one has none.
    pub fn check_leftovers(&self) {
        let left = self.server.leftovers(&self.prefix).expect("the server answers");
        assert!(left.is_empty(), "keys without a TTL: {left:?}");
    }

    /// What must be true after every test: nothing of any attempt is left, and every key has a TTL.
    ///
    /// # Panics
    /// If it is not.
    pub async fn over(&self) {
        self.settled().await;
        self.check_leftovers();
    }
}
