//! The handle of a limiter: asks, and minds whose rate counts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::base::clock::Moment;
use crate::ops::request::Wait;
use crate::rate::acquire::RateAcquire;
use crate::runtime::refunds::Pending;
use crate::tasks::client::Client;
use crate::types::error::foreign;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::name::Name;
use crate::types::rate::{Algorithm, Decision, Rate};
use crate::wire::key::key;
use crate::wire::request::Request;
use crate::wire::script;
use crate::wire::terms::{Said, Terms};

/// How often a request may find that the rate was changed, or come late, before the caller hears of it.
const ROUNDS: usize = 8;

/// A client, a name and a rate: what the handle of a limiter wraps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    name: Name,
    key: Arc<[u8]>,
    own: Arc<Terms>,
    /// What the server has instead, by `set_rate`, as of the last answer.
    set: RwLock<Option<Arc<Terms>>>,
}

/// What became of a request for permits.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) decision: Decision,
    /// When the slot comes; `None`: now.
    pub(super) slot: Option<Moment>,
}

impl Limiter {
    /// Checks name and rate. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or rate that cannot work.
    pub fn new(client: &Client, name: &[u8], rate: Rate, algorithm: Algorithm) -> Result<Self> {
        let name = Name::new(name)?;
        let own = Terms::new(rate, algorithm, false).map_err(|error| error.named(&name))?;
        Ok(Self(Arc::new(Inner {
            client: client.clone(),
            key: key(&client.shared().options.prefix, "limiter", &name),
            name,
            own: Arc::new(own),
            set: RwLock::new(None),
        })))
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn key(&self) -> &Arc<[u8]> {
        &self.0.key
    }

    /// Waits for a slot for so many permits and goes, or is refused at once.
    pub fn acquire(&self, weight: u32, wait: Wait) -> RateAcquire {
        RateAcquire::new(self.clone(), weight, Some(wait))
    }

    /// Takes so many permits now, or says when they could be had.
    pub fn try_acquire(&self, weight: u32) -> RateAcquire {
        RateAcquire::new(self.clone(), weight, None)
    }

    /// The terms that count, as far as is known here.
    fn terms(&self) -> Arc<Terms> {
        let set = self.0.set.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(set.as_ref().unwrap_or(&self.0.own))
    }

    fn note(&self, set: Option<Terms>) {
        *self.0.set.write().unwrap_or_else(PoisonError::into_inner) = set.map(Arc::new);
    }

    /// The server's terms are not those that were sent: takes them over, or says that it cannot.
    fn agree(&self, sent: &Terms, theirs: Option<&str>) -> Result<()> {
        match theirs.and_then(|config| self.0.own.adopt(config)) {
            Some(terms) => self.note(Some(terms)),
            // Those that were set are forgotten, or somebody else's came after them: back to what the handle says.
            None if sent.set => self.note(None),
            None => return Err(self.0.own.mismatch(theirs.unwrap_or_default())),
        }
        Ok(())
    }

    /// Asks for permits. `wait`: for acquire; `pending`: whose they are, `None`: only ask.
    pub(super) async fn ask(
        &self,
        weight: u32,
        wait: Option<Wait>,
        pending: Option<Arc<Pending>>,
    ) -> Result<Outcome> {
        let shared = self.client().shared();
        let deadline = match wait {
            Some(Wait::Forever) => Some(Moment::NEVER),
            Some(Wait::Until(instant)) => Some(Moment::at(instant)),
            Some(Wait::Try | Wait::Drain) | None => None,
        };
        // The server is given the time to say "too late", however near the deadline is.
        let least = Moment::now() + Duration::from_millis(5) + shared.commands.round_trip() * 4;
        let over = deadline.unwrap_or(Moment::NEVER).max(least);
        let over = over.min(Moment::now() + shared.options.operation_timeout);
        for _ in 0..ROUNDS {
            let terms = self.terms();
            // Whether it is too large the record says, which may have another rate.
            let too_large = weight > terms.limit();
            let most = pending.as_ref().filter(|_| !too_large).map(|_| {
                // The answer takes its time, too.
                let left =
                    deadline.map(|deadline| deadline.since(Moment::now() + shared.commands.round_trip()));
                left.unwrap_or(Duration::ZERO)
            });
            if let (Some(pending), Some(_)) = (&pending, most) {
                pending.asks(&terms);
            }
            let not_after = shared.commands.server_time(over) / 1000 + 1;
            let id = pending.as_ref().map_or(0, |pending| pending.id);
            let request = terms.ask(self.key(), weight.min(terms.limit()), most, id, not_after);
            // Never sent again once it may have run: a second run that does not follow the first at once would count twice.
            let answer = match self.client().call_once(&request, over).await {
                Ok(answer) => answer,
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol) {
                        forget(pending.as_ref());
                    }
                    return Err(error);
                }
            };
            let heard = Moment::now();
            if let Ok(stamp) = answer.reply.count_at(1) {
                shared.commands.note_stamp(answer.sent, stamp);
            }
            let said = terms.read(answer.reply)?;
            if !matches!(said, Said::Reserved { .. }) {
                forget(pending.as_ref());
            }
            match said {
                Said::Reserved {
                    decision,
                    wait,
                    before,
                } => {
                    if let Some(pending) = &pending {
                        pending.follows(before);
                    }
                    let slot = Some(heard + wait).filter(|_| !wait.is_zero());
                    return Ok(Outcome { decision, slot });
                }
                Said::Refused(_) if too_large => return Err(too_much(weight, terms.limit())),
                Said::Refused(decision) => {
                    return match wait {
                        None => Ok(Outcome { decision, slot: None }),
                        Some(_) => Err(too_late(decision.retry_after, terms.reach())),
                    };
                }
                Said::Late if Moment::now() >= over => break,
                Said::Late => {} // the clock was set forward, or the request was held up: nothing has changed
                Said::Other(theirs) => self.agree(&terms, Some(&theirs))?,
                Said::Gone => self.agree(&terms, None)?,
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "its requests came too late at the server, or its rate changed all the time: nothing was consumed",
        ))
    }

    /// What [`try_acquire`](Self::try_acquire) of one would say now. Changes nothing.
    ///
    /// # Errors
    /// `Unavailable`, `Mismatch`, `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn peek(&self) -> Result<Decision> {
        let outcome = self.ask(1, None, None).await;
        let mut decision = outcome.map_err(|error| error.named(self.name()))?.decision;
        decision.allowed = decision.retry_after.is_zero();
        Ok(decision)
    }

    /// The rate that counts.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn rate(&self) -> Result<Rate> {
        self.peek().await?;
        Ok(self.terms().rate)
    }

    /// Sets the rate, for everybody and whatever their handles say.
    ///
    /// # Errors
    /// `Invalid` for a rate that cannot work, `Mismatch` if the limiter was made with another algorithm; `Unavailable` (then
    /// it may or may not have happened), `Closed`, `Denied`, `WrongType`, `OutOfMemory`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn set_rate(&self, rate: Rate) -> Result<()> {
        let change = async {
            let terms = Terms::new(rate, self.0.own.algorithm, true)?;
            self.change(|not_after| terms.change(self.key(), not_after))
                .await?;
            self.note(Some(terms.clone()));
            Ok(())
        };
        change.await.map_err(|error: Error| error.named(self.name()))
    }

    /// Forgets all that the server knows of it.
    ///
    /// # Errors
    /// `Unavailable` (then it may or may not have happened), `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn reset(&self) -> Result<()> {
        let forget = |not_after| Request::new(&script::LIMITER_RESET, &[&**self.key()]).arg(not_after);
        self.change(forget)
            .await
            .map_err(|error| error.named(self.name()))?;
        self.note(None);
        Ok(())
    }

    /// Runs a script that may run twice.
    async fn change(&self, request: impl Fn(u64) -> Request) -> Result<()> {
        let shared = self.client().shared();
        let deadline = Moment::now() + shared.options.operation_timeout;
        let not_after = shared.commands.server_time(deadline) / 1000 + 1;
        let answer = self.client().call(&request(not_after)).await?;
        shared.commands.note_stamp(answer.sent, answer.reply.count_at(1)?);
        match answer.reply.int_at(0)? {
            1 => Ok(()),
            8 => Err(foreign()),
            9 => match self.0.own.read(answer.reply)? {
                Said::Other(theirs) => Err(self.0.own.mismatch(&theirs)),
                _ => Err(silent()),
            },
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                "the request came too late at the server, and changed nothing",
            )),
        }
    }
}

/// The server said, or it is clear, that nothing was reserved.
fn forget(pending: Option<&Arc<Pending>>) {
    if let Some(pending) = pending {
        pending.has_nothing();
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "the server did not answer in time")
}

fn too_much(weight: u32, limit: u32) -> Error {
    let text =
        format!("{weight} permits are more than the {limit} that may be had at once, however long one waits");
    Error::new(ErrorKind::TooLarge, text)
}

fn too_late(wait: Duration, reach: Duration) -> Error {
    let text = if wait > reach {
        format!(
            "the next slot is {wait:?} away, and slots are reserved {reach:?} ahead at most: nothing was consumed"
        )
    } else {
        format!("the next slot is {wait:?} away, and the deadline is before it: nothing was consumed")
    };
    Error::new(ErrorKind::TooLate, text)
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    all::<Limiter>();
    all::<Rate>();
    all::<Decision>();
}
