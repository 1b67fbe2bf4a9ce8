//! Another master for a slot: commanded, or noticed.

use std::time::{Duration, Instant};

use super::{ClusterNode, TestCluster};
use crate::error::Error;
use crate::wait::wait_for;

/// After this a server has given up a commanded failover (5 s), and it is commanded again.
const COMMAND_AGAIN: Duration = Duration::from_secs(6);

impl TestCluster {
    /// `CLUSTER FAILOVER` on a replica of the slot: nothing is lost. Returns the new master when
    /// all nodes that are awake know it.
    ///
    /// # Errors
    /// There is no replica, or none is promoted in 30 s.
    pub fn failover(&self, slot: u16) -> Result<&ClusterNode, Error> {
        self.command(slot, &[])
    }

    /// `CLUSTER FAILOVER FORCE`, which does not ask the old master: it may be dead or frozen, and
    /// what the replica does not have is lost. The other masters have to agree.
    ///
    /// # Errors
    /// As [`failover`](Self::failover).
    pub fn failover_force(&self, slot: u16) -> Result<&ClusterNode, Error> {
        self.command(slot, &["FORCE"])
    }

    /// `CLUSTER FAILOVER TAKEOVER`, which asks nobody.
    ///
    /// Not soon after another failover of the same slot: a node of Redis 7.0 that loses the slot by
    /// a takeover still counts the votes of its own last election, and may claim the slot later
    /// with an epoch that nobody accepts.
    ///
    /// # Errors
    /// As [`failover`](Self::failover).
    pub fn failover_takeover(&self, slot: u16) -> Result<&ClusterNode, Error> {
        self.command(slot, &["TAKEOVER"])
    }

    fn command(&self, slot: u16, how: &[&str]) -> Result<&ClusterNode, Error> {
        let master = self.master_of(slot)?;
        let replicas = self.replicas_of(master)?;
        let replica = replicas
            .into_iter()
            .find(|node| node.is_awake())
            .ok_or_else(|| master.blame("it has no replica that is awake"))?;
        let mut sent: Option<Instant> = None;
        wait_for("failing over", || {
            if sent.is_none_or(|sent| sent.elapsed() > COMMAND_AGAIN) && !replica.serves(slot)? {
                replica.admin(&[&["CLUSTER", "FAILOVER"], how].concat())?;
                sent = Some(Instant::now());
            }
            self.check_owner(slot, replica)
        })?;
        Ok(replica)
    }

    /// Waits until a node other than `old` serves the slot, and returns it: it is promoted and
    /// takes writes. Other nodes may not know it yet.
    ///
    /// # Errors
    /// None is promoted in 30 s.
    pub fn wait_promoted(&self, slot: u16, old: &ClusterNode) -> Result<&ClusterNode, Error> {
        wait_for("waiting for a promotion", || {
            for node in self.awake().into_iter().filter(|node| *node != old) {
                if node.serves(slot)? {
                    return Ok(node);
                }
            }
            Err(old.blame(&format!("no other node serves slot {slot}")))
        })
    }

    /// Waits until every node that is awake takes `owner` for the master of the slot.
    ///
    /// # Errors
    /// They do not in 30 s.
    pub fn wait_owner(&self, slot: u16, owner: &ClusterNode) -> Result<(), Error> {
        wait_for("waiting for a new owner", || self.check_owner(slot, owner))
    }

    fn check_owner(&self, slot: u16, owner: &ClusterNode) -> Result<(), Error> {
        for node in self.awake() {
            let view = node.view()?;
            if !view.iter().any(|peer| peer.id == owner.id && peer.owns(slot)) {
                return Err(node.blame(&format!("{} is not its owner of slot {slot}", owner.name())));
            }
        }
        if owner.serves(slot)? {
            return Ok(());
        }
        Err(owner.blame(&format!("it does not serve slot {slot}")))
    }
}
