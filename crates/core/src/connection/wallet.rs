//! Asks the program's provider for credentials, and keeps them for half of the time that they are
//! good for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::base::clock::{Moment, until};
use crate::types::credentials::Credentials;
use crate::types::error::{Error, ErrorKind, Result};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Fetching = Pin<Box<dyn Future<Output = std::result::Result<Credentials, BoxError>> + Send>>;

/// How long a provider may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program's provider, and what it gave last. All connections of a client share it.
#[derive(Clone)]
pub(crate) struct Wallet(Arc<Inner>);

struct Inner {
    provider: Box<dyn Fn() -> Fetching + Send + Sync>,
    last: tokio::sync::Mutex<Option<Fetched>>,
}

/// However short the time is, it is not asked more often than that.
const LEAST: Duration = Duration::from_millis(100);

/// What the provider gave.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) credentials: Credentials,
    /// When to ask for others.
    pub(crate) renew_at: Moment,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").finish_non_exhaustive()
    }
}

impl Wallet {
    pub(crate) fn new<E, F>(provider: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::result::Result<Credentials, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let provider = Box::new(move || -> Fetching {
            let fetching = provider();
            Box::pin(async move { fetching.await.map_err(Into::into) })
        });
        let last = tokio::sync::Mutex::new(None);
        Self(Arc::new(Inner { provider, last }))
    }

    /// What the provider gives now, or gave less than half of its time ago. Who asks at the same
    /// time gets the same.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "the lock is for the whole request"
    )]
    pub(crate) async fn get(&self) -> Result<Fetched> {
        let over = Moment::now() + PATIENCE;
        let fetching = async {
            let mut last = self.0.last.lock().await;
            if let Some(last) = last.as_ref().filter(|last| Moment::now() < last.renew_at) {
                return Ok(last.clone());
            }
            *last = None;
            let asked = Moment::now();
            // In a task of its own, so that a panic of the program's code ends nothing else.
            let mut task = JoinSet::new();
            let inner = Arc::clone(&self.0);
            task.spawn(async move { (inner.provider)().await });
            let credentials = match task.join_next().await {
                Some(result) => result??,
                None => return Err("nobody asked it".into()),
            };
            let fetched = Fetched {
                renew_at: credentials
                    .good_for
                    .map_or(Moment::NEVER, |time| asked + (time / 2).max(LEAST)),
                credentials,
            };
            // Without a time, they are asked for anew by the next connection.
            if fetched.renew_at < Moment::NEVER {
                *last = Some(fetched.clone());
            }
            Ok::<_, BoxError>(fetched)
        };
        match until(over, None, fetching).await {
            Some(Ok(fetched)) => Ok(fetched),
            Some(Err(error)) => {
                let failed = Error::new(ErrorKind::Credentials, "the provider of credentials failed");
                Err(failed.caused_by(error))
            }
            None => {
                let text = format!("the provider of credentials took longer than {PATIENCE:?}");
                Err(Error::new(ErrorKind::Credentials, text))
            }
        }
    }

    /// The server did not accept what was fetched last: the next connection asks anew.
    pub(crate) async fn discard(&self) {
        *self.0.last.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_good_for_no_time_is_not_asked_for_without_a_pause() {
        let wallet = Wallet::new(async || {
            Ok::<_, std::io::Error>(Credentials::password("secret").good_for(Duration::ZERO))
        });
        let asked = Moment::now();
        let fetched = wallet.get().await.expect("credentials");
        assert!(fetched.renew_at >= asked + LEAST, "a pause");
    }
}
