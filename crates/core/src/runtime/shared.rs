//! The state that all parts of a client share, and the end of its life.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, watch};

use super::batch::Batcher;
use super::channels::Channels;
use super::cluster::Change;
use super::durable::Lanes;
use super::refunds::Refunds;
use super::returns::Returns;
use super::route::Route;
use super::schedule::{POLL_MOST, Schedule};
use super::table::Table;
use crate::attempt::Attempt;
use crate::attempt::event::{Effects, Event};
use crate::attempt::rules::Plan;
use crate::attempt::spec::Spec;
use crate::attempt::state::State;
use crate::base::clock::{Moment, millis};
use crate::base::limit;
use crate::base::trace::{debug, warn};
use crate::connection::handshake::Greeting;
use crate::connection::node::Node;
use crate::connection::source::Place;
use crate::connection::youth::{Past, Since, Why};
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::types::options::{KEEP, Options};
use crate::types::server::Warning;
use crate::wire::client::{self, ClientRecord, Note};
use crate::wire::id::{self, Inbox};

/// A connection that nobody needs is checked after that many heartbeats.
const IDLE: u32 = 15;

/// The life of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// No new attempts; what is there is being ended.
    Closing,
    /// All was sent, or its time is over.
    Closed,
    /// The runtime of the client's tasks has ended.
    Orphaned,
}

impl Life {
    /// No task of the client is left.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Orphaned)
    }
}

/// Shared by a client's handles, guards, futures and tasks.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) client_id: String,
    /// Our own channel; scripts find its beginning, which all clients' have, from their keys.
    pub(crate) channel: String,
    /// Those of a sharded inbox, if it was asked for.
    channels: Option<Arc<Channels>>,
    pub(crate) route: Route,
    /// Held while a message is applied, and while an era begins: a message is of one era or the
    /// other.
    pub(super) eras: RwLock<()>,
    pub(crate) batcher: Batcher,
    pub(crate) table: Table,
    pub(crate) refunds: Refunds,
    pub(crate) returns: Returns,
    /// Grants that wait until they are at replicas, or on disk.
    pub(crate) lanes: Lanes,
    pub(crate) schedule: Schedule,
    pub(crate) driver: Handle,
    /// The keeper runs on the thread that user code may block: a hand-off is confirmed before it is handed out (rule 7).
    pub(crate) same_thread: bool,
    pub(crate) life: watch::Sender<Life>,
    /// The client's life ends, and everything there was is in the queue of those to be ended.
    pub(crate) collected: AtomicBool,
    /// Nobody begins anything new.
    draining: AtomicBool,
    /// While draining: an attempt has ended.
    pub(crate) drained: Notify,
    /// Whether the inbox was subscribed or refused at least once.
    pub(crate) inbox_tried: watch::Sender<bool>,
    warnings: Mutex<Vec<Warning>>,
    /// Something in between ends connections that are idle, so none may be.
    keeps_alive: AtomicBool,
    /// When it may be searched again for waits for the client's own holds.
    own_search: Mutex<Moment>,
    /// What the servers that were met so far have written, by its names: only with a start delay.
    histories: Mutex<HashSet<String>>,
    /// The longest lease that this client has used, in ms: its label lives as long.
    pub(crate) longest_lease: AtomicU64,
    /// See [`Self::epoch`].
    epoch: OnceLock<u64>,
    /// The client's record is to say more.
    pub(crate) told: Notify,
}

