//! One attempt, as its id describes it.

/// Which holds an attempt is related to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    None,
    /// Those of this owner.
    Owner(String),
    /// The hold with this id, which it is to make exclusive.
    Base(String),
}

/// One attempt. Its id says everything about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) count: i64,
    pub(crate) kin: Kin,
    pub(crate) weight: i64,
    pub(crate) lease: i64,
    pub(crate) window: i64,
}

impl Attempt {
    pub(crate) fn new(client: usize, count: u64, weight: i64, lease: i64, window: i64) -> Self {
        Self::made(client, count, weight, (lease, window), Kin::None, "")
    }

    /// One of an owner's.
    pub(crate) fn owned(
        client: usize,
        count: u64,
        owner: usize,
        weight: i64,
        lease: i64,
        window: i64,
    ) -> Self {
        let owner = format!("Owner{owner:011}");
        let tag = format!("@{owner}");
        Self::made(client, count, weight, (lease, window), Kin::Owner(owner), &tag)
    }

    /// The upgrade of a hold of the same client to everything there is.
    pub(crate) fn upgrade(base: &Self, count: u64, capacity: i64) -> Self {
        let client = base.id[6..22].parse().unwrap();
        let tag = format!("^{}-{}", base.count, base.weight);
        let kin = Kin::Base(base.id.clone());
        Self::made(client, count, capacity, (base.lease, base.window), kin, &tag)
    }

    fn made(
        client: usize,
        count: u64,
        weight: i64,
        (lease, window): (i64, i64),
        kin: Kin,
        tag: &str,
    ) -> Self {
        Self {
            id: format!("Client{client:016}.{count}{tag}:{weight}:{lease}:{window}"),
            count: i64::try_from(count).unwrap(),
            kin,
            weight,
            lease,
            window,
        }
    }

    /// The client's part of the id, and the rest.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.id.split_at(22)
    }

    pub(crate) fn owner(&self) -> Option<&str> {
        match &self.kin {
            Kin::Owner(owner) => Some(owner),
            _ => None,
        }
    }

    pub(crate) fn base(&self) -> Option<&str> {
        match &self.kin {
            Kin::Base(base) => Some(base),
            _ => None,
        }
    }
}
