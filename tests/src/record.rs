//! A primitive's record as the server has it, and acquires that are known to wait in it.

use latchwork_core::Result;
use latchwork_testkit::TestServer;
use tokio::task::JoinHandle;

use crate::{Place, eventually, go};

/// A lease that no pause of a busy machine outlasts: for holds that have to survive, and for counts without renewals.
pub const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// Where holders begin among the scores, and tombstones.
const HOLDERS: std::ops::Range<f64> = 1e12..1e14;

/// The record of one primitive: its sorted set.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    server: &'a TestServer,
    key: String,
}

impl<'a> Place<'a> {
    /// The record of the primitive of this kind (`lock`, `rwlock`, `semaphore`) and name.
    pub fn record(&self, kind: &str, name: &str) -> Record<'a> {
        Record {
            server: self.server,
            key: format!("{}:{kind}:{{{name}}}", self.prefix),
        }
    }
}

impl Record<'_> {
    /// Its members with their scores.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn scores(&self) -> Vec<(String, f64)> {
        let dump = self.server.dump_zset(&self.key).expect("a dump");
        dump.into_iter()
            .map(|(member, score)| (member, score.parse().expect("a number")))
            .collect()
    }

    fn count(&self, wanted: impl Fn(f64) -> bool) -> usize {
        self.scores().iter().filter(|(_, score)| wanted(*score)).count()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.count(|score| score < 0.0)
    }

    /// How many hold, those whose time is over and whom nobody has removed yet included.
    pub fn holders(&self) -> usize {
        self.count(|score| HOLDERS.contains(&score))
    }

    /// The members that are no waiters, holders or tombstones, without the token's.
    pub fn marks(&self) -> Vec<String> {
        let all = self.scores().into_iter();
        all.filter(|(member, score)| (0.0..HOLDERS.start).contains(score) && member != "t1")
            .map(|(member, _)| member)
            .collect()
    }

    /// Returns when so many wait.
    pub async fn queued(&self, count: usize) {
        eventually(&format!("{count} wait"), || self.waiters() == count).await;
    }

    /// Starts an acquire in a task of its own, and comes back when it waits behind those who wait already.
    ///
    /// # Panics
    /// If it does not come to wait. The task does if it fails.
    pub async fn queue<G: Send + 'static>(
        &self,
        acquire: impl Future<Output = Result<G>> + Send + 'static,
    ) -> JoinHandle<G> {
        let before = self.waiters();
        let task = go(async move { acquire.await.expect("a hold") });
        self.queued(before + 1).await;
        task
    }

    /// Waits until nothing of any attempt is left but tombstones: no hold, no place, no mark.
    pub async fn settled(&self) {
        eventually("nothing is left in the record", || {
            let all = self.scores();
            all.iter()
                .all(|(member, score)| member == "t1" || *score >= HOLDERS.end)
        })
        .await;
    }
}
