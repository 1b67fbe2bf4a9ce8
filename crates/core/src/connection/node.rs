//! A node: one connection to one server. It sends requests, and reports what is known about their
//! outcome.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::base::clock::{Moment, nanos, until};
use crate::base::server_clock::ServerClock;
use crate::connection::distance::Trip;
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::handshake::Greeting;
use crate::connection::outage::Outage;
use crate::connection::refusal::{Target, breaks_connection, classify, is_no_script, is_unknown, said};
use crate::connection::sending::Sending;
use crate::connection::site::Sites;
use crate::connection::youth::Youth;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::server::ServerInfo;
use crate::wire::command::Request;
use crate::wire::plain::command;
use crate::wire::script::Script;
use crate::wire::value::{Answer, Reply};

/// A connection, to send with.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) generation: u64,
    /// Each command is about a slot that is moving to this server: `ASKING` precedes it.
    asking: bool,
}

impl Link {
    /// The same for commands about a slot that is moving to this server.
    pub(crate) const fn asking(mut self) -> Self {
        self.asking = true;
        self
    }
}

static ASKING: LazyLock<Cmd> = LazyLock::new(|| command(&["ASKING"]));

/// One connection to one server, with what is known of that server.
pub(crate) struct Node {
    link: RwLock<Option<Link>>,
    /// The generation of the present connection; 0 while there is none.
    pub(super) up: watch::Sender<u64>,
    /// Tells the supervisor that the connection of this generation is bad.
    bad: AtomicU64,
    pub(crate) trouble: Notify,
    /// How often sentinels have named another primary.
    switches: AtomicU64,
    /// The same, for the supervisor while it has no connection.
    pub(crate) news: Notify,
    /// When the oldest unanswered request was sent, if nothing has arrived since: nanoseconds of a
    /// `Moment`, or 0 if there is none.
    silent_since: AtomicU64,
    /// When anything arrived last: nanoseconds of a `Moment`.
    heard: AtomicU64,
    /// The connection has been silent for a while, and the supervisor has to check it.
    suspect: AtomicBool,
    /// How long a request may be unanswered before the connection is checked.
    patience: Duration,
    /// How long nothing may have been asked before the next request has the connection checked.
    pub(super) quiet: Duration,
    /// Single flight: one SCRIPT LOAD however many requests meet NOSCRIPT (H37).
    pub(super) loading: tokio::sync::Mutex<u64>,
    pub(super) loads: AtomicU64,
    clock: Arc<ServerClock>,
    /// Smoothed, in nanoseconds.
    round_trip: AtomicU64,
    distance: Mutex<Trip>,
    outage: Outage,
    /// When the present connection was installed, in nanoseconds of a `Moment`.
    installed: AtomicU64,
    sending: Sending,
    server: Mutex<Option<ServerInfo>>,
    /// The process at the other end of the last connection, as far as it said.
    run: Mutex<Option<String>>,
    sites: Sites,
    youth: Youth,
    /// The generation of the last connection that was left.
    left: AtomicU64,
    /// Tells what is under way there.
    left_now: Notify,
    /// Another server may take over from this one.
    may_be_left: AtomicBool,
    /// Is told of whatever may mean that another server has taken over.
    worry: Option<Arc<Notify>>,
    prefix: Arc<str>,
    driver: Handle,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("generation", &*self.up.borrow())
            .finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn new(prefix: Arc<str>, driver: Handle, (patience, quiet): (Duration, Duration)) -> Self {
        Self {
            link: RwLock::new(None),
            up: watch::Sender::new(0),
            bad: AtomicU64::new(0),
            trouble: Notify::new(),
            switches: AtomicU64::new(0),
            news: Notify::new(),
            silent_since: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            patience,
            quiet,
            loading: tokio::sync::Mutex::new(0),
            loads: AtomicU64::new(0),
            clock: Arc::new(ServerClock::new()),
            round_trip: AtomicU64::new(0),
            distance: Mutex::new(Trip::new()),
            outage: Outage::default(),
            installed: AtomicU64::new(0),
            sending: Sending::default(),
            server: Mutex::new(None),
            run: Mutex::new(None),
            sites: Sites::new(),
            youth: Youth::default(),
            left: AtomicU64::new(0),
            left_now: Notify::new(),
            may_be_left: AtomicBool::new(false),
            worry: None,
            prefix,
            driver,
        }
    }

