//! Why a request has no answer.

use crate::connection::address::Address;
use crate::types::error::{Error, ErrorKind};

/// What a node of a cluster says instead of running a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// Another node has the slot.
    Moved { slot: u16, to: Address },
    /// The slot is moving, and its target has the key, or would have it.
    Ask(Address),
    /// The slot is moving, and the target has some of the keys.
    TryAgain,
    /// The node cannot serve the slot: it has just lost it, or the cluster is down.
    Down,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The script may have run, or may run later.
    pub(crate) unknown: bool,
    /// Another try may work.
    pub(crate) passing: bool,
    /// The script did not run, or changed nothing.
    pub(crate) untouched: bool,
    /// A node of a cluster says who can.
    pub(crate) redirect: Option<Box<Redirect>>,
}

impl Failure {
    pub(crate) const fn refused(error: Error) -> Self {
        Self {
            error,
            unknown: false,
            passing: false,
            untouched: false,
            redirect: None,
        }
    }

    /// A refusal before the script ran, if `untouched`.
    pub(crate) const fn untouched(mut self, untouched: bool) -> Self {
        self.untouched = untouched;
        self
    }

    /// It was not run: this is what the node says instead.
    pub(crate) fn redirected(mut self, redirect: Redirect) -> Self {
        self.redirect = Some(Box::new(redirect));
        self
    }

    /// Some keys of the request have moved, and some have not.
    pub(crate) fn is_split(&self) -> bool {
        self.redirect.as_deref() == Some(&Redirect::TryAgain)
    }

    pub(crate) const fn passing(error: Error) -> Self {
        Self {
            error,
            unknown: false,
            passing: true,
            untouched: false,
            redirect: None,
        }
    }

    pub(crate) const fn unknown(error: Error) -> Self {
        Self {
            error,
            unknown: true,
            passing: true,
            untouched: false,
            redirect: None,
        }
    }

    /// The server does not know the script, so it did not run.
    pub(crate) fn no_script() -> Self {
        Self::passing(Error::new(ErrorKind::Unavailable, NO_SCRIPT))
    }

    pub(crate) fn is_no_script(&self) -> bool {
        self.passing && !self.unknown && self.error.message() == NO_SCRIPT
    }
}

const NO_SCRIPT: &str = "the server does not know the script";