impl Shared {
    pub(crate) fn new(options: Options, driver: Handle) -> Self {
        let client_id = new_client_id();
        let channel = format!("{}:inbox:{client_id}", options.prefix);
        let is_sharded = options.inbox == crate::types::inbox::Inbox::Sharded;
        let workers = match driver.runtime_flavor() {
            RuntimeFlavor::CurrentThread => 1,
            _ => driver.metrics().num_workers(),
        };
        let same_thread = !options.keeper_thread && workers < 2;
        Self {
            channels: is_sharded.then(|| Arc::new(Channels::new(&channel))),
            channel,
            route: Route::one(node(&options, &driver)),
            eras: RwLock::new(()),
            table: Table::default(),
            refunds: Refunds::default(),
            returns: Returns::default(),
            lanes: Lanes::default(),
            schedule: Schedule::new(options.unavailable_after),
            batcher: Batcher::new(driver.clone(), same_thread),
            same_thread,
            life: watch::Sender::new(Life::Open),
            collected: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drained: Notify::new(),
            inbox_tried: watch::Sender::new(false),
            warnings: Mutex::new(Vec::new()),
            keeps_alive: AtomicBool::new(false),
            own_search: Mutex::new(Moment::from_nanos(0)),
            histories: Mutex::default(),
            longest_lease: AtomicU64::new(millis(options.lease)),
            epoch: OnceLock::new(),
            told: Notify::new(),
            client_id,
            driver,
            options,
        }
    }

    /// A number of this client, so that many clients do the same with different nodes.
    pub(crate) fn number(&self) -> usize {
        self.client_id.bytes().map(usize::from).sum()
    }

