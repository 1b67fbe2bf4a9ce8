//! Why an upgradable reader did not become the writer.

use std::fmt;

use latchwork_core::Error;
use latchwork_core::kit::{NotUpgraded, Shell};

use crate::guard::RwLockUpgradableReadGuard;

/// Why an upgradable reader did not become the writer. Holds the guard, unless that was lost.
///
/// Dropping it gives the share back.
#[derive(Debug)]
#[must_use = "it may hold the guard"]
pub struct UpgradeError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    guard: Option<RwLockUpgradableReadGuard>,
    error: Option<Error>,
}

impl UpgradeError {
    pub(crate) fn new(why: NotUpgraded) -> Self {
        Self(Box::new(Inner {
            guard: why.guard.map(RwLockUpgradableReadGuard::from_guard),
            error: why.error,
        }))
    }

    /// The guard as it was, unless the hold was lost.
    pub fn into_guard(self) -> Option<RwLockUpgradableReadGuard> {
        self.0.guard
    }

    /// Whether others read until the wait was over: nothing is wrong, and the guard is here.
    pub fn is_busy(&self) -> bool {
        self.0.error.is_none()
    }

    /// What went wrong, if it was not just busy.
    pub fn error(&self) -> Option<&Error> {
        self.0.error.as_ref()
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.error, &self.0.guard) {
            (Some(error), _) => error.fmt(f),
            (None, Some(guard)) => write!(f, "`{}`: not upgraded, others read", guard.name()),
            (None, None) => f.write_str("not upgraded, others read"),
        }
    }
}

impl std::error::Error for UpgradeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Its text is ours.
        std::error::Error::source(self.0.error.as_ref()?)
    }
}
