//! How a client of a cluster gets its messages.

/// How a client of a cluster gets its messages.
///
/// A waiter is told of its grant by a message. [`Classic`](Self::Classic) is right for almost
/// everybody. Choose [`Sharded`](Self::Sharded) if so much is handed over in a large cluster that
/// the traffic between its nodes matters: `docs/operations.md` says how to reckon that.
///
/// | | `Classic` | `Sharded` |
/// |---|---|---|
/// | a message goes to | every node of the cluster | the node and the replicas of its slot |
/// | subscriptions | one | one for each name that is waited for, kept for a minute |
/// | the first wait for a name | no more requests | two more requests |
/// | while a slot is moving | nothing changes | waiters of its names poll, every 25 to 250 ms |
/// | `force_unlock` and `steal` reach a holder | at once | at once if its client has waited for the name; else at the next renewal |
/// | versions | all | Redis 7.0 and later, Valkey |
///
/// Clients with either are handed locks by each other. On one server, and with sentinels, it makes
/// no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Inbox {
    /// Publish and subscribe across all nodes.
    #[default]
    Classic,
    /// Sharded publish and subscribe (`SPUBLISH`).
    Sharded,
}