    pub(crate) fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// `Closed` unless new attempts are welcome.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.life() {
            Life::Open => Ok(()),
            Life::Orphaned => Err(Error::new(ErrorKind::Closed, ORPHANED)),
            Life::Closing | Life::Closed => Err(Error::new(ErrorKind::Closed, CLOSED)),
        }
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// `Closed` while draining, for an attempt that is new: not for a conversion, which belongs to a guard, nor for a count-down,
    /// for which others wait.
    pub(crate) fn check_new(&self, plan: &Plan) -> Result<()> {
        let counts = || plan.latch().is_some_and(|asked| asked.changes());
        if !self.draining.load(Ordering::Relaxed) || plan.rules.upgrade || counts() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Closed, DRAINING))
    }

    /// Takes a slot for a new attempt; `Closed` unless new ones are welcome.
    pub(crate) fn attempt(
        &self,
        key: Arc<[u8]>,
        name: Name,
        spec: Arc<Plan>,
        now: Moment,
    ) -> Result<Arc<Attempt>> {
        let lease = millis(spec.first_lease());
        self.longest_lease.fetch_max(lease, Ordering::Relaxed);
        let window = millis(self.claim_window(spec.lease));
        let time = self.server_ms(&key, now);
        let from = time.map_or(0, |time| id::count(self.epoch(time), time));
        let inbox = match self.route.cluster() {
            None => Inbox::Here,
            Some(_) if self.channels.is_some() && Channels::fits(&key) => Inbox::Sharded,
            Some(_) => Inbox::Anywhere,
        };
        let attempt = self
            .table
            .insert((!spec.is_upgrade()).then_some(from), |counter| {
                let id = spec.id((&self.client_id, inbox), counter, window);
                Attempt::new((id, counter), key, name, spec, now)
            });
        if attempt.spec.is_told() {
            let since = time.filter(|_| attempt.spec.is_upgrade());
            self.tell(&attempt, since.unwrap_or(0) * 1000);
        }
        // Looked at after the slot is taken: `shut` ends whatever has one, and this one it may just have missed.
        if let Err(error) = self.check_open() {
            self.table.remove(&attempt);
            return Err(error.named(&attempt.name));
        }
        Ok(attempt)
    }

    /// Estimates the time of the server that has this key, ms; `None`: no server has said it yet.
    fn server_ms(&self, key: &[u8], now: Moment) -> Option<u64> {
        let time = self.route.of(key).not_after(now) - 1;
        (time > id::EPOCH).then_some(time)
    }

    /// The time from which the counters of this client's ids count, ms of the server. `now`: of the server, ms.
    fn epoch(&self, now: u64) -> u64 {
        *self.epoch.get_or_init(|| {
            self.told.notify_one(); // the record is to say it
            now
        })
    }

    /// The client's record, from which inspections learn what ids do not say.
    pub(crate) fn client_record(&self, key: &[u8]) -> String {
        let time = self.server_ms(key, Moment::now());
        let mut record = ClientRecord::new(time.map_or(0, |time| self.epoch(time)), &self.options.label);
        for (attempt, since) in self.table.told(client::MOST) {
            let spec = &attempt.spec;
            let note = Note {
                since,
                ahead: spec.priority(),
                purpose: spec.purpose.as_deref().unwrap_or_default().into(),
            };
            record.add(attempt.counter, &note);
        }
        record.into_text()
    }

    /// The client's record is to say more of this attempt: since when it holds, or waits, µs of the server. 0: its id or
    /// its token says that.
    pub(crate) fn tell(&self, attempt: &Attempt, since: u64) {
        if self.table.tell(attempt, since) {
            self.told.notify_one();
        }
    }

    /// A request is to renew it. If it is a claim, the record of the primitive says no longer since when it holds; an
    /// exclusive hold has a token.
    pub(crate) fn confirming(&self, attempt: &Attempt) {
        if attempt.spec.is_shared()
            && let Some(since) = attempt.with(State::claimed_at)
        {
            self.tell(attempt, since);
        }
    }

    /// Rule 6: long enough to hear of the hand-off and confirm it, never above the lease.
    fn claim_window(&self, lease: Duration) -> Duration {
        let mut window = self
            .options
            .claim_window(lease)
            .max(self.route.round_trip() * limit::TRIPS);
        if !self.schedule.is_listening() {
            window = window.max(POLL_MOST * 2);
        }
        window.min(lease)
    }

    /// What attempts of this client that ask for this have in common.
    pub(crate) fn plan(&self, spec: Spec) -> Arc<Plan> {
        Plan::new(spec, self.options.drift, self.same_thread)
    }

    /// Milliseconds a key must live for a lease.
    pub(crate) fn life_ms(&self, lease: Duration) -> u64 {
        millis(lease + self.options.retention)
    }

    /// The same for the key of a primitive, which may have something to remember.
    pub(crate) fn key_life_ms(&self, spec: &Spec, lease: Duration) -> u64 {
        let life = self.life_ms(lease);
        if spec.latch().is_some() {
            life.max(millis(KEEP))
        } else {
            life
        }
    }

    /// The most entries that the queue of an attempt may have.
    pub(crate) fn max_waiters(&self, spec: &Spec) -> u32 {
        spec.max_waiters.unwrap_or(self.options.max_waiters)
    }

    /// The deadline of one request (not the caller's): see [`limit::request`].
    pub(crate) fn request_deadline(&self, lease: Duration, now: Moment) -> Moment {
        now + self.request_timeout(lease)
    }

    /// How long one request may be under way: see [`limit::request`].
    pub(crate) fn request_timeout(&self, lease: Duration) -> Duration {
        let trip = self.route.round_trip();
        limit::request(self.options.operation_timeout, lease, trip)
    }

    /// Applies an event to an attempt, and carries out the effects.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on(&self, attempt: &Arc<Attempt>, event: Event, now: Moment) -> Effects {
        let effects = attempt.on(event, now);
        self.follow(attempt, &effects, now);
        effects
    }

    /// Applies an event whose time does not matter, and carries out the effects.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn note(&self, attempt: &Arc<Attempt>, event: Event) -> Effects {
        self.on(attempt, event, Moment::from_nanos(0))
    }

    /// The same as [`on`](Self::on), for the attempt whose own future is being polled.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on_while_polled(&self, attempt: &Arc<Attempt>, event: Event, now: Moment) -> Effects {
        let effects = attempt.on_while_polled(event, now);
        self.follow(attempt, &effects, now);
        effects
    }

    /// An attempt has ended: whoever drains the client looks again.
    fn has_ended(&self) {
        if self.draining.load(Ordering::Relaxed) {
            self.drained.notify_waiters();
        }
    }

    /// Carries out the effects of a scan, which handles by itself what waits and what is due.
    pub(crate) fn follow_scan(&self, attempt: &Arc<Attempt>, effects: &Effects) {
        if effects.enqueue {
            self.has_ended();
            self.table.push_ending(attempt);
            self.schedule.wake.notify_one();
        }
        match effects.lost {
            None => {}
            Some(Loss::Closed) => debug!(name = %attempt.name, "a hold has ended"),
            Some(loss) => self.warn_of_loss(attempt, loss, effects.late),
        }
    }

    /// Warns once of each loss, and says what led to it as far as the client knows.
    #[cold]
    fn warn_of_loss(&self, attempt: &Arc<Attempt>, loss: Loss, late: Duration) {
        let late = late.max(self.schedule.latest()).max(self.schedule.overdue());
        self.schedule.note_lateness(late);
        let error = match attempt.trouble() {
            _ if loss != Loss::Expired => "none: the server says so".into(),
            Some(trouble) => trouble.to_string(),
            None if !self.route.of(&attempt.key).is_up() => {
                self.route.of(&attempt.key).why_silent().to_string()
            }
            None if late >= attempt.spec.lease / 6 => format!(
                "the keeper was {late:?} late: something blocks its runtime; keeper_thread(true) gives it a thread of its own"
            ),
            None => "none: nothing was to renew it".into(),
        };
        warn!(name = %attempt.name, why = %loss, error = %error, "a hold was lost");
    }

    /// Carries out the effects of an event.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn follow(&self, attempt: &Arc<Attempt>, effects: &Effects, now: Moment) {
        if effects.enqueue || effects.lost.is_some() {
            self.follow_scan(attempt, effects);
        }
        if effects.free {
            self.table.remove(attempt);
            self.has_ended();
        }
        if effects.waits {
            if let Some(channels) = self.channels() {
                channels.want(&attempt.key, Moment::now());
            }
            self.schedule
                .waiting(now, attempt.spec.lease, self.options.unavailable_after);
        }
        if let Some(look) = &effects.look_at {
            self.schedule.look_at(&attempt.key, look);
        }
        if effects.due < Moment::NEVER {
            self.schedule.no_later_than(effects.due);
        }
        if effects.failed {
            attempt.note_trouble(&Arc::from("the server refused to renew it"));
            debug!(name = %attempt.name, "a tick's item failed");
        }
    }

    /// Ends an attempt in the background. Never blocks, allocates or fails (H15).
    pub(crate) fn end(&self, attempt: &Arc<Attempt>) {
        // A hold with a least time is released at once if it has not begun, which the clock tells.
        let now = match attempt.rules().at_least {
            Some(_) => Moment::now(),
            None => Moment::from_nanos(0),
        };
        self.on(attempt, Event::GivenUp, now);
    }

    /// Nothing is held, awaited or being ended.
    pub(crate) fn is_idle(&self) -> bool {
        self.table.len() == 0 && self.refunds.len() == 0
    }

    /// Connections are checked every heartbeat from now on, even if nobody needs them.
    pub(crate) fn keep_alive(&self) {
        self.keeps_alive.store(true, Ordering::Relaxed);
    }

    /// How long a connection may be silent before it is checked.
    pub(crate) fn quiet_for(&self) -> Duration {
        let heartbeat = self.options.heartbeat;
        if self.is_idle() && !self.keeps_alive.load(Ordering::Relaxed) {
            heartbeat * IDLE
        } else {
            heartbeat
        }
    }

    /// A handshake with this node is done: what it found.
    pub(crate) fn greeted(&self, node: &Node, place: Place, greeting: &Greeting, sent: Moment) {
        let before = node.run_id().map(|_| node.heard());
        let is_other = node.greeted(greeting, sent);
        if self.options.start_delay {
            let was_seen = self.has_met(&greeting.past);
            if is_other {
                let since = Since::of(&greeting.past, before, was_seen, Moment::now());
                node.youth().set(since);
            }
        }
        let eras = self.eras.write().unwrap_or_else(PoisonError::into_inner);
        node.sites().arrive(place, is_other);
        if is_other {
            let of_node = |key: &[u8]| std::ptr::eq(&raw const *self.route.of(key), node);
            self.server_changed(of_node);
        }
        drop(eras);
        for warning in &greeting.warnings {
            self.warn_once(warning);
        }
        self.note_publish(greeting.publish_refused);
        self.schedule.set_deaf(greeting.publish_refused); // the right may have been given since
    }

    /// Remembers a server that says this of its past. Returns whether it is new, and was a copy of
    /// one that this client has met.
    fn has_met(&self, past: &Past) -> bool {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = past.copied.as_ref();
        let was_copy = copied.is_some_and(|copied| histories.contains(copied));
        let history = past.history.as_ref();
        let is_new = history.is_none_or(|history| histories.insert(history.clone()));
        drop(histories);
        was_copy && is_new
    }

    /// When the holds are over that the server of this key may have forgotten, and since when it
    /// remembers; if that is in the future, and the client waits for it.
    pub(crate) fn delay(&self, key: &[u8], now: Moment) -> Option<(Moment, Since)> {
        let since = self.route.of(key).youth().get()?;
        let lease = Duration::from_millis(self.longest_lease.load(Ordering::Relaxed));
        let over = since.when + lease;
        (over > now).then_some((over, since))
    }

    /// Why there is a delay, for whoever cannot wait for so long.
    pub(crate) fn delayed(&self, key: &[u8], (over, since): (Moment, Since), now: Moment) -> Error {
        let what = match since.why {
            Why::Restarted => "has restarted, and keeps nothing over a restart",
            Why::TookOver => "has taken over from another one",
            Why::Silent => "is new, and does not answer INFO",
        };
        let node = self.route.of(key);
        let address = node.server().map(|server| server.address).unwrap_or_default();
        let left = Duration::from_millis(millis(over.since(now)));
        let text = format!(
            "the server at {address} {what}: it may have forgotten holds, so no lock is acquired there for another {left:?} (start_delay)"
        );
        Error::new(ErrorKind::Unavailable, text)
    }

    /// The channels of a sharded inbox, if there is one.
    pub(crate) fn channels(&self) -> Option<&Arc<Channels>> {
        let channels = self.channels.as_ref()?;
        self.route.cluster().map(|_| channels)
    }

    /// Returns whether a waiter for this key is told nothing, so that it has to ask.
    pub(crate) fn polls(&self, key: &[u8]) -> bool {
        let is_deaf = |channels: &Arc<Channels>| !channels.is_heard(key);
        !self.schedule.is_listening() || self.channels().is_some_and(is_deaf)
    }

    /// No era begins while this exists.
    pub(crate) fn one_era(&self) -> RwLockReadGuard<'_, ()> {
        self.eras.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another server is at the other end of a node, or the same after a restart: what it says is
    /// not compared with what the other one said, and holds are renewed as soon as there is a
    /// connection, to hear whether it has them. For the keys that `is_there` names.
    /// Returns whether anybody waits for one of them.
    fn server_changed(&self, is_there: impl Fn(&[u8]) -> bool) -> bool {
        let now = Moment::now();
        self.schedule.forget_keys(now, |key| !is_there(key));
        // Nodes of a cluster pass messages on, and one may be under way.
        let late = self.route.cluster().is_some();
        let mut any_waits = false;
        for attempt in self.table.all() {
            if is_there(&attempt.key) {
                self.on(&attempt, Event::ServerChanged { late }, now);
                any_waits |= attempt.with(State::waits_for_a_grant);
            }
        }
        any_waits
    }

    /// Slots of the cluster are at other nodes from now on.
    pub(crate) fn slots_changed(&self, change: &Change) {
        let eras = self.eras.write().unwrap_or_else(PoisonError::into_inner);
        let any_waits = self.server_changed(|key| change.has(self.route.slot(key)));
        drop(eras);
        if let Some(channels) = self.channels() {
            channels.moved(|slot| change.has(slot));
        }
        if any_waits {
            self.schedule.tick_now();
        }
    }

    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for node in self.route.all() {
            let sending = node.sending().warning();
            warnings.extend(sending.filter(|it| !warnings.contains(it)));
        }
        warnings
    }

    pub(crate) fn warn_once(&self, warning: &Warning) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.contains(warning) {
            return;
        }
        warnings.push(warning.clone());
        drop(warnings); // a subscriber is foreign code
        warn!(warning = %warning, "something about the server can cost locks or speed");
    }

    /// Warns if this client holds what the attempt has waited for. A search looks at all attempts, so there is one a second
    /// at most, and a warning a minute. Returns when to search again for this attempt.
    pub(crate) fn look_for_own_hold(&self, attempt: &Attempt, now: Moment) -> Moment {
        let mut next = self.own_search.lock().unwrap_or_else(PoisonError::into_inner);
        if now < *next {
            return (*next).max(now + attempt.spec.lease);
        }
        *next = now + SEARCH;
        drop(next);
        if !self
            .table
            .beside(attempt)
            .iter()
            .any(|other| other.held().is_some())
        {
            return now + attempt.spec.lease.max(SEARCH);
        }
        *self.own_search.lock().unwrap_or_else(PoisonError::into_inner) = now + SEARCH * 60;
        warn!(name = %attempt.name, "this client has waited for a lease for what it holds itself: if the holder waits for the waiter, both wait forever");
        Moment::NEVER
    }

    /// A script said that it could not publish.
    pub(crate) fn note_publish(&self, refused: bool) {
        if refused && self.schedule.set_deaf(true) {
            self.warn_once(&Warning::PublishDenied);
        }
    }

    /// Changes the client's life: wakes the attempts that wait, and ends the holds. A life that is
    /// over does not change again, even if several threads end it at once.
    pub(crate) fn shut(&self, life: Life) {
        let news = self.life.send_if_modified(|now| {
            let news = !now.is_over() && *now != life;
            if news {
                *now = life;
            }
            news
        });
        if !news {
            return;
        }
        let closing = life == Life::Closing;
        let all = self.table.all();
        for attempt in &all {
            self.on(attempt, Event::ClientClosed { closing }, Moment::now());
        }
        // Nobody is handed anything any more: not even what a hold of this client leaves.
        for attempt in all.iter().filter(|_| closing) {
            self.on(attempt, Event::GivenUp, Moment::now());
        }
        self.refunds.close();
        self.collected.store(true, Ordering::Release);
        self.schedule.wake_all();
    }
}