    /// After that long without a connection, calls fail at once.
    pub(crate) fn fail_fast_after(mut self, time: Option<Duration>) -> Self {
        self.outage = Outage::new(time);
        self
    }

    /// Another server may take over from this one: `worry` is told of whatever may mean that.
    pub(crate) fn of_cluster(mut self, worry: Arc<Notify>) -> Self {
        self.worry = Some(worry);
        self.may_be_left = AtomicBool::new(true);
        self
    }

    /// Another server may take over from this one, as sentinels decide.
    pub(crate) fn may_be_left(&self) {
        self.may_be_left.store(true, Ordering::Relaxed);
    }

    /// Something may mean that another server has taken over.
    pub(crate) fn worry(&self) {
        if let Some(worry) = &self.worry {
            worry.notify_one();
        }
    }

    /// A handshake is done: what it found. Returns whether another server than before has answered,
    /// or the same after a restart.
    pub(crate) fn greeted(&self, greeting: &Greeting, sent: Moment) -> bool {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.clock.note(sent, greeting.stamp);
        // The average begins anew on a new connection.
        self.round_trip
            .store(nanos(greeting.round_trip), Ordering::Relaxed);
        self.sending.set_loading(greeting.can_load);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(greeting.info.clone());
        let run = greeting.run.clone();
        let before = std::mem::replace(&mut *self.run.lock().unwrap_or_else(PoisonError::into_inner), run);
        before.is_none() || before != greeting.run
    }

    /// Which process is at the other end of the last connection, as far as it said.
    pub(crate) fn run_id(&self) -> Option<String> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server is, if it was ever reached.
    pub(crate) fn server(&self) -> Option<ServerInfo> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How scripts are sent.
    pub(crate) fn sending(&self) -> &Sending {
        &self.sending
    }

    pub(crate) fn install(&self, connection: MultiplexedConnection, generation: u64) {
        let now = Moment::now();
        self.note_heard(now);
        self.installed.store(now.nanos(), Ordering::Relaxed);
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        *link = Some(Link {
            connection,
            generation,
            asking: false,
        });
        drop(link);
        self.up.send_replace(generation);
    }

    /// There is no connection any longer. `why`: unless a request has noted that. `lasted`: it was a good one.
    pub(crate) fn take_down(&self, why: Option<&Error>, lasted: bool) {
        self.outage.begin(lasted);
        if let Some(why) = why {
            self.outage.note(why);
        }
        self.up.send_replace(0);
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.worry();
    }

    /// A sentinel names another primary than before. A connection that is being made may lead to
    /// the one before.
    pub(crate) fn note_switch(&self) {
        self.switches.fetch_add(1, Ordering::SeqCst);
        self.news.notify_one();
    }

    /// Returns how often sentinels have named another primary.
    pub(crate) fn switches(&self) -> u64 {
        self.switches.load(Ordering::SeqCst)
    }

    /// Another server has taken over from this one: nothing that this connection says from now on
    /// counts, even if the server lives and answers.
    pub(crate) fn leave(&self) {
        let generation = self.generation();
        self.left.fetch_max(generation, Ordering::AcqRel);
        self.left_now.notify_waiters();
        self.sites.leave();
        self.report(generation, &Error::new(ErrorKind::Unavailable, SWITCHED));
    }

    /// Since when its server remembers what it has granted.
    pub(crate) const fn youth(&self) -> &Youth {
        &self.youth
    }

    /// Where its connection leads.
    pub(crate) const fn sites(&self) -> &Sites {
        &self.sites
    }

    /// What is known of the present outage, or of the last one.
    pub(crate) fn outage(&self) -> &Outage {
        &self.outage
    }

    pub(crate) fn is_bad(&self, generation: u64) -> bool {
        self.bad.load(Ordering::Relaxed) == generation
    }

