//! Gets grants to replicas, or to the disk: one task for each node that is asked for that.
//!
//! All grants that wait at the same time share one pair: a tick that renews them, and is certainly
//! a write, and behind it `WAIT` or `WAITAOF`, on a connection that has nothing else to do. See
//! "Durability" in `docs/design.md`.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::sync::oneshot;

use super::keeper::renew::{Item, args, exchange, secured};
use crate::attempt::Attempt;
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until, until};
use crate::base::trace::debug;
use crate::connection::failure::{Failure, Redirect};
use crate::connection::node::Node;
use crate::connection::refusal::{Target, classify, is_no_script};
use crate::connection::witness::{Seen, Want, Witness};
use crate::runtime::durable::{Call, Lane, Outcome};
use crate::runtime::shared::{Life, Shared};
use crate::types::error::{Error, ErrorKind};
use crate::wire::reply::{TickItem, TickReply};
use crate::wire::request::tick;
use crate::wire::script::TICK;
use crate::wire::value::Reply;

/// A server that waits does nothing else on that connection. So it waits for so long at a time, and
/// grants that come meanwhile have their turn then.
const TURN: Duration = Duration::from_millis(100);
/// The pauses before another try.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// A connection that nobody needs is kept for so long.
const LINGER: Duration = Duration::from_secs(30);
/// The most grants of one request.
const MOST: usize = 128;

/// Has a grant waited for until `until`. The receiver learns what became of it; it fails if the
/// client ends.
pub(crate) fn secure(
    shared: &Arc<Shared>,
    (attempt, token): (&Arc<Attempt>, u64),
    want: Want,
    until: Moment,
) -> oneshot::Receiver<Outcome> {
    let (done, outcome) = oneshot::channel();
    let call = Call {
        attempt: Arc::clone(attempt),
        token,
        until,
        asking: false,
        is_elsewhere: false,
        refused: None,
        written: 0,
        count: None,
        error: None,
        done,
    };
    let node = shared.route.of(&attempt.key);
    enter(shared, &node, want, call);
    outcome
}

/// Hands a call over to the lane of this node, which is begun if there is none.
fn enter(shared: &Arc<Shared>, node: &Arc<Node>, want: Want, call: Call) {
    if let Some(lane) = shared.lanes.enter(node, want, call) {
        let whole = Arc::clone(shared);
        drop(shared.driver.spawn(async move {
            let mut life = whole.life.subscribe();
            let lane = Traffic {
                shared: &whole,
                lane,
                waiting: Vec::new(),
                witness: None,
                opened: 0,
                proved: None,
            };
            tokio::select! {
                () = lane.run() => {}
                // The sender lives as long as we do: this cannot fail.
                _ = life.wait_for(|life: &Life| life.is_over()) => {}
            }
        }));
    }
}

/// What a lane is doing.
struct Traffic<'a> {
    shared: &'a Arc<Shared>,
    lane: Lane,
    waiting: Vec<Call>,
    witness: Option<Witness>,
    /// How many connections there were, which is the number of the present one.
    opened: u64,
    /// The era of the server whose word for the disk can be relied on.
    proved: Option<u64>,
}

