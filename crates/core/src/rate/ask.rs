//! Asks the server for permits, and minds whose rate counts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::base::clock::Moment;
use crate::base::limit;
use crate::ops::request::Wait;
use crate::runtime::refunds::Pending;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result, foreign};
use crate::types::name::Name;
use crate::types::rate::Decision;
use crate::wire::key::key;
use crate::wire::reply::ReserveReply;
use crate::wire::request::reserve;
use crate::wire::terms::Terms;

/// How often a request may find that the rate was changed, or come late, before the caller hears of it.
const ROUNDS: usize = 8;

/// A client, a name and a rate.
#[derive(Debug)]
pub(super) struct Asker {
    client: Client,
    name: Name,
    key: Arc<[u8]>,
    own: Arc<Terms>,
    /// What the server has instead, by `set_rate`, as of the last answer.
    set: RwLock<Option<Arc<Terms>>>,
}

/// What became of a request for permits.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) decision: Decision,
    /// When the slot comes; `None`: now.
    pub(super) slot: Option<Moment>,
}

impl Asker {
    pub(super) fn new(client: &Client, name: Name, own: Terms) -> Self {
        Self {
            client: client.clone(),
            key: key(&client.shared().options.prefix, "limiter", &name),
            name,
            own: Arc::new(own),
            set: RwLock::new(None),
        }
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn key(&self) -> &Arc<[u8]> {
        &self.key
    }

    /// What the handle says.
    pub(super) fn own(&self) -> &Terms {
        &self.own
    }

    /// The terms that count, as far as is known here.
    pub(super) fn terms(&self) -> Arc<Terms> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(set.as_ref().unwrap_or(&self.own))
    }

    pub(super) fn note(&self, set: Option<Terms>) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = set.map(Arc::new);
    }

    /// The server's terms are not those that were sent: takes them over, or says that it cannot.
    fn agree(&self, sent: &Terms, theirs: Option<&str>) -> Result<()> {
        match theirs.and_then(|config| self.own.adopt(config)) {
            Some(terms) => self.note(Some(terms)),
            // Those that were set are forgotten, or somebody else's came after them: back to what the handle says.
            None if sent.set => self.note(None),
            None => return Err(self.own.mismatch(theirs.unwrap_or_default())),
        }
        Ok(())
    }

    /// Asks for permits. `wait`: for acquire; `pending`: whose they are, `None`: only ask.
    pub(super) async fn ask(
        &self,
        weight: u32,
        wait: Option<Wait>,
        pending: Option<Arc<Pending>>,
    ) -> Result<Reservation> {
        let shared = self.client.shared();
        let (deadline, latest) = self.times(wait);
        let timeout = shared.options.operation_timeout;
        let mut over = latest.min(Moment::now() + timeout);
        for _ in 0..ROUNDS {
            shared.check_open()?;
            if pending.is_some() {
                // Until it can be handed over, there is nothing to give back.
                let ready = Box::pin(shared.commands.ready_once(timeout, (over, latest)));
                over = ready.await.map_err(|failure| failure.error)?;
            }
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
            let not_after = shared.commands.not_after(over);
            let id = pending.as_ref().map_or(0, |pending| pending.id);
            let asked = weight.min(terms.limit());
            let request = reserve(&terms, &self.key, asked, most, id, not_after);
            // Never sent again once it may have run: a second run that does not follow the first at once would count twice.
            // One that only looks may.
            let answer = match self.client.try_call(&request, pending.is_none(), over).await {
                Ok(answer) => answer,
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol) {
                        has_nothing(pending.as_ref());
                    }
                    return Err(error);
                }
            };
            let heard = Moment::now();
            let (stamp, reply) = ReserveReply::read(answer.reply)?;
            shared.commands.note_stamp(answer.sent, stamp);
            if !matches!(reply, ReserveReply::Reserved { .. }) {
                has_nothing(pending.as_ref());
            }
            match reply {
                ReserveReply::Reserved { wait, state, before } => {
                    if let Some(pending) = &pending {
                        pending.follows(before);
                    }
                    let decision = terms.decision(true, wait, state);
                    let slot = Some(heard + wait).filter(|_| !wait.is_zero());
                    return Ok(Reservation { decision, slot });
                }
                ReserveReply::Refused { .. } if too_large => return Err(too_much(weight, terms.limit())),
                ReserveReply::Refused { wait: until, state } => {
                    let decision = terms.decision(false, until, state);
                    return match wait {
                        None => Ok(Reservation { decision, slot: None }),
                        Some(_) => Err(too_late(decision.retry_after, terms.reach())),
                    };
                }
                ReserveReply::Late if Moment::now() >= over => break,
                ReserveReply::Late => {} // the clock was set forward, or the request was held up: nothing has changed
                ReserveReply::Foreign => return Err(foreign()),
                ReserveReply::Other(theirs) => self.agree(&terms, Some(&theirs))?,
                ReserveReply::Gone => self.agree(&terms, None)?,
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "its requests came too late at the server, or its rate changed all the time: nothing was consumed",
        ))
    }

    /// Until when the caller waits, if it does, and when a request about that is over at the latest.
    fn times(&self, wait: Option<Wait>) -> (Option<Moment>, Moment) {
        let shared = self.client.shared();
        let deadline = match wait {
            Some(Wait::Forever) => Some(Moment::NEVER),
            Some(Wait::Until(instant)) => Some(Moment::at(instant)),
            Some(Wait::Try | Wait::Drain) | None => None,
        };
        // The server is given the time to say "too late", however near the deadline is.
        let least = Moment::now() + Duration::from_millis(5) + shared.commands.round_trip() * limit::TRIPS;
        (deadline, deadline.unwrap_or(Moment::NEVER).max(least))
    }
}

/// The server said, or it is clear, that nothing was reserved.
fn has_nothing(pending: Option<&Arc<Pending>>) {
    if let Some(pending) = pending {
        pending.has_nothing();
    }
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