    /// This connection is of no use any longer: nothing more is handed over to it, and the supervisor
    /// replaces it.
    pub(super) fn report(&self, generation: u64, why: &Error) {
        if generation == self.generation() {
            self.outage.note(why);
            // Before anybody sees that there is none: the outage begins now, and not with the last one.
            let installed = Moment::from_nanos(self.installed.load(Ordering::Relaxed));
            let lasted = Moment::now().since(installed) > self.quiet.min(GOOD);
            self.outage.begin(lasted);
        }
        self.bad.fetch_max(generation, Ordering::Relaxed);
        self.worry();
        self.up.send_if_modified(|up| {
            let is_present = *up == generation;
            if is_present {
                *up = 0;
            }
            is_present
        });
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        let ended = link.take_if(|link| link.generation == generation);
        drop(link);
        drop(ended); // not under the lock
        self.trouble.notify_one();
    }

    /// Notes that a request timed out. This alone proves nothing: the deadline may be a caller's,
    /// or the reply may have arrived after the caller stopped waiting. After a silence the
    /// supervisor checks the connection.
    fn note_timeout(&self, generation: u64) {
        let since = self.silent_since.load(Ordering::Relaxed);
        let silence = Moment::now().since(Moment::from_nanos(since));
        if since != 0 && silence >= self.patience && generation == self.generation() {
            self.suspect();
            self.worry();
        }
    }

