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
    source: Option<Box<Cause>>,
}

/// What a cause says, and the cause of that.
#[derive(Debug)]
struct Cause {
    text: String,
    next: Option<Box<Self>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let next = self.next.as_deref()?;
        Some(next)
    }
}

/// The kinds of [`Error`].
///
/// # Every request
///
/// Any call that sends a request to the server can return these kinds. The section *Errors* of a
/// method refers to this list, and names the kinds that the method can return besides.
///
/// | kind | what happened | what to do |
/// |---|---|---|
/// | [`Unavailable`](Self::Unavailable) | there is no connection, or no usable answer in time | try again later |
/// | [`Closed`](Self::Closed) | the client was closed or is draining, or its runtime has ended | connect another client |
/// | [`Denied`](Self::Denied) | access control refuses a command, key or channel, or the password | grant what the text names |
/// | [`ReadOnly`](Self::ReadOnly) | the server is a replica | connect to its primary |
/// | [`OutOfMemory`](Self::OutOfMemory) | the server's memory is full | free memory, or raise the limit |
/// | [`WrongType`](Self::WrongType) | the key holds foreign data, or a record of another version | choose another name or prefix |
/// | [`Unsupported`](Self::Unsupported) | the server does not know a command, or cannot be used at all | see the text |
/// | [`Tls`](Self::Tls) | the client cannot connect again, because of TLS | see the text |
/// | [`Credentials`](Self::Credentials) | the client cannot connect again, because its provider of credentials failed | see the text |
/// | [`Protocol`](Self::Protocol) | the answer is not of the protocol | check what runs at the address |
///
/// A client whose connection was lost connects again in the background. If that fails, calls return
/// the kind that says why, such as [`Denied`](Self::Denied) after the password was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name, duration, weight, option or URL that can never work. Found before anything was sent, except a token floor
    /// that is more than a day ahead of the server's clock, which the server refuses.
    Invalid,
    /// No usable answer came in time. The outcome is unknown, and the attempt is being undone.
    Unavailable,
    /// The client was closed, or the runtime that drives it has ended.
    Closed,
    /// The server is too old, is a node of a cluster, or does not know a command that is needed.
    /// When the client connects again, also: the server lacks the database of the URL.
    Unsupported,
    /// There is no connection with TLS: a certificate is not trusted, missing or for another host, or only one side uses
    /// TLS. The text has the cause.
    Tls,
    /// The program's provider of credentials failed, or took longer than 10 s. The text has its
    /// error.
    Credentials,
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
    /// A grant did not get as far in time as the handle's [`Durability`](crate::Durability) asks
    /// for. The text says how far it got. Nothing is held: the hold was released, or is being
    /// released in the background if the server did not answer.
    NotDurable,
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

    /// Keeps what the causes say that the message does not: each text once, however they are printed.
    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let (mut said, mut news) = (self.0.message.to_string(), Vec::new());
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*source);
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                said.push_str(&text);
                news.push(text);
            }
            cause = error.source();
        }
        let chain = |next, text| Some(Box::new(Cause { text, next }));
        self.0.source = news.into_iter().rev().fold(None, chain);
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
    ///
    /// | kind | transient |
    /// |---|---|
    /// | [`Invalid`](ErrorKind::Invalid) | no |
    /// | [`Unavailable`](ErrorKind::Unavailable) | yes |
    /// | [`Closed`](ErrorKind::Closed) | no |
    /// | [`Unsupported`](ErrorKind::Unsupported) | no |
    /// | [`Tls`](ErrorKind::Tls) | no |
    /// | [`Credentials`](ErrorKind::Credentials) | yes: the provider is asked again |
    /// | [`Denied`](ErrorKind::Denied) | no |
    /// | [`OutOfMemory`](ErrorKind::OutOfMemory) | yes: keys expire |
    /// | [`ReadOnly`](ErrorKind::ReadOnly) | yes: the client connects again, perhaps to the primary |
    /// | [`WrongType`](ErrorKind::WrongType) | no |
    /// | [`Protocol`](ErrorKind::Protocol) | no |
    /// | [`Lost`](ErrorKind::Lost) | no: acquire again, and do the work again |
    /// | [`QueueFull`](ErrorKind::QueueFull) | yes |
    /// | [`Mismatch`](ErrorKind::Mismatch) | no |
    /// | [`TooLarge`](ErrorKind::TooLarge) | no |
    /// | [`TooLate`](ErrorKind::TooLate) | yes |
    /// | [`NoSuchLatch`](ErrorKind::NoSuchLatch) | no: somebody has to create it |
    /// | [`Reset`](ErrorKind::Reset) | no |
    /// | [`NotDurable`](ErrorKind::NotDurable) | yes: replicas catch up |
    pub fn is_transient(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unavailable
                | ErrorKind::Credentials
                | ErrorKind::ReadOnly
                | ErrorKind::OutOfMemory
                | ErrorKind::QueueFull
                | ErrorKind::TooLate
                | ErrorKind::NotDurable
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
            write!(f, "{self}")?;
            let mut cause = self.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
            return Ok(());
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

/// The error of a token floor that the server refuses.
pub(crate) fn floor_ahead() -> Error {
    Error::invalid(
        "the token floor is more than a day ahead of the server's clock: is it really a fencing token of this server?",
    )
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

    /// All of them: the compiler complains here if there is another one.
    fn all() -> Vec<ErrorKind> {
        use ErrorKind as Kind;
        let next = |kind: Kind| match kind {
            Kind::Invalid => Some(Kind::Unavailable),
            Kind::Unavailable => Some(Kind::Closed),
            Kind::Closed => Some(Kind::Unsupported),
            Kind::Unsupported => Some(Kind::Tls),
            Kind::Tls => Some(Kind::Credentials),
            Kind::Credentials => Some(Kind::Denied),
            Kind::Denied => Some(Kind::OutOfMemory),
            Kind::OutOfMemory => Some(Kind::ReadOnly),
            Kind::ReadOnly => Some(Kind::WrongType),
            Kind::WrongType => Some(Kind::Protocol),
            Kind::Protocol => Some(Kind::Lost),
            Kind::Lost => Some(Kind::QueueFull),
            Kind::QueueFull => Some(Kind::Mismatch),
            Kind::Mismatch => Some(Kind::TooLarge),
            Kind::TooLarge => Some(Kind::TooLate),
            Kind::TooLate => Some(Kind::NoSuchLatch),
            Kind::NoSuchLatch => Some(Kind::Reset),
            Kind::Reset => Some(Kind::NotDurable),
            Kind::NotDurable => None,
        };
        std::iter::successors(Some(Kind::Invalid), |&kind| next(kind)).collect()
    }

    #[test]
    fn each_kind_is_transient_or_not_as_documented() {
        let documented: Vec<(&str, bool)> = include_str!("error.rs")
            .lines()
            .filter_map(|line| line.trim().strip_prefix("/// | [`"))
            .filter_map(|row| row.split_once("`](ErrorKind::"))
            .map(|(kind, rest)| {
                let (_, answer) = rest.split_once(" | ").expect("two columns");
                let is_yes = answer.starts_with("yes");
                assert!(is_yes || answer.starts_with("no"), "{kind}: {answer}");
                (kind, is_yes)
            })
            .collect();
        let found: Vec<(String, bool)> = all()
            .into_iter()
            .map(|kind| (format!("{kind:?}"), Error::new(kind, "").is_transient()))
            .collect();
        let documented: Vec<_> = documented
            .into_iter()
            .map(|(kind, is)| (kind.to_owned(), is))
            .collect();
        assert_eq!(found, documented, "every kind, in the order of the enum");
    }

    #[test]
    fn names_the_key() {
        let name = Name::new(b"a{b}\n").expect("a fine name");
        let error = Error::invalid("too bad").named(&name);
        assert_eq!(error.to_string(), r"`a{b}\n`: too bad", "escaped name");
    }

    /// The text and its causes, as `anyhow` prints them with `{:#}`.
    fn chain(error: &Error) -> String {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    #[test]
    fn shows_each_cause_once() {
        // Says what its cause says, and has it, as redis-rs's errors do.
        #[derive(Debug)]
        struct Twice(std::io::Error);
        impl fmt::Display for Twice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl StdError for Twice {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let cause = || Twice(std::io::Error::other("refused"));
        let unavailable = |text: &'static str| Error::new(ErrorKind::Unavailable, text);
        let inner = unavailable("no connection").caused_by(cause());
        let outer = format!("no answer ({inner}); given up");
        for (error, text) in [
            (unavailable("no connection: refused"), "no connection: refused"),
            (unavailable("no connection"), "no connection: refused"),
            (
                Error::new(ErrorKind::Unavailable, outer),
                "no answer (no connection); given up: refused",
            ),
        ] {
            let nested = text.starts_with("no answer");
            let error = if nested {
                error.caused_by(unavailable("no connection").caused_by(cause()))
            } else {
                error.caused_by(cause())
            };
            assert_eq!(format!("{error:?}"), text);
            assert_eq!(chain(&error), text);
        }
    }
}
