//! Moving a slot to another master, step by step.

use super::{ClusterNode, TestCluster};
use crate::builder::{REPLICA_PASSWORD, REPLICA_USER};
use crate::error::Error;
use crate::resp::Reply;

/// How long one key may take, in milliseconds.
const KEY_LIMIT: &str = "5000";
/// How many keys are asked for at a time.
const PAGE: usize = 100;

/// A slot on its way to another master. Every step returns when the servers have done it; a test
/// may stop after any of them. Nothing happens when this is dropped.
#[derive(Debug)]
#[must_use = "nothing moves until `open`"]
pub struct Migration<'a> {
    cluster: &'a TestCluster,
    slot: u16,
    source: &'a ClusterNode,
    target: &'a ClusterNode,
}

impl TestCluster {
    /// Prepares moving a slot to another master. The steps are those of [`Migration`], in the order
    /// in which they are documented.
    ///
    /// # Errors
    /// No node knows the slot's master, or it is `to` already.
    pub fn migrate<'a>(&'a self, slot: u16, to: &'a ClusterNode) -> Result<Migration<'a>, Error> {
        let source = self.master_of(slot)?;
        if source == to {
            return Err(to.blame(&format!("it has slot {slot} already")));
        }
        Ok(Migration {
            cluster: self,
            slot,
            source,
            target: to,
        })
    }

    /// Moves a slot and all its keys, and returns when all nodes that are awake know it.
    ///
    /// # Errors
    /// As the steps of [`Migration`].
    pub fn migrate_slot(&self, slot: u16, to: &ClusterNode) -> Result<(), Error> {
        let migration = self.migrate(slot, to)?;
        migration.open()?;
        migration.move_keys()?;
        migration.assign_target()?;
        migration.assign_source()?;
        migration.assign_others()
    }

    /// Whether [`atomic_migrate`](Self::atomic_migrate) works here: Valkey 9.0 and later.
    pub fn has_atomic_migration(&self) -> bool {
        let can = |node: &ClusterNode| node.version().name == "Valkey" && node.version().is_at_least(9, 0);
        self.nodes().iter().all(can)
    }

    /// `CLUSTER MIGRATESLOTS`: moves a slot with its keys in one step, without `ASK`. Returns when
    /// all nodes that are awake know it.
    ///
    /// # Errors
    /// The server is not Valkey 9.0 or later, or it does not happen in 30 s.
    pub fn atomic_migrate(&self, slot: u16, to: &ClusterNode) -> Result<(), Error> {
        let number = slot.to_string();
        let slots = ["SLOTSRANGE", &number, &number, "NODE", to.id()];
        let source = self.master_of(slot)?;
        source.admin(&[&["CLUSTER", "MIGRATESLOTS"], &slots[..]].concat())?;
        self.wait_owner(slot, to)
    }
}

impl Migration<'_> {
    /// The node that has the slot.
    pub fn source(&self) -> &ClusterNode {
        self.source
    }

    /// The node that gets it.
    pub fn target(&self) -> &ClusterNode {
        self.target
    }

    /// 1: `IMPORTING` on the target, `MIGRATING` on the source. From now on the source answers
    /// `ASK` for keys that it does not have.
    ///
    /// # Errors
    /// A node refuses.
    pub fn open(&self) -> Result<(), Error> {
        self.set(self.target, "IMPORTING", self.source)?;
        self.set(self.source, "MIGRATING", self.target)
    }

    /// 2: moves all keys of the slot, and returns how many there were.
    ///
    /// # Errors
    /// A node refuses.
    pub fn move_keys(&self) -> Result<usize, Error> {
        let mut moved = 0;
        loop {
            let keys = self.keys_left()?;
            if keys.is_empty() {
                return Ok(moved);
            }
            for key in &keys {
                self.move_key(key)?;
            }
            moved += keys.len();
        }
    }

    /// A part of 2: moves one key with `MIGRATE`.
    ///
    /// # Errors
    /// A node refuses. A key that does not exist is no error.
    pub fn move_key(&self, key: &str) -> Result<(), Error> {
        let port = self.target.tls_port().unwrap_or_else(|| self.target.port());
        let port = port.to_string();
        let to = ["127.0.0.1", &port, key, "0", KEY_LIMIT];
        let auth = ["AUTH2", REPLICA_USER, REPLICA_PASSWORD];
        let request = [&["MIGRATE"], &to[..], &auth[..]].concat();
        self.source.admin(&request).map(drop)
    }

    /// The keys of the slot that are still on the source, at most 100 of them.
    ///
    /// # Errors
    /// The source does not answer.
    pub fn keys_left(&self) -> Result<Vec<String>, Error> {
        let (slot, page) = (self.slot.to_string(), PAGE.to_string());
        let keys = self.source.admin(&["CLUSTER", "GETKEYSINSLOT", &slot, &page])?;
        Ok(keys.items().iter().filter_map(Reply::text).collect())
    }

    /// 3: `NODE` on the target, which serves the slot from now on, and tells the others by itself,
    /// the source too.
    ///
    /// # Errors
    /// The target refuses.
    pub fn assign_target(&self) -> Result<(), Error> {
        self.set(self.target, "NODE", self.target)
    }

    /// 4: `NODE` on the source, which answers `MOVED` from now on.
    ///
    /// # Errors
    /// The source refuses, as when keys are left there.
    pub fn assign_source(&self) -> Result<(), Error> {
        self.set(self.source, "NODE", self.target)
    }

    /// 5: `NODE` on all other masters. Returns when all nodes that are awake know the new owner.
    ///
    /// # Errors
    /// A node refuses, or has not heard of it after 30 s.
    pub fn assign_others(&self) -> Result<(), Error> {
        for node in self.cluster.awake() {
            if node != self.source && node != self.target && node.is_master()? {
                self.set(node, "NODE", self.target)?;
            }
        }
        self.cluster.wait_owner(self.slot, self.target)
    }

    /// `STABLE` on both, in place of 3: the slot stays where it is. Keys that have moved are not
    /// moved back.
    ///
    /// # Errors
    /// A node refuses.
    pub fn abort(&self) -> Result<(), Error> {
        for node in [self.target, self.source] {
            let slot = self.slot.to_string();
            node.admin(&["CLUSTER", "SETSLOT", &slot, "STABLE"])?;
        }
        Ok(())
    }

    fn set(&self, node: &ClusterNode, what: &str, whom: &ClusterNode) -> Result<(), Error> {
        let slot = self.slot.to_string();
        let reply = node.admin(&["CLUSTER", "SETSLOT", &slot, what, whom.id()]);
        reply.map(drop).map_err(|error| error.context(&node.name()))
    }
}
