//! What is known of an outage: why there is no usable connection, and for how long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::Moment;
use crate::types::error::{Error, ErrorKind};

/// What is known of the present outage, or of the last one.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Why there is no connection, or no usable one, since the last answer.
    cause: Mutex<Option<(ErrorKind, String)>>,
    has_cause: AtomicBool,
    /// When the connection was lost, in nanoseconds of a `Moment`.
    since: AtomicU64,
    /// After that long without a connection, calls fail at once.
    fail_fast: Option<Duration>,
}

impl Outage {
    pub(crate) fn new(fail_fast: Option<Duration>) -> Self {
        Self {
            fail_fast,
            ..Self::default()
        }
    }

    /// The connection is lost. `lasted`: it was a good one, so this outage is a new one.
    pub(crate) fn begin(&self, lasted: bool) {
        if lasted || self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(Moment::now().nanos(), Ordering::Relaxed);
        }
    }

    /// Remembers why there is no connection, for the errors of requests that wait for one.
    pub(crate) fn note(&self, why: &Error) {
        // The options worked before: it is the server that has changed.
        let kind = match why.kind() {
            ErrorKind::Invalid => ErrorKind::Unsupported,
            kind => kind,
        };
        let cause = (kind, format!("{why:?}"));
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
        self.has_cause.store(true, Ordering::Release);
    }

    /// What is known to be wrong, as an error of its kind.
    pub(crate) fn cause(&self) -> Option<Error> {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cause.map(|(kind, text)| Error::new(kind, format!("no connection to the server: {text}")))
    }

    /// The error of a request that finds no connection.
    pub(crate) fn error(&self) -> Error {
        self.cause()
            .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "no connection to the server"))
    }

    /// The server has answered: nothing is wrong.
    pub(crate) fn answered(&self) {
        if self.has_cause.load(Ordering::Relaxed) {
            self.has_cause.store(false, Ordering::Relaxed);
            *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// When calls begin to fail at once, if there is still no connection by then.
    pub(crate) fn fails_fast_at(&self) -> Option<Moment> {
        let since = Moment::from_nanos(self.since.load(Ordering::Relaxed));
        self.fail_fast.map(|limit| since + limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_do_not_last_are_one_outage() {
        let outage = Outage::new(Some(Duration::from_secs(1)));
        outage.begin(true);
        let first = outage.fails_fast_at();
        outage.begin(false);
        assert_eq!(outage.fails_fast_at(), first, "the same");
        std::thread::sleep(Duration::from_millis(1));
        outage.begin(true);
        assert!(outage.fails_fast_at() > first, "another one");
        assert!(Outage::new(None).fails_fast_at().is_none(), "not by default");
    }

    #[test]
    fn an_answer_is_the_end_of_a_cause() {
        let outage = Outage::default();
        outage.note(&Error::new(ErrorKind::Denied, "wrong password"));
        assert_eq!(outage.error().kind(), ErrorKind::Denied, "the kind says it");
        outage.answered();
        assert_eq!(outage.error().kind(), ErrorKind::Unavailable, "nothing is known");
    }

    #[test]
    fn options_that_worked_before_are_not_called_invalid() {
        let outage = Outage::default();
        outage.note(&Error::invalid("no such database"));
        assert_eq!(
            outage.error().kind(),
            ErrorKind::Unsupported,
            "the server has changed"
        );
    }
}
