//! Grants that wait until they are at replicas, or on disk: handed over to a task for each node.
//!
//! Here is only who waits, and where. `tasks/lane.rs` sends, and `ops/held/secure.rs` waits.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::attempt::Attempt;
use crate::base::clock::Moment;
use crate::connection::failure::Failure;
use crate::connection::node::Node;
use crate::connection::witness::Want;
use crate::types::error::Error;

/// A grant that waits.
pub(crate) struct Call {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) token: u64,
    /// When the time is up.
    pub(crate) until: Moment,
    /// Its slot is moving to the node of this lane.
    pub(crate) asking: bool,
    /// It has to be asked for at another node.
    pub(crate) is_elsewhere: bool,
    /// Why it was not written.
    pub(crate) refused: Option<Failure>,
    /// The number of the connection on which it was written.
    pub(crate) written: u64,
    /// How far it got.
    pub(crate) count: Option<u32>,
    /// What went wrong last.
    pub(crate) error: Option<Error>,
    pub(crate) done: oneshot::Sender<Outcome>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// That many have it.
    Met(u32),
    /// Fewer have it, and the time is up. `None`: nobody said how many.
    Short {
        count: Option<u32>,
        error: Option<Error>,
    },
    /// The server does not have it any longer.
    Lost,
    /// This cannot be had.
    Refused(Error),
}

/// The calls for one node that wait for the same: they share requests.
pub(crate) struct Lane {
    pub(crate) node: Arc<Node>,
    pub(crate) want: Want,
    pub(crate) calls: mpsc::UnboundedReceiver<Call>,
}

type Key = (usize, Want);

fn key(node: &Arc<Node>, want: Want) -> Key {
    (Arc::as_ptr(node).addr(), want)
}

/// All lanes of a client. There are none until somebody needs one.
#[derive(Default)]
pub(crate) struct Lanes {
    open: Mutex<HashMap<Key, mpsc::UnboundedSender<Call>>>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("open", &self.open().len()).finish()
    }
}

impl Lanes {
    fn open(&self) -> MutexGuard<'_, HashMap<Key, mpsc::UnboundedSender<Call>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a call over to the lane of its node. Returns the lane if it is new: somebody has to
    /// run it.
    #[must_use]
    pub(crate) fn enter(&self, node: &Arc<Node>, want: Want, call: Call) -> Option<Lane> {
        let mut open = self.open();
        let back = match open.get(&key(node, want)) {
            None => call,
            Some(lane) => match lane.send(call) {
                Ok(()) => return None,
                Err(back) => back.0,
            },
        };
        // There is none, or whoever ran it has ended.
        let (lane, calls) = mpsc::unbounded_channel();
        let call = lane.send(back);
        open.insert(key(node, want), lane);
        drop(open);
        debug_assert!(call.is_ok(), "the receiver is here");
        Some(Lane {
            node: Arc::clone(node),
            want,
            calls,
        })
    }

    /// Closes a lane that nobody uses. Returns a call that has come in this moment.
    pub(crate) fn leave(&self, lane: &mut Lane) -> Option<Call> {
        let mut open = self.open();
        if let Ok(call) = lane.calls.try_recv() {
            return Some(call);
        }
        open.remove(&key(&lane.node, lane.want));
        None
    }
}
