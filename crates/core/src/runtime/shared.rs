//! What all parts of a client share, and how its life ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

use super::deliver::deliver_over;
use crate::attempt::{Attempt, Spec, Stage};
use crate::base::clock::{Moment, millis};
use crate::base::limit;
use crate::base::trace::{debug, warn};
use crate::connection::commands::Commands;
use crate::connection::handshake::Greeting;
use crate::runtime::batch::Combiner;
use crate::runtime::refunds::Refunds;
use crate::runtime::schedule::KeeperLink;
use crate::runtime::table::Table;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::types::options::{KEEP, Options};
use crate::types::server::{ServerInfo, Warning};
use crate::wire::message;
use crate::wire::message::Message;

/// Characters of a client id; scripts take the first 22 of an attempt id for the channel.
const CLIENT_ID: usize = 22;

/// A message from further ahead than this was not written by a script, microseconds: a day.
const FUTURE: u64 = 86_400_000_000;

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

/// Shared by a client's handles, guards, futures and tasks.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) client_id: String,
    /// Our own channel; scripts find its beginning, which all clients' have, from their keys.
    pub(crate) channel: String,
    pub(crate) commands: Commands,
    pub(crate) combiner: Combiner,
    pub(crate) table: Table,
    pub(crate) refunds: Refunds,
    pub(crate) keeper: KeeperLink,
    pub(crate) driver: Handle,
    /// The keeper runs on the thread that user code may block: a hand-off is confirmed before it is handed out (rule 7).
    pub(crate) same_thread: bool,
    pub(crate) life: watch::Sender<Life>,
    /// The client's life ends, and everything there was is in the queue of those to be ended.
    pub(crate) collected: AtomicBool,
    /// Whether the inbox was subscribed or refused at least once.
    pub(crate) inbox_tried: watch::Sender<bool>,
    pub(crate) server: Mutex<Option<ServerInfo>>,
    warnings: Mutex<Vec<Warning>>,
    /// The longest lease that this client has used, in ms: its label lives as long.
    pub(crate) longest_lease: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: Options, driver: Handle) -> Self {
        let client_id = new_client_id();
        let workers = match driver.runtime_flavor() {
            RuntimeFlavor::CurrentThread => 1,
            _ => driver.metrics().num_workers(),
        };
        Self {
            channel: format!("{}:inbox:{client_id}", options.prefix),
            commands: Commands::new(
                Arc::clone(&options.prefix),
                driver.clone(),
                options.operation_timeout,
            ),
            combiner: Combiner::default(),
            table: Table::default(),
            refunds: Refunds::default(),
            keeper: KeeperLink::new(options.unavailable_after),
            same_thread: !options.keeper_thread && workers < 2,
            life: watch::Sender::new(Life::Open),
            collected: AtomicBool::new(false),
            inbox_tried: watch::Sender::new(false),
            server: Mutex::new(None),
            warnings: Mutex::new(Vec::new()),
            longest_lease: AtomicU64::new(millis(options.lease)),
            client_id,
            driver,
            options,
        }
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

    /// Takes a slot for a new attempt; `Closed` unless new ones are welcome.
    pub(crate) fn attempt(&self, key: Arc<[u8]>, name: Name, spec: Spec) -> Result<Arc<Attempt>> {
        let lease = millis(spec.lease);
        self.longest_lease.fetch_max(lease, Ordering::Relaxed);
        let window = millis(self.claim_window(spec.lease));
        let attempt = self.table.insert(|counter| {
            let id = spec.id(&self.client_id, counter, window);
            Attempt::new(id, counter, key, name, spec)
        });
        // Looked at after the slot is taken: `shut` ends whatever has one, and this one it may just have missed.
        if let Err(error) = self.check_open() {
            self.table.remove(&attempt);
            return Err(error.named(&attempt.name));
        }
        Ok(attempt)
    }

    /// Rule 6: long enough to hear of the hand-off and confirm it, never above the lease.
    fn claim_window(&self, lease: Duration) -> Duration {
        let mut window = self
            .options
            .claim_window
            .max(self.commands.round_trip() * limit::TRIPS);
        if !self.keeper.is_listening() {
            window = window.max(crate::runtime::schedule::POLL_MOST * 2);
        }
        window.min(lease)
    }

    /// Milliseconds a key must live for a lease.
    pub(crate) fn life_ms(&self, lease: Duration) -> u64 {
        millis(lease + self.options.retention)
    }

    /// The same for the key of a primitive, which may have something to remember.
    pub(crate) fn key_life_ms(&self, spec: &Spec, lease: Duration) -> u64 {
        let life = self.life_ms(lease);
        if spec.counted || spec.latch.is_some() {
            life.max(millis(KEEP))
        } else {
            life
        }
    }

    /// The deadline of one request (not the caller's): see [`limit::request`].
    pub(crate) fn request_deadline(&self, lease: Duration) -> Moment {
        let trip = self.commands.round_trip();
        Moment::now() + limit::request(self.options.operation_timeout, lease, trip)
    }

    /// Ends an attempt in the background. Never blocks, allocates or fails (H15).
    pub(crate) fn end(&self, attempt: &Arc<Attempt>) {
        if self.table.end(attempt) {
            self.keeper.wake.notify_one();
        }
    }

    /// A message came in.
    pub(crate) fn deliver(&self, payload: &[u8]) {
        let receipt = Moment::now();
        let latest = self.commands.server_time(receipt) + FUTURE;
        for message in message::parse(payload) {
            if message.stamp() > latest {
                continue; // no script of ours wrote this
            }
            if let Message::Over {
                counter,
                generation,
                how,
                ..
            } = message
            {
                deliver_over(self, counter, generation, how);
                continue;
            }
            let Some(attempt) = self.table.get(message.counter()) else {
                // Its end was answered, so nothing of it is left there: an old message.
                debug!(message = ?message, "a message for an attempt that is gone");
                continue;
            };
            match message {
                Message::Grant {
                    token,
                    stamp,
                    window,
                    delay,
                    ..
                } => {
                    let mut state = attempt.state();
                    let drift = self.options.drift;
                    if stamp >= state.stamp {
                        state.start = receipt + delay; // the server's is no later
                    }
                    state.apply_message(token, stamp, window, receipt, &attempt.spec, drift);
                }
                Message::Behind { left, stamp, .. } => {
                    attempt.state().apply_queued(stamp);
                    self.keeper.look_at(&attempt, receipt + left, stamp, None);
                }
                Message::Forced { stamp, .. } => self.forced(&attempt, stamp),
                Message::Over { .. } => {}
            }
        }
    }

    fn forced(&self, attempt: &Arc<Attempt>, stamp: u64) {
        let held = attempt.state().apply_forced(stamp);
        if held {
            warn!(name = %attempt.name, "a hold was forced open");
            self.end(attempt);
        }
    }

    /// A handshake is done: what it found.
    pub(crate) fn greeted(&self, greeting: &Greeting, sent: Moment) {
        self.commands.note_stamp(sent, greeting.stamp);
        self.commands.set_round_trip(greeting.round_trip);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(greeting.info.clone());
        for warning in &greeting.warnings {
            self.warn_once(warning.clone());
        }
        self.note_publish(greeting.publish_refused);
        self.keeper.set_deaf(greeting.publish_refused); // the right may have been given since
    }

    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn warn_once(&self, warning: Warning) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warn!(warning = %warning, "something about the server can cost locks or speed");
            warnings.push(warning);
        }
    }

    /// A script said that it could not publish.
    pub(crate) fn note_publish(&self, refused: bool) {
        if refused && self.keeper.set_deaf(true) {
            self.warn_once(Warning::PublishDenied);
        }
    }

    /// Ends the client's life; what waits is told, what is held is ended.
    pub(crate) fn shut(&self, life: Life) {
        self.life.send_replace(life);
        for attempt in self.table.all() {
            let mut state = attempt.state();
            state.closed = true;
            if life == Life::Closing && state.stage == Stage::Held {
                state.lose(Loss::Closed);
            }
            state.wake();
            drop(state);
            if life == Life::Closing {
                self.end(&attempt);
            }
        }
        self.refunds.close();
        self.collected.store(true, Ordering::Release);
        self.keeper.rouse();
    }
}

/// What everything answers once the client is closed.
const CLOSED: &str = "the client is closed";

/// Why everything answers `Closed` when nobody called `close`.
const ORPHANED: &str = "the runtime that drives the client has ended: connect in a runtime that lives as long as the client, or use keeper_thread(true)";

impl Shared {
    /// The error of those who wait when the client's life ends.
    pub(crate) fn closed_error(&self) -> Error {
        self.check_open()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Closed, CLOSED))
    }
}

/// 122 random bits in 22 characters that are safe everywhere.
fn new_client_id() -> String {
    let mut id = [0; CLIENT_ID];
    crate::base::random::digits(&mut id);
    id.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h25_client_ids_are_unguessable_and_fit_the_channel() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_client_id()).collect();
        assert_eq!(ids.len(), 1000, "all different");
        assert!(ids.iter().all(|id| id.len() == CLIENT_ID), "of one length");
    }
}