    /// Asks the supervisor to check the connection.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
        self.trouble.notify_one();
    }

    /// Returns for how long the oldest unanswered request has waited, with nothing heard since.
    pub(crate) fn silence(&self, now: Moment) -> Duration {
        match self.silent_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.since(Moment::from_nanos(since)),
        }
    }

    /// Returns whether the connection has to be checked, and clears the request to do so.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.swap(false, Ordering::Relaxed)
    }

    fn note_sent(&self, now: Moment) {
        if self.silent_since.load(Ordering::Relaxed) == 0 {
            self.silent_since.store(now.nanos(), Ordering::Relaxed);
            if now.since(self.heard()) >= self.quiet {
                self.suspect(); // nobody has noticed if it broke meanwhile
            }
        }
    }

    fn note_heard(&self, now: Moment) {
        self.silent_since.store(0, Ordering::Relaxed);
        self.heard.store(now.nanos(), Ordering::Relaxed);
    }

    /// Returns when anything arrived last.
    pub(crate) fn heard(&self) -> Moment {
        Moment::from_nanos(self.heard.load(Ordering::Relaxed))
    }

    /// Returns the host of the server, as far as there ever was a connection.
    pub(crate) fn host(&self) -> String {
        let site = self.sites.get();
        site.map(|site| site.place.endpoint.host()).unwrap_or_default()
    }

    pub(crate) const fn driver(&self) -> &Handle {
        &self.driver
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow() != 0
    }

    /// Resolves when a connection other than `generation` is up.
    pub(crate) async fn wait_for_other(&self, generation: u64) {
        let mut up = self.up.subscribe();
        // The sender lives as long as we do: this cannot fail.
        let _closed = up.wait_for(|&now| now != 0 && now != generation).await.is_err();
    }

    /// Resolves when no connection is up.
    pub(crate) async fn wait_until_down(&self) {
        let mut up = self.up.subscribe();
        // The sender lives as long as we do: this cannot fail.
        let _closed = up.wait_for(|&now| now == 0).await.is_err();
    }

    pub(crate) fn generation(&self) -> u64 {
        *self.up.borrow()
    }

    /// Returns how often scripts were loaded.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// The clock of the server.
    pub(crate) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Estimates the server's time at `moment` in milliseconds, rounded up. Scripts refuse a copy
    /// that arrives after its `not_after`.
    pub(crate) fn not_after(&self, moment: Moment) -> u64 {
        self.clock.at(moment) / 1000 + 1
    }

    fn note_round_trip(&self, time: Duration) {
        let before = self.round_trip.load(Ordering::Relaxed);
        let mean = before - before / 8 + nanos(time) / 8;
        self.round_trip.store(mean, Ordering::Relaxed);
        self.trip().note(time, Moment::now());
    }

    /// Returns the average round trip. Time limits leave room for several, also because the average
    /// does not include requests that timed out.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.round_trip.load(Ordering::Relaxed))
    }

    fn trip(&self) -> MutexGuard<'_, Trip> {
        self.distance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the shortest round trip of the last seconds: how many requests have to be under way
    /// at once for the server to be busy depends on it.
    pub(crate) fn distance(&self) -> Duration {
        let average = self.round_trip();
        self.trip().least(average)
    }

    /// Returns the present connection.
    pub(crate) fn present(&self) -> Option<Link> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a command with a deadline, and notes what the outcome says about the connection.
    pub(super) async fn send(
        &self,
        link: &mut Link,
        command: &Cmd,
        deadline: Moment,
        script: Option<&'static Script>,
    ) -> Result<Answer, Failure> {
        let sent = Moment::now();
        self.note_sent(sent);
        let result = if link.asking || self.may_be_left.load(Ordering::Relaxed) {
            Box::pin(self.send_while_it_counts(link, command, deadline)).await
        } else {
            let sending = link.connection.send_packed_command(command);
            until(deadline, Some(&self.driver), sending).await
        };
        let result = match result {
            Some(Ok(Value::ServerError(error))) => Err(error.into()),
            Some(result) => result,
            None => {
                self.note_timeout(link.generation);
                return Err(Failure::unknown(Error::new(
                    ErrorKind::Unavailable,
                    "the server did not answer in time",
                )));
            }
        };
        if link.generation <= self.left.load(Ordering::Acquire) {
            return Err(Failure::unknown(Error::new(ErrorKind::Unavailable, LEFT)));
        }
        match result {
            Ok(value) => {
                self.outage.answered();
                let now = Moment::now();
                self.note_heard(now);
                self.note_round_trip(now.since(sent));
                Ok(Answer {
                    reply: Reply(value),
                    sent,
                    clock: Arc::clone(&self.clock),
                })
            }
            Err(error) => {
                if error.code().is_some() {
                    self.note_heard(Moment::now());
                }
                self.silent_since.store(0, Ordering::Relaxed);
                Err(self.failure(&error, link.generation, script))
            }
        }
    }

    /// Sends scripts together: one write for all. Returns the outcome of each; a failure is that of
    /// all. Those that were not run are up to the caller.
    pub(crate) async fn run_together(
        &self,
        mut link: Link,
        requests: &[&Request],
        deadline: Moment,
    ) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let mut all = redis::Pipeline::with_capacity(requests.len());
        for request in requests {
            all.add_command(request.command.clone());
        }
        let sent = Moment::now();
        self.note_sent(sent);
        let generation = link.generation;
        let sending = link.connection.send_packed_commands(&all, 0, requests.len());
        let Some(result) = self.while_it_counts(generation, sending, deadline).await else {
            self.note_timeout(generation);
            let text = "the server did not answer in time";
            return Err(Failure::unknown(Error::new(ErrorKind::Unavailable, text)));
        };
        if generation <= self.left.load(Ordering::Acquire) {
            return Err(Failure::unknown(Error::new(ErrorKind::Unavailable, LEFT)));
        }
        let values = result.map_err(|error| {
            self.silent_since.store(0, Ordering::Relaxed);
            self.failure(&error, generation, None)
        })?;
        self.outage.answered();
        self.note_heard(Moment::now());
        let outcome = |(value, request): (Value, &&Request)| match value {
            Value::ServerError(error) => Err(self.failure(&error.into(), generation, Some(request.script))),
            value => Ok(Answer {
                reply: Reply(value),
                sent,
                clock: Arc::clone(&self.clock),
            }),
        };
        Ok(values.into_iter().zip(requests).map(outcome).collect())
    }

    /// Resolves at once when the server is left: it may be frozen, and another one has the answer.
    async fn while_it_counts<T>(
        &self,
        generation: u64,
        sending: impl Future<Output = RedisResult<T>>,
        deadline: Moment,
    ) -> Option<RedisResult<T>> {
        let mut left = pin!(self.left_now.notified());
        left.as_mut().enable(); // before the look, so that nothing is missed
        if generation <= self.left.load(Ordering::Acquire) {
            return Some(Err(cut()));
        }
        tokio::select! {
            biased;
            result = until(deadline, Some(&self.driver), sending) => result,
            () = left => Some(Err(cut())),
        }
    }

    /// Sends a command as the link says: behind `ASKING`, or by itself.
    async fn send_while_it_counts(
        &self,
        link: &mut Link,
        command: &Cmd,
        deadline: Moment,
    ) -> Option<RedisResult<Value>> {
        let generation = link.generation;
        let sending = async {
            if !link.asking {
                return link.connection.send_packed_command(command).await;
            }
            let mut both = redis::Pipeline::with_capacity(2);
            both.add_command(ASKING.clone());
            both.add_command(command.clone());
            let replies = link.connection.send_packed_commands(&both, 0, 2).await?;
            let is_refused = matches!(replies.first(), Some(Value::ServerError(_)));
            let mut replies = replies.into_iter();
            Ok(replies.nth(usize::from(!is_refused)).unwrap_or(Value::Nil))
        };
        self.while_it_counts(generation, sending, deadline).await
    }

    pub(super) fn failure(
        &self,
        error: &redis::RedisError,
        generation: u64,
        script: Option<&'static Script>,
    ) -> Failure {
        if is_no_script(error) {
            return Failure::no_script();
        }
        if script.is_some() && is_unknown_evalsha(error) {
            self.sending.set_text(said(error));
            return Failure::no_script();
        }
        let failure = classify(
            error,
            Target {
                script,
                prefix: &self.prefix,
            },
        );
        if breaks_connection(error) {
            self.report(generation, &failure.error);
        }
        failure
    }

    /// Sends a plain command for a call.
    pub(crate) async fn command(&self, command: &Cmd, deadline: Moment) -> Result<Reply, Failure> {
        let link = self.usable(deadline).await?;
        self.command_on(link, command, deadline).await
    }

    /// Sends a plain command over this connection.
    pub(super) async fn command_on(
        &self,
        link: Link,
        command: &Cmd,
        deadline: Moment,
    ) -> Result<Reply, Failure> {
        self.answer_on(link, command, deadline)
            .await
            .map(|answer| answer.reply)
    }

    /// The same, with the clock of the server.
    pub(crate) async fn answer_on(
        &self,
        mut link: Link,
        command: &Cmd,
        deadline: Moment,
    ) -> Result<Answer, Failure> {
        self.send(&mut link, command, deadline, None).await
    }

    /// Shows the credentials of this endpoint to the server.
    pub(crate) async fn authenticate(&self, as_of: &Endpoint, patience: Duration) -> Result<(), Failure> {
        let deadline = Moment::now() + patience;
        self.command(&as_of.auth(), deadline).await.map(drop)
    }

    /// Asks for the server's time, which keeps an idle client in step with it.
    #[allow(clippy::disallowed_methods, reason = "the one place that sends commands")]
    pub(crate) async fn ask_time(&self, deadline: Moment) -> Result<(), Failure> {
        let mut link = self.link(deadline).await?;
        let answer = self.send(&mut link, &redis::cmd("TIME"), deadline, None).await?;
        if let Some(stamp) = super::handshake::time_of(&answer.reply.0) {
            answer.note_stamp(stamp);
        }
        Ok(())
    }
}

/// What a request answers when its server was left. Nobody reads it: see [`LEFT`].
fn cut() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

fn is_unknown_evalsha(error: &redis::RedisError) -> bool {
    let detail = said(error);
    is_unknown(&detail) && detail.to_lowercase().contains("evalsha")
}

/// A connection that lasted for longer is a good one: what ends it is a new outage.
pub(crate) const GOOD: Duration = Duration::from_secs(1);

pub(crate) const SWITCHED: &str = "the sentinels name another primary, which is not connected yet";
const LEFT: &str = "another server has taken over from the one that was asked";
