//! One opaque error: what failed, for which name, what to do.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::types::loss::Loss;
use crate::types::name::Name;

/// `Result` with Latchwork's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, for which name, and what to do about it.
///
/// Match on [`kind`](Self::kind). The text is for people and may change between releases, as may the
/// [`source`](StdError::source).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    name: Option<Name>,
    message: Cow<'static, str>,
    loss: Option<Loss>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name, duration, weight, option or URL that can never work. Found before anything was sent.
    Invalid,
    /// No usable answer came in time. The outcome is unknown, and the attempt is being undone.
    Unavailable,
    /// The client was closed, or the runtime that drives it has ended.
    Closed,
    /// The server is too old, or refuses a command or mode that is needed.
    Unsupported,
    /// The server's access control refuses: the text names the command, key or channel right.
    Denied,
    /// The server's memory is full. Nothing was changed.
    OutOfMemory,
    /// The server is a replica, or writes are switched off.
    ReadOnly,
    /// The key holds foreign data, or a record of another schema version.
    WrongType,
    /// The server answered something that is not of the protocol.
    Protocol,
    /// The hold ended under its guard.
    Lost,
    /// The queue has as many waiters as it may have.
    QueueFull,
    /// The primitive was made with another capacity, count, rate or algorithm than this handle says. Nothing was changed.
    /// What a handle does instead is said by its [`OnMismatch`](crate::OnMismatch).
    Mismatch,
    /// More was asked for than there is, however long one waits. Nothing was changed.
    TooLarge,
    /// A slot of a rate limiter would come after the deadline, or further ahead than slots are reserved; or a permit of a
    /// semaphore with a rate could start only more than a period from now. Nothing was consumed.
    TooLate,
    /// Nobody has made a latch of this name, or it was forgotten. Nothing was changed.
    NoSuchLatch,
    /// The latch was reset: the generation that was waited for, or counted in, is over.
    Reset,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            name: None,
            message: message.into(),
            loss: None,
            source: None,
        }))
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A bad option that only the primitive knows of; for the shells.
    #[doc(hidden)]
    pub fn refused(message: impl Into<Cow<'static, str>>, name: &Name) -> Self {
        Self::invalid(message).named(name)
    }

    /// The error of a hold that has ended, for a [`Guard`](crate::dynamic::Guard) of your own.
    ///
    /// # Examples
    /// ```
    /// use latchwork_core::{Error, Loss};
    ///
    /// assert!(Error::lost(Loss::Expired).is_lost());
    /// ```
    pub fn lost(loss: Loss) -> Self {
        let mut error = Self::new(ErrorKind::Lost, loss.text());
        error.0.loss = Some(loss);
        error
    }

    /// An answer that only a wait with a deadline can have came without one; for the shells.
    #[doc(hidden)]
    pub fn no_deadline() -> Self {
        Self::new(
            ErrorKind::Protocol,
            "the server says busy to a wait without a deadline",
        )
    }

    pub(crate) fn named(mut self, name: &Name) -> Self {
        self.0.name.get_or_insert_with(|| name.clone());
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name of the primitive that it is about, if it is about one.
    pub fn name(&self) -> Option<&Name> {
        self.0.name.as_ref()
    }

    /// Whether the hold ended under its guard; [`loss`](Self::loss) says why.
    pub fn is_lost(&self) -> bool {
        self.0.kind == ErrorKind::Lost
    }

    /// Why the hold ended, if this error says so.
    pub fn loss(&self) -> Option<Loss> {
        self.0.loss
    }

    /// Whether trying again later may work without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unavailable
                | ErrorKind::ReadOnly
                | ErrorKind::OutOfMemory
                | ErrorKind::QueueFull
                | ErrorKind::TooLate
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.name {
            Some(name) => write!(f, "`{name}`: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

/// For people, as when `main` returns it: the text and its causes. `{:#?}` shows the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            let mut text = self.to_string();
            let mut cause = self.source();
            while let Some(error) = cause {
                let more = error.to_string();
                if !text.contains(&more) {
                    text = text + ": " + &more;
                }
                cause = error.source();
            }
            return f.write_str(&text);
        }
        let Inner {
            kind,
            name,
            message,
            loss,
            source,
        } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("name", name)
            .field("message", message)
            .field("loss", loss)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

/// The error of a key that is not a record of ours.
pub(crate) fn foreign() -> Error {
    Error::new(
        ErrorKind::WrongType,
        "its key holds foreign data, or a record of another version of Latchwork: choose another name, or do not mix versions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds<T: StdError + Send + Sync + 'static>() {}

    #[test]
    fn is_one_word_and_has_the_usual_bounds() {
        bounds::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>(), "one word");
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>(), "with a niche for Ok");
    }

    #[test]
    fn names_the_key() {
        let name = Name::new(b"a{b}\n").expect("a fine name");
        let error = Error::invalid("too bad").named(&name);
        assert_eq!(error.to_string(), r"`a{b}\n`: too bad", "escaped name");
    }

    #[test]
    fn shows_each_cause_once() {
        let cause = || std::io::Error::other("refused");
        let said = Error::new(ErrorKind::Unavailable, "no connection: refused").caused_by(cause());
        assert_eq!(format!("{said:?}"), "no connection: refused");
        let unsaid = Error::new(ErrorKind::Unavailable, "no connection").caused_by(cause());
        assert_eq!(format!("{unsaid:?}"), "no connection: refused");
    }
}