impl Traffic<'_> {
    /// Runs until nobody has needed the lane for a while.
    async fn run(mut self) {
        let mut pauses = Backoff::new(PAUSES);
        loop {
            if self.waiting.is_empty() && !self.is_entered().await {
                return;
            }
            while let Ok(call) = self.lane.calls.try_recv() {
                self.waiting.push(call);
            }
            self.let_go(Moment::now());
            if self.waiting.is_empty() {
                continue;
            }
            let Err(failure) = self.turn().await else {
                pauses.reset();
                continue;
            };
            debug!(error = %failure.error, "grants wait to be replicated or saved");
            if !failure.passing {
                self.refuse(&failure.error);
                continue;
            }
            self.witness = None;
            for call in &mut self.waiting {
                call.error = Some(Error::new(failure.error.kind(), failure.error.to_string()));
            }
            let pause = Moment::now() + pauses.next();
            let next = self.waiting.iter().map(|call| call.until).min();
            sleep_until(pause.min(next.unwrap_or(pause)), None).await;
        }
    }

    /// Waits for a call. Returns `false` if the lane is closed, as there was none for long.
    async fn is_entered(&mut self) -> bool {
        let over = Moment::now() + LINGER;
        let call = match until(over, None, self.lane.calls.recv()).await {
            Some(call) => call,
            None => self.shared.lanes.leave(&mut self.lane),
        };
        let is_entered = call.is_some();
        self.waiting.extend(call);
        is_entered
    }

    /// Tells those whose time is up, and forgets those that nobody waits for any longer.
    fn let_go(&mut self, now: Moment) {
        let (waiting, over) = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter(|call| !call.done.is_closed())
            .partition(|call| call.until > now);
        self.waiting = waiting;
        for call in over as Vec<Call> {
            let (count, error) = (call.count, call.error);
            tell(call.done, Outcome::Short { count, error });
        }
    }

    /// Tells all that wait that this cannot be had.
    fn refuse(&mut self, error: &Error) {
        for call in self.waiting.drain(..) {
            let error = Error::new(error.kind(), error.to_string());
            tell(call.done, Outcome::Refused(error));
        }
    }

    /// One request for all that wait.
    async fn turn(&mut self) -> Result<(), Failure> {
        let patience = self.shared.options.operation_timeout;
        let prefix = Arc::clone(&self.shared.options.prefix);
        let target = Target {
            script: Some(&TICK),
            prefix: &prefix,
        };
        self.connect(target, patience).await?;
        let Some(witness) = &mut self.witness else {
            return Ok(());
        };
        let now = Moment::now();
        let left = self.waiting.iter().map(|call| call.until.since(now)).min();
        let most = left.unwrap_or(TURN).min(TURN).max(Duration::from_millis(1));
        let fresh: Vec<usize> = (0..self.waiting.len())
            .filter(|at| self.waiting[*at].written != self.opened)
            .take(MOST)
            .collect();
        let is_alone = self.shared.route.cluster().is_some();
        let groups = if is_alone {
            fresh.chunks(1)
        } else {
            fresh.chunks(MOST)
        };
        let groups: Vec<&[usize]> = groups.collect();
        let mut commands = Vec::new();
        for group in &groups {
            let calls = group.iter().map(|at| &self.waiting[*at]);
            let items: Vec<Item> = calls.map(item).collect();
            let items: Vec<_> = items
                .iter()
                .map(|item| secured(args(self.shared, item)))
                .collect();
            let request = tick(&items);
            if group.iter().any(|at| self.waiting[*at].asking) {
                commands.push(Witness::asking());
            }
            commands.push(if self.lane.node.sending().is_text() {
                request.as_eval()
            } else {
                request.command
            });
        }
        let era = witness.era();
        let asked = witness.ask(commands, (self.lane.want, most), target, patience);
        let seen = tokio::select! {
            biased;
            () = self.lane.node.sites().ends(era) => return Err(taken_over()),
            seen = asked => seen?,
        };
        self.apply(&groups, seen, target).await
    }

    /// Makes sure that there is a connection.
    async fn connect(&mut self, target: Target<'_>, patience: Duration) -> Result<(), Failure> {
        if let Some(witness) = &mut self.witness {
            let silence = Moment::now().since(witness.heard);
            let is_used = silence < self.shared.options.heartbeat;
            if witness.is_of(&self.lane.node) && (is_used || witness.is_alive(patience).await) {
                return Ok(());
            }
            self.witness = None;
        }
        let mut witness = Witness::open(&self.lane.node, target, patience).await?;
        if self.lane.want == Want::Disk && self.proved != Some(witness.era()) {
            let key = self.waiting.first().map(|call| Arc::clone(&call.attempt.key));
            let key = key.unwrap_or_default();
            let tag = key
                .iter()
                .position(|byte| *byte == b'{')
                .map_or(&key[..0], |at| &key[at..]);
            let shared = self.shared;
            let head = format!("{}:probe:", shared.options.prefix);
            let key = [head.as_bytes(), tag, b":", shared.client_id.as_bytes()].concat();
            witness.prove(&key, target, patience).await?;
            self.proved = Some(witness.era());
        }
        self.opened += 1;
        self.witness = Some(witness);
        Ok(())
    }

    /// Applies what the server answered to the grants, and tells those of which enough is known.
    async fn apply(&mut self, groups: &[&[usize]], seen: Seen, target: Target<'_>) -> Result<(), Failure> {
        let count = seen.count;
        let failure = self.apply_ticks(groups, seen, target)?;
        let mut moved = Vec::new();
        for mut call in std::mem::take(&mut self.waiting) {
            let is_written = call.written == self.opened;
            if is_written {
                call.count = Some(count);
            }
            if call.is_elsewhere {
                moved.push(call);
            } else if is_written && self.lane.want.is_met(count) {
                tell(call.done, Outcome::Met(count));
            } else {
                self.waiting.push(call);
            }
        }
        if !moved.is_empty() {
            self.follow(moved).await;
        }
        failure.map_or(Ok(()), Err)
    }

    /// The answers to the ticks. Returns why one was not run, unless it has to be asked for elsewhere.
    fn apply_ticks(
        &mut self,
        groups: &[&[usize]],
        seen: Seen,
        target: Target<'_>,
    ) -> Result<Option<Failure>, Failure> {
        let shared = self.shared;
        let _same_era = shared.one_era();
        if !self.witness.as_ref().is_some_and(|it| it.is_of(&self.lane.node)) {
            return Err(taken_over());
        }
        let mut failure = None;
        let mut replies = seen.replies.into_iter();
        for group in groups {
            if group.iter().any(|at| self.waiting[*at].asking) {
                replies.next(); // to ASKING
            }
            match replies.next() {
                Some(Ok(reply)) => self.written(group, reply, seen.sent)?,
                Some(Err(error)) => {
                    for at in *group {
                        let refused = not_written(&error, target);
                        let call = &mut self.waiting[*at];
                        call.is_elsewhere = refused.redirect.is_some() || refused.is_no_script();
                        if call.is_elsewhere {
                            call.refused = Some(refused);
                        } else {
                            failure = Some(refused);
                        }
                    }
                }
                None => {}
            }
        }
        if shared.route.cluster().is_some() {
            for call in self.waiting.iter_mut().filter(|call| !call.asking) {
                // The slot has moved: what counts is whether it is at the replicas there.
                let node = shared.route.of(&call.attempt.key);
                call.is_elsewhere |= !Arc::ptr_eq(&node, &self.lane.node);
            }
        }
        Ok(failure)
    }

    /// The server has renewed these, or has not got them.
    fn written(&mut self, group: &[usize], reply: Value, sent: Moment) -> Result<(), Failure> {
        let mut reply = TickReply::read(Reply(reply)).map_err(Failure::refused)?;
        self.lane.node.clock().note(sent, reply.stamp);
        self.shared.note_publish(reply.refused);
        for at in group {
            let call = &mut self.waiting[*at];
            let answer = reply.next().map_err(Failure::refused)?;
            let item = item(call);
            item.apply(self.shared, answer, (reply.stamp, sent));
            match answer {
                TickItem::Held(_) => call.written = self.opened,
                TickItem::Lost(_) => say(call, Outcome::Lost),
                _ => {
                    let text = "the server could not renew the hold";
                    say(call, Outcome::Refused(Error::new(ErrorKind::WrongType, text)));
                }
            }
        }
        Ok(())
    }

    /// These have to be asked for at another node, or the server does not know the script.
    async fn follow(&mut self, moved: Vec<Call>) {
        let (shared, node) = (self.shared, Arc::clone(&self.lane.node));
        let pause = Moment::now() + PAUSES.0;
        let mut is_loaded = false;
        for mut call in moved {
            let refused = call.refused.take();
            let redirect = refused.as_ref().and_then(|refused| refused.redirect.as_deref());
            let mut to = None;
            match (shared.route.cluster(), redirect) {
                (Some(cluster), Some(Redirect::Moved { slot, to })) => {
                    cluster.moved(*slot, to.clone(), &node);
                }
                (Some(cluster), Some(Redirect::Ask(there))) => {
                    let slot = shared.route.slot(&call.attempt.key);
                    to = Some(cluster.asked(slot, there.clone(), &node));
                }
                (Some(cluster), Some(Redirect::TryAgain | Redirect::Down)) => {
                    cluster.worry.notify_one();
                }
                _ if refused.is_some() && !is_loaded => {
                    self.load(&call).await;
                    is_loaded = true;
                }
                _ => {}
            }
            if let Some(refused) = refused {
                call.error = Some(refused.error);
            }
            call.asking = to.is_some();
            call.is_elsewhere = false;
            let to = to.unwrap_or_else(|| shared.route.of(&call.attempt.key));
            if Arc::ptr_eq(&to, &node) {
                self.waiting.push(call);
            } else {
                call.written = 0;
                enter(shared, &to, self.lane.want, call);
            }
        }
        sleep_until(pause, None).await;
    }

    /// Renews the hold over the node's own connection, which loads the scripts.
    async fn load(&self, call: &Call) {
        let deadline = call
            .until
            .min(Moment::now() + self.shared.options.operation_timeout);
        if let Err(failure) = exchange(self.shared, &[item(call)], deadline).await {
            debug!(error = %failure.error, "a grant that waits cannot be renewed");
        }
    }
}

fn taken_over() -> Failure {
    let text = "another server has taken over from the one that has the grant";
    Failure::passing(Error::new(ErrorKind::Unavailable, text))
}

fn item(call: &Call) -> Item {
    Item::renew(Arc::clone(&call.attempt), call.token)
}

fn not_written(error: &RedisError, target: Target<'_>) -> Failure {
    if is_no_script(error) {
        return Failure::no_script();
    }
    classify(error, target)
}

/// Tells whoever waits for this call. It is forgotten in the next turn.
fn say(call: &mut Call, outcome: Outcome) {
    let (nobody, _) = oneshot::channel();
    tell(std::mem::replace(&mut call.done, nobody), outcome);
}

/// Its future may have been dropped.
fn tell(done: oneshot::Sender<Outcome>, outcome: Outcome) {
    drop(done.send(outcome));
}
