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
use crate::types::options::OnMismatch;
use crate::types::rate::{Decision, Rate};
use crate::wire::command::Request;
use crate::wire::key::key;
use crate::wire::reply::{ChangeReply, ReserveReply};
use crate::wire::request::{change, reserve};
use crate::wire::terms::{Agreed, Terms};
use crate::wire::value::Answer;

/// How often a request may find that the rate was changed, or come late, before the caller hears of it.
const ROUNDS: usize = 8;

/// A client, a name and a rate.
#[derive(Debug)]
pub(super) struct Asker {
    client: Client,
    name: Name,
    key: Arc<[u8]>,
    own: Arc<Terms>,
    on_mismatch: OnMismatch,
    /// What the server has instead, and the handle accepts, as of the last answer.
    set: RwLock<Option<Arc<Terms>>>,
}

/// What became of a request for permits.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) decision: Decision,
    /// When the slot comes; `None`: now.
    pub(super) slot: Option<Moment>,
    /// The rate that counts.
    pub(super) rate: Rate,
}

impl Reservation {
    /// Nothing was reserved.
    const fn without_slot(decision: Decision, rate: Rate) -> Self {
        let slot = None;
        Self { decision, slot, rate }
    }
}

impl Asker {
    pub(super) fn new(client: &Client, name: Name, own: Terms, on_mismatch: OnMismatch) -> Self {
        Self {
            client: client.clone(),
            key: key(&client.shared().options.prefix, "limiter", &name),
            name,
            own: Arc::new(own),
            on_mismatch,
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

    /// The server's terms are not those that were sent. Takes them over, sets those of the handle, or reports that it cannot.
    /// Returns what a call that only looks, and therefore sets nothing, is to ask with.
    async fn agree(&self, sent: &Terms, theirs: &str, looks: bool) -> Result<Option<Arc<Terms>>> {
        if theirs == self.own.config {
            self.note(None); // somebody else's that were accepted before are gone
            return Ok(None);
        }
        match self.own.agree(theirs, self.on_mismatch) {
            Agreed::Theirs(terms) => self.note(Some(terms)),
            Agreed::Ours if looks => {
                return Ok(Terms::parse(theirs).map(|it| Arc::new(it.borrowed(&self.own))));
            }
            Agreed::Ours => {
                self.change(|not_after| change(&self.own, &self.key, not_after))
                    .await?;
                self.note(None);
            }
            // Others came after those that were accepted: back to what the handle says.
            Agreed::Mismatch if sent.borrowed => self.note(None),
            Agreed::Mismatch => return Err(self.own.mismatch(theirs)),
        }
        Ok(None)
    }

    /// Runs a script that may run twice.
    pub(super) async fn change(&self, request: impl Fn(u64) -> Request) -> Result<()> {
        let shared = self.client.shared();
        let deadline = Moment::now() + shared.options.operation_timeout;
        let not_after = shared.route.not_after(&self.key, deadline);
        let answer = self.client.call(&request(not_after)).await?;
        let Answer { reply, sent, clock } = answer;
        let (stamp, reply) = ChangeReply::read(reply)?;
        clock.note(sent, stamp);
        match reply {
            ChangeReply::Done => Ok(()),
            ChangeReply::Foreign => Err(foreign()),
            ChangeReply::Other(theirs) => Err(self.own.mismatch(&theirs)),
            ChangeReply::Late => Err(Error::new(
                ErrorKind::Unavailable,
                "the request came too late at the server, and changed nothing",
            )),
        }
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
        let mut over = latest.min(Moment::now() + shared.options.operation_timeout);
        let mut looks_by = None;
        for _ in 0..ROUNDS {
            shared.check_open()?;
            if pending.is_some() {
                over = Box::pin(self.ready(over, latest)).await?;
            }
            let terms = looks_by.take().unwrap_or_else(|| self.terms());
            // Whether it is too large the record says, which may have another rate.
            let too_large = weight > terms.limit();
            let takes = pending.as_ref().filter(|_| !too_large);
            let most = takes.map(|_| self.longest_wait(deadline, &terms));
            if let (Some(pending), Some(_)) = (&pending, most) {
                pending.asks(&terms);
            }
            let not_after = shared.route.not_after(&self.key, over);
            let id = pending.as_ref().map_or(0, |pending| pending.id);
            let asked = weight.min(terms.limit());
            let request = reserve(&terms, &self.key, asked, most, id, not_after);
            // A second run that does not follow the first at once would count twice, unless it only looks.
            let answer = self.client.try_call(&request, pending.is_none(), over).await;
            let Answer { reply, sent, clock } = answer.inspect_err(|error| {
                if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol) {
                    has_nothing(pending.as_ref());
                }
            })?;
            let heard = Moment::now();
            let (stamp, reply) = ReserveReply::read(reply)?;
            clock.note(sent, stamp);
            if !matches!(reply, ReserveReply::Reserved { .. }) {
                has_nothing(pending.as_ref());
            }
            match reply {
                // Nothing that a server says makes a call sleep for longer than it asked for.
                ReserveReply::Reserved { wait, .. } if most.is_none_or(|most| wait > most) => {
                    return Err(out_of_range(wait));
                }
                ReserveReply::Reserved { wait, state, before } => {
                    if let Some(pending) = &pending {
                        pending.follows(before);
                    }
                    let decision = terms.decision(true, wait, state);
                    let slot = Some(heard + wait).filter(|_| !wait.is_zero());
                    let rate = terms.rate;
                    return Ok(Reservation { decision, slot, rate });
                }
                ReserveReply::Refused { .. } if too_large => return Err(too_much(weight, terms.limit())),
                ReserveReply::Refused { wait: until, state } => {
                    if wait.is_some() {
                        return Err(too_late(until, terms.reach()));
                    }
                    let (decision, rate) = (terms.decision(false, until, state), terms.rate);
                    return Ok(Reservation::without_slot(decision, rate));
                }
                ReserveReply::Late if Moment::now() >= over => break,
                ReserveReply::Late => {} // the clock was set forward, or the request was held up: nothing has changed
                ReserveReply::Foreign => return Err(foreign()),
                ReserveReply::Other(theirs) => {
                    looks_by = self.agree(&terms, &theirs, pending.is_none()).await?;
                }
                ReserveReply::Gone => self.note(None),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "its requests came too late at the server, or its rate changed all the time: nothing was consumed",
        ))
    }

    /// Until a request can be handed over, there is nothing to give back. Returns until when it may
    /// be under way.
    async fn ready(&self, over: Moment, latest: Moment) -> Result<Moment> {
        let shared = self.client.shared();
        let times = (over, latest);
        let ready = shared
            .route
            .ready_once(&self.key, shared.options.operation_timeout, times);
        ready.await.map_err(|failure| failure.error)
    }

    /// How long a slot may be away for a caller that waits until `deadline`, if it does. The answer takes its time, too.
    fn longest_wait(&self, deadline: Option<Moment>, terms: &Terms) -> Duration {
        let answered = Moment::now() + self.client.shared().route.round_trip();
        let left = deadline.map(|deadline| deadline.since(answered));
        left.unwrap_or(Duration::ZERO).min(terms.reach())
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
        let least = Moment::now() + Duration::from_millis(5) + shared.route.round_trip() * limit::TRIPS;
        (deadline, deadline.unwrap_or(Moment::NEVER).max(least))
    }
}

/// The server said, or it is clear, that nothing was reserved.
fn has_nothing(pending: Option<&Arc<Pending>>) {
    if let Some(pending) = pending {
        pending.has_nothing();
    }
}

fn out_of_range(wait: Duration) -> Error {
    let text = format!(
        "the server's reply is not of the protocol: a slot {wait:?} away is further than was asked for"
    );
    Error::new(ErrorKind::Protocol, text)
}

fn too_much(weight: u32, limit: u32) -> Error {
    let text = format!(
        "requested {weight} permits, but at most {limit} can be granted at once; ask for fewer, or raise the burst"
    );
    Error::new(ErrorKind::TooLarge, text)
}

fn too_late(wait: Duration, reach: Duration) -> Error {
    let text = if wait > reach {
        format!(
            "the next slot is {wait:?} away, and slots are reserved {reach:?} ahead at most (max_wait): nothing was consumed"
        )
    } else {
        format!("the next slot is {wait:?} away, and the deadline is before it: nothing was consumed")
    };
    Error::new(ErrorKind::TooLate, text)
}
