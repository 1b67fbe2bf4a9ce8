//! What has to be true of every record after every script, whatever the model says.

use std::collections::BTreeSet;

use crate::dump::Dump;

/// What an id says: owner and weight.
fn read(id: &str) -> (Option<&str>, i64) {
    let mut parts = id[22..].split(':');
    let owner = parts.next().and_then(|head| head.split_once('@'));
    let weight = parts.next().and_then(|weight| weight.parse().ok());
    (owner.map(|(_, owner)| owner), weight.unwrap_or(0))
}

fn require(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

impl Dump {
    /// `capacity` is 0 if it is counted: then nobody is exclusive.
    pub(crate) fn check(&self, capacity: i64) -> Result<(), String> {
        let is_exclusive = |id: &String| capacity > 0 && read(id).1 >= capacity;
        let alone = |id: &&String| is_exclusive(id) || self.upgraded.contains_key(*id);
        for id in self.holds.keys().filter(alone) {
            let owner = read(id).0;
            let mut others = self.holds.keys().filter(|other| *other != id);
            let together = others.all(|other| owner.is_some() && read(other).0 == owner);
            require(together, "an exclusive hold is not alone")?;
        }
        let has = |id: &String| match (self.weights.get(id), self.upgraded.contains_key(id)) {
            (Some(weight), _) => *weight,
            (None, true) => capacity,
            (None, false) => read(id).1,
        };
        let shared = self.holds.keys().filter(|id| !is_exclusive(id));
        let sum = shared.map(has).sum::<i64>();
        require(
            self.shared.unwrap_or(0) == sum,
            "`u` is not what shared holds have",
        )?;
        let holds = |id: &String| self.holds.contains_key(id);
        require(self.extended.keys().all(holds), "`x` without a hold")?;
        require(self.upgraded.keys().all(holds), "`p` without a hold")?;
        require(self.weights.keys().all(holds), "`w` without a hold")?;
        require(
            !self.upgraded.keys().any(is_exclusive),
            "an exclusive hold was upgraded",
        )?;
        require(
            self.next.is_some() != self.queue.is_empty(),
            "`q` is there exactly when somebody waits",
        )?;
        require(
            self.since.is_none() || !self.queue.is_empty(),
            "`s` and nobody waits",
        )?;
        self.check_tickets()
    }

    fn check_tickets(&self) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        let mut owners = BTreeSet::new();
        for (id, ticket) in &self.tickets {
            let Some(owner) = read(id).0 else {
                require(taken.insert(*ticket), "a ticket is shared")?;
                continue;
            };
            let mark = self.marks.get(owner);
            require(mark == Some(ticket), "those of one owner stand apart")?;
            if owners.insert(owner) {
                require(taken.insert(*ticket), "a ticket is shared with an owner")?;
            }
        }
        require(owners.len() == self.marks.len(), "`o` and nobody waits")
    }
}
