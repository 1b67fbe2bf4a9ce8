//! How far a grant has to get before its guard is handed out.

use std::time::Duration;

/// How far a grant has to get before its guard is handed out.
///
/// A server acknowledges a grant when it is in its memory. If the server dies in that moment, the
/// grant may be lost, and somebody else may get the lock although its holder still believes in it.
/// With [`Replicas`](Self::Replicas) or [`Fsync`](Self::Fsync), the client waits until the grant is
/// in more places. If that takes longer than `within`, it releases the hold and returns
/// [`ErrorKind::NotDurable`](crate::ErrorKind::NotDurable).
///
/// | | the guard is handed out when the grant is | it then survives |
/// |---|---|---|
/// | [`Primary`](Self::Primary) | in the memory of the server | the end of every client |
/// | [`Replicas`](Self::Replicas) | in the memory of `n` replicas as well | a failover to one of these replicas |
/// | [`Fsync`](Self::Fsync) | on the disk of the server as well | a crash of the server's machine, if the same disk is used again |
///
/// Only the grant is waited for. Releases are not, nor are renewals: a hold whose renewal is lost
/// ends earlier at the new server, and its holder learns that when the client has connected there.
/// Nobody says which replica is promoted: the grant surely survives a failover only if `n` is the
/// number of all replicas that may be promoted. `docs/safety.md` has the details, and
/// `docs/operations.md` the costs.
///
/// It is an option of each lock and semaphore, because some need it and others have to be fast.
/// [`ClientBuilder::durability`](crate::ClientBuilder::durability) is the default of a client's
/// handles.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use latchwork_core::Durability;
///
/// let two = Durability::Replicas { n: 2, within: Duration::from_millis(500) };
/// assert_ne!(two, Durability::Primary);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The server has acknowledged the grant. This costs nothing.
    #[default]
    Primary,
    /// At least `n` replicas have the grant, too (`WAIT`).
    Replicas {
        /// How many: 1 to 1000.
        n: u32,
        /// How long to wait for them, from the grant on: 1 ms to 60 s.
        within: Duration,
    },
    /// The grant is in the append-only file of the server, on disk (`WAITAOF`): Redis from 7.2 on.
    ///
    /// With `appendfsync everysec` a grant takes up to a second longer, and the first ones of a
    /// client up to three, because the client first checks that the server answers when the file is
    /// on disk, and not before. A server that does not, has no append-only file, or does not show
    /// its setting `appendfsync` is refused with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    Fsync {
        /// How long to wait for it, from the grant on: 1 ms to 60 s.
        within: Duration,
    },
}

/// How far a grant had got when its guard was handed out.
///
/// # Examples
/// ```
/// use latchwork_core::Reached;
///
/// fn is_safe_from_a_failover(reached: Reached, replicas: u32) -> bool {
///     matches!(reached, Reached::Replicas(n) if n >= replicas)
/// }
/// assert!(!is_safe_from_a_failover(Reached::Primary, 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// The server has acknowledged it.
    Primary,
    /// That many replicas had it, too. There may be more than were asked for.
    Replicas(u32),
    /// It was on the disk of the server, too.
    Disk,
}
