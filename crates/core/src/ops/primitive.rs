//! The engine's side of every primitive: a client, a name, and the options of its attempts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::rules::Plan;
pub use crate::attempt::spec::MAX_HEAD_START;
use crate::attempt::spec::{Mode, Numbers, Share, Spec};
use crate::ops::acquire::Acquire;
use crate::ops::held::guard::Guard;
use crate::ops::request::{AcquireRequest, Wait};
use crate::tasks::client::Client;
use crate::types::durability::Durability;
use crate::types::error::{Error, Result};
use crate::types::name::Name;
use crate::types::options::{
    KEEP, MAX_LEASE, MAX_WAITERS, OnMismatch, Renew, TOO_MANY_WAITERS, between, check_durability, check_keep,
    check_lease,
};
use crate::types::owner::Owner;
use crate::types::rate::Rate;
use crate::types::ticket::Ticket;
use crate::types::token::FencingToken;
use crate::wire::id;
use crate::wire::key::{key, place};
use crate::wire::pace::Pace;
use crate::wire::request::TakeOver;

/// Bytes of a purpose; what is longer is cut, as nobody wants to miss a lock for a text that is too long.
pub(crate) const MAX_PURPOSE: usize = 128;

/// A client, a name and options: the value that the handles of all primitives wrap.
///
/// It is cheap to clone and has no identity of its own.
#[derive(Debug, Clone)]
pub struct Primitive {
    client: Client,
    request: AcquireRequest,
}

/// Options of a primitive, before they are checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PrimitiveOptions {
    /// Length of the lease; the client's if `None`.
    pub lease: Option<Duration>,
    /// Whether the keeper renews the hold.
    pub renew: Renew,
    /// The longest time for which a hold is renewed.
    pub max_hold: Option<Duration>,
    /// The shortest time for which a hold is in use, whatever ends it.
    pub hold_at_least: Option<Duration>,
    /// Fencing tokens are above this one.
    pub token_floor: Option<FencingToken>,
    /// The share of the capacity that an attempt takes.
    pub weight: u32,
    /// The capacity.
    pub capacity: u32,
    /// If set, every hold is shared and has no token, and the record stores the capacity, which can
    /// be changed there.
    pub counted: bool,
    /// The maximum number of waiters; the client's limit if `None`.
    pub max_waiters: Option<u32>,
    /// How far a grant has to get before its guard is handed out; the client's default if `None`.
    pub durability: Option<Durability>,
    /// The rate at which holds may start, if `counted`.
    pub rate: Option<Rate>,
    /// How far ahead a hold may start, if `counted`; a period of the rate if `None`.
    pub max_wait: Option<Duration>,
    /// What happens if the record has another capacity or rate, if `counted`.
    pub on_mismatch: OnMismatch,
    /// How long a capacity or rate that was set is remembered, if `counted`.
    pub keep: Duration,
    /// What its holds are for, which inspections show; cut after 128 bytes.
    pub purpose: Option<String>,
}

impl Default for PrimitiveOptions {
    /// One exclusive holder.
    fn default() -> Self {
        Self {
            lease: None,
            renew: Renew::Watchdog,
            max_hold: None,
            hold_at_least: None,
            token_floor: None,
            weight: 1,
            capacity: 1,
            counted: false,
            max_waiters: None,
            durability: None,
            rate: None,
            max_wait: None,
            on_mismatch: OnMismatch::Error,
            keep: KEEP,
            purpose: None,
        }
    }
}

