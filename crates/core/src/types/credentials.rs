//! A user and password that a program fetches when they are needed.

use std::fmt;
use std::time::Duration;

/// A user and password, and how long they are good for: what a provider returns. See
/// [`ClientBuilder::credentials`](crate::ClientBuilder::credentials).
#[derive(Clone)]
#[must_use = "return it from the provider"]
pub struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: String,
    pub(crate) good_for: Option<Duration>,
}

impl Credentials {
    /// This password (or token) of the server's default user.
    pub fn password(password: impl Into<String>) -> Self {
        Self {
            username: None,
            password: password.into(),
            good_for: None,
        }
    }

    /// This user and password, or token.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: Some(username.into()),
            ..Self::password(password)
        }
    }

    /// How long they are good for, counted from when the provider was asked. At half of it, the
    /// client asks again, but not within 100 ms, and shows the new ones to the server. Defaults to
    /// forever: then the provider is only asked before each connection.
    pub const fn good_for(mut self, time: Duration) -> Self {
        self.good_for = Some(time);
        self
    }
}

impl fmt::Debug for Credentials {
    // Never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("good_for", &self.good_for)
            .finish_non_exhaustive()
    }
}
