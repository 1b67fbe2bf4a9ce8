//! Why a request has no answer.

use crate::types::error::{Error, ErrorKind};

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
}

impl Failure {
    pub(crate) const fn refused(error: Error) -> Self {
        Self {
            error,
            unknown: false,
            passing: false,
            untouched: false,
        }
    }

    /// A refusal before the script ran, if `untouched`.
    pub(crate) const fn untouched(mut self, untouched: bool) -> Self {
        self.untouched = untouched;
        self
    }

    pub(crate) const fn passing(error: Error) -> Self {
        Self {
            error,
            unknown: false,
            passing: true,
            untouched: false,
        }
    }

    pub(crate) const fn unknown(error: Error) -> Self {
        Self {
            error,
            unknown: true,
            passing: true,
            untouched: false,
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