/// As much of a purpose as is kept; `None`: there is none.
fn purpose(text: &str) -> Option<Arc<str>> {
    let mut end = text.len().min(MAX_PURPOSE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (end > 0).then(|| text[..end].into())
}

fn check_floor(floor: u64) -> Result<()> {
    if floor < 1 << 53 {
        return Ok(());
    }
    let text = "the token floor is above 2^53: it cannot be a fencing token";
    Err(Error::invalid(text))
}

impl PrimitiveOptions {
    /// `Invalid` for a time, number or weight that cannot work.
    fn check(&self, lease: Duration, durability: Durability) -> Result<()> {
        check_lease(lease)?;
        if let Some(most) = self.max_hold {
            between("maximum hold", most, lease, 365 * MAX_LEASE)?;
        }
        if let Some(least) = self.hold_at_least {
            let most = self.max_hold.unwrap_or(MAX_LEASE).min(MAX_LEASE);
            between("shortest hold", least, Duration::from_millis(1), most)?;
        }
        if self.weight == 0 || self.weight > self.capacity {
            return Err(Error::invalid("the capacity must be at least 1"));
        }
        if self.max_waiters.is_some_and(|most| !MAX_WAITERS.contains(&most)) {
            return Err(Error::invalid(TOO_MANY_WAITERS));
        }
        check_durability(durability)
    }
}

impl Primitive {
    /// Checks the options and computes the key.
    ///
    /// `kind` is a part of the key, so primitives of the same name and different kinds are
    /// independent. It has 1 to 32 letters, digits, `_` or `-`.
    ///
    /// # Errors
    /// `Invalid` for a kind, name or option that cannot work.
    pub fn new(client: &Client, kind: &str, name: &[u8], options: &PrimitiveOptions) -> Result<Self> {
        let (name, shared) = (Name::new(name)?, client.shared());
        let named = |error: Error| error.named(&name);
        // Scripts take the key's prefix, which ends before the kind, for the names of channels.
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=32).contains(&kind.len()) || !kind.bytes().all(usual) {
            return Err(named(Error::invalid(
                "the kind of a primitive is a part of its keys: give 1 to 32 letters, digits, `_` or `-`",
            )));
        }
        let lease = options.lease.unwrap_or(shared.options.lease);
        let durability = options.durability.unwrap_or(shared.options.durability);
        options.check(lease, durability).map_err(named)?;
        let floor = options.token_floor.map_or(0, FencingToken::get);
        check_floor(floor).map_err(named)?;
        let numbers = Numbers {
            on_mismatch: options.on_mismatch,
            keep: options.keep,
            max_wait: options.max_wait,
        };
        check_keep(options.keep).map_err(named)?;
        // Its bounds are checked without a rate as well, as one may be set.
        let rate = options.rate.unwrap_or(Rate::per_second(NonZeroU32::MIN));
        let pace = Pace::new(rate, options.max_wait).map_err(named)?;
        let pace = options.rate.map(|_| pace);
        let mode = if options.counted {
            Mode::Counted {
                weight: options.weight,
                capacity: options.capacity,
                pace,
                numbers,
            }
        } else {
            Mode::Lock(Share {
                weight: options.weight,
                capacity: options.capacity,
                floor,
                ahead: None,
            })
        };
        let spec = Spec {
            lease,
            renew: options.renew,
            max_hold: options.max_hold,
            at_least: options.hold_at_least,
            max_waiters: options.max_waiters,
            purpose: options.purpose.as_deref().and_then(purpose),
            durability,
            mode,
        };
        let key = key(&shared.options.prefix, kind, &name);
        let spec = shared.plan(spec);
        Ok(Self {
            client: client.clone(),
            request: AcquireRequest { name, key, spec },
        })
    }

    /// Returns the name.
    pub fn name(&self) -> &Name {
        &self.request.name
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn key(&self) -> &Arc<[u8]> {
        &self.request.key
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.request.spec
    }

    /// Makes the future of a new attempt. Nothing is sent before its first poll.
    pub fn acquire(&self, wait: Wait) -> Acquire {
        Acquire::new(&self.client, self.request.clone(), wait)
    }

    /// Returns a copy whose attempts take `weight` of the capacity.
    ///
    /// Only the server can refuse a weight above the capacity, because it may have been resized.
    #[must_use]
    pub fn with_weight(&self, weight: u32) -> Self {
        self.with(self.request.spec.with_weight(weight))
    }

    /// Returns a copy whose attempts belong to `owner`. Holds of one owner do not exclude each
    /// other.
    #[must_use]
    pub fn with_owner(&self, owner: Owner) -> Self {
        let mut spec = self.spec().clone();
        spec.mode = Mode::Owned(owner);
        self.with(self.request.spec.with(spec))
    }

    /// Returns a copy whose attempts have a head start of `ms` milliseconds in the queue.
    ///
    /// They are treated as having arrived earlier by that time, or later if it is negative. At most
    /// [`MAX_HEAD_START`] either way. Zero differs from none: the place then records the time of
    /// arrival, to which the head starts of others are compared.
    #[must_use]
    pub fn with_head_start(&self, ms: i64) -> Self {
        let mut spec = self.spec().clone();
        if let Mode::Lock(share) = &mut spec.mode {
            share.ahead = Some(ms.clamp(-MAX_HEAD_START, MAX_HEAD_START));
        }
        self.with(self.request.spec.with(spec))
    }

    /// Returns a copy whose attempts are for this, which inspections show. After 128 bytes it is cut.
    #[must_use]
    pub fn for_purpose(&self, text: &str) -> Self {
        let mut spec = self.spec().clone();
        spec.purpose = purpose(text);
        self.with(self.request.spec.with(spec))
    }

    fn with(&self, spec: Arc<Plan>) -> Self {
        let mut changed = self.clone();
        changed.request.spec = spec;
        changed
    }

    /// Ends every hold, tells the holders, and takes everything, ahead of the queue and in one step.
    ///
    /// # Errors
    /// `Unavailable`: then the holds may have been ended, and what came of it is undone. `Lost` if
    /// somebody else has forced it open before the answer. `Invalid` for a handle of a share.
    ///
    /// # Cancel safety
    /// The holds may or may not be ended. Dropping the future gives up what it took.
    pub async fn steal(&self) -> Result<Guard> {
        if self.spec().is_shared() {
            return Err(Error::invalid("only an exclusive hold can be taken from others").named(self.name()));
        }
        let what = TakeOver::Steal {
            capacity: self.spec().capacity(),
            floor: self.spec().floor(),
        };
        let taken = self.client.take_over(self.request.clone(), what, None).await?;
        taken.secured().await
    }

    /// Continues the hold of a ticket.
    ///
    /// # Errors
    /// `Invalid` if the ticket is for another name, kind of primitive or hold, owner, prefix or
    /// database: nothing is changed, and the ticket is as good as before. `Lost` if its hold has
    /// ended or was resumed by somebody else, also if the maximum hold is over.
    ///
    /// # Cancel safety
    /// Dropping the future gives the hold up.
    pub async fn resume(&self, ticket: &Ticket) -> Result<Guard> {
        let invalid = |text: String| Error::invalid(text).named(self.name());
        let (place, database) = (place(self.key()), self.client.shared().options.database);
        if (&ticket.place, ticket.database) != (&place, database) {
            return Err(invalid(format!(
                "the ticket is for `{}:{{{}}}` in database {}, and this is `{place}:{{{}}}` in \
                 database {database}; resume it with the same kind of primitive, prefix, database \
                 and name",
                ticket.place,
                ticket.name,
                ticket.database,
                self.name()
            )));
        } else if ticket.name != *self.name() {
            return Err(invalid(format!("the ticket is for `{}`", ticket.name)));
        }
        let spec = &self.request.spec;
        let of_owner = spec.owner().map(|owner| id::is_of(&ticket.id, owner));
        let weight =
            id::weight(&ticket.id).filter(|_| of_owner.unwrap_or_else(|| !id::has_owner(&ticket.id)));
        let is_exclusive = ticket.token().get() > 0;
        // A hold that was upgraded has the weight of a share in its id, and a token.
        let of_kind = spec.is_counted()
            || is_exclusive && !spec.is_shared()
            || !is_exclusive && weight == Some(spec.weight());
        let Some(weight) = weight.filter(|_| of_kind) else {
            return Err(invalid(
                "the ticket is for another kind of hold, or for another owner's".to_owned(),
            ));
        };
        let token = ticket.token().get();
        if is_exclusive && token <= spec.floor() {
            return Err(invalid(format!(
                "the ticket's token is {token}, which is not above the token floor of this handle ({}): what the lock \
                 guards has seen a newer holder",
                spec.floor()
            )));
        }
        let mut request = self.request.clone();
        request.spec = spec.with_weight(weight);
        let mut guard = self.client.resume(request, ticket).await?;
        if is_exclusive && !spec.is_counted() {
            guard.has_everything();
        }
        Ok(guard)
    }
}
