//! Why a request has no answer.

use crate::types::error::Error;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The script may have run, or may run later.
    pub(crate) unknown: bool,
    /// Another try may work.
    pub(crate) passing: bool,
}

impl Failure {
    pub(crate) const fn refused(error: Error) -> Self {
        Self {
            error,
            unknown: false,
            passing: false,
        }
    }

    pub(crate) const fn passing(error: Error) -> Self {
        Self {
            error,
            unknown: false,
            passing: true,
        }
    }

    pub(crate) const fn unknown(error: Error) -> Self {
        Self {
            error,
            unknown: true,
            passing: true,
        }
    }
}