/// A node of a client with these options.
pub(crate) fn node(options: &Options, driver: &Handle) -> Node {
    let times = (options.operation_timeout, options.heartbeat);
    Node::new(Arc::clone(&options.prefix), driver.clone(), times).fail_fast_after(options.fail_fast_after)
}

/// What new attempts answer while the client is draining.
const DRAINING: &str = "the client is draining: it finishes what is held, and begins nothing new";
/// The pause between two searches for waits for the client's own holds.
const SEARCH: Duration = Duration::from_secs(1);

/// What everything answers once the client is closed.
const CLOSED: &str = "the client is closed: connect another one";

/// Why everything answers `Closed` when nobody called `close`.
const ORPHANED: &str = "the runtime that drives the client has ended: connect in a runtime that lives as long as the client, or use keeper_thread(true)";

impl Shared {
    /// The error of those who wait when the client's life ends.
    pub(crate) fn closed_error(&self) -> Error {
        let text = if self.draining.load(Ordering::Relaxed) {
            DRAINING
        } else {
            CLOSED
        };
        self.check_open()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Closed, text))
    }
}

/// 122 random bits in 22 characters that are safe everywhere.
fn new_client_id() -> String {
    let mut id = [0; id::CLIENT];
    crate::base::random::digits(&mut id);
    id.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_life_that_is_over_stays_over() {
        for over in [Life::Closed, Life::Orphaned] {
            let shared = Shared::new(Options::default(), Handle::current());
            shared.shut(over);
            shared.shut(Life::Closing); // by one who had seen it open
            assert_eq!(shared.life(), over, "or the alarm would never end");
        }
    }

    #[test]
    fn h25_client_ids_are_unguessable_and_fit_the_channel() {
        let ids: Vec<String> = (0..4000).map(|_| new_client_id()).collect();
        assert_eq!(crate::base::random::random_bits(&ids), 122, "nothing to guess by");
        let different: HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len(), "all different");
        assert!(ids.iter().all(|id| id.len() == id::CLIENT), "of one length");
    }
}
