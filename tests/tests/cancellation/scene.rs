//! Sets up other holders and waiters, and what breaks while the future is under way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use latchwork_testkit::{Action, ConnId, Direction, Proxy, TestServer, contains};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Nobody is there.
    Free,
    /// Somebody holds.
    Busy,
    /// Somebody holds, and somebody queues behind the call before it is dropped.
    QueuedFirst,
    /// Somebody holds, and somebody waits already.
    QueuedLast,
    /// Both.
    QueuedBetween,
    /// As `QueuedFirst`, and the lock is handed over before the future is dropped.
    Granted,
    /// The server has forgotten the scripts.
    NoScript,
    /// The connections were just cut.
    Reconnecting,
    /// As `QueuedFirst`, and the connections are cut before the future is dropped.
    CutWhileQueued,
    /// The server stands still, and goes on a while later.
    Frozen,
    /// The first reply is lost with its connection.
    ReplyLost,
    /// As `ReplyLost` and `QueuedFirst`.
    ReplyLostQueued,
    /// The first request is stuck on its way for a while.
    HeldBack,
    /// The first request is lost with its connection, and arrives when everything was undone.
    Late,
    /// As `Late` and `QueuedFirst`.
    LateBusy,
    /// As `Granted`, for a client that cannot subscribe: it polls.
    InboxDown,
}

impl Scene {
    /// Somebody else holds the lock (or the subject does, if the call needs a hold).
    pub(crate) fn is_held(self) -> bool {
        self.waiter_ahead() || self.waiter_behind() || self == Self::Busy
    }

    pub(crate) fn waiter_ahead(self) -> bool {
        matches!(self, Self::QueuedLast | Self::QueuedBetween)
    }

    pub(crate) fn waiter_behind(self) -> bool {
        matches!(
            self,
            Self::QueuedFirst
                | Self::QueuedBetween
                | Self::Granted
                | Self::CutWhileQueued
                | Self::ReplyLostQueued
                | Self::LateBusy
                | Self::InboxDown
        )
    }

    /// The holder releases before the future is dropped.
    pub(crate) fn hands_over(self) -> bool {
        matches!(self, Self::Granted | Self::InboxDown)
    }

    pub(crate) fn replays(self) -> bool {
        matches!(self, Self::Late | Self::LateBusy)
    }

    /// Nothing breaks, so every call succeeds.
    pub(crate) fn is_kind(self) -> bool {
        matches!(
            self,
            Self::Free
                | Self::Busy
                | Self::QueuedFirst
                | Self::QueuedLast
                | Self::QueuedBetween
                | Self::Granted
                | Self::NoScript
        )
    }

    /// How long a future may be without progress until it counts as waiting for others only. `queues`: it may have to.
    pub(crate) fn patience(self, queues: bool) -> Duration {
        match (self.is_kind(), queues && self.is_held()) {
            (true, false) => ENOUGH,
            (true, true) => Duration::from_millis(250),
            (false, _) => Duration::from_millis(400),
        }
    }

    /// How long a request may take: if something breaks it is to be noticed soon.
    pub(crate) fn operation_timeout(self) -> Duration {
        if self.is_kind() { ENOUGH } else { STUCK * 2 }
    }
}

/// No step takes so long, however busy the machine is; all leases are longer.
pub(crate) const ENOUGH: Duration = Duration::from_secs(15);

/// How long the server stands still or a request is stuck: less than a request's time-out, or more.
pub(crate) const STUCK: Duration = Duration::from_millis(60);
pub(crate) const STILL: Duration = Duration::from_millis(150);

/// What is broken between one client and the server.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) proxy: Proxy,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<Scene>,
    /// The connection of the request whose reply is to be lost.
    victim: Option<ConnId>,
    /// The request that is to arrive late.
    caught: Option<Vec<u8>>,
    no_inbox: bool,
}

impl Fault {
    pub(crate) fn between_client_and(server: &TestServer, scene: Scene) -> Self {
        let proxy = Proxy::start(server.port()).expect("a proxy");
        let state = Arc::new(Mutex::new(State {
            no_inbox: scene == Scene::InboxDown,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        proxy.on_chunk(move |direction, connection, chunk| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.decide(direction, connection, chunk)
        });
        Self { proxy, state }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Breaks what this scene breaks for the next request.
    pub(crate) fn arm(&self, scene: Scene) {
        if scene == Scene::Reconnecting {
            self.proxy.cut();
        }
        let mut state = self.state();
        state.armed = Some(scene);
        state.victim = None;
        state.caught = None;
    }

    /// Nothing is broken any more.
    pub(crate) fn mend(&self) {
        self.state().armed = None;
        self.proxy.release();
    }

    /// Lets the request that was caught arrive now, and waits until the server has run it.
    pub(crate) fn replay(&self, server: &TestServer) {
        let Some(bytes) = self.state().caught.take() else {
            return;
        };
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("a connection");
        socket.write_all(&bytes).expect("sent");
        let mut reply = [0; 1024];
        assert!(
            socket.read(&mut reply).expect("a reply") > 0,
            "the server has run it"
        );
    }
}

impl State {
    fn decide(&mut self, direction: Direction, connection: ConnId, chunk: &[u8]) -> Action {
        if direction == Direction::ToClient {
            if self.victim == Some(connection) {
                self.victim = None;
                return Action::Cut; // TCP loses no reply and goes on: it is lost with its connection
            }
            return Action::Pass;
        }
        if self.no_inbox && contains(chunk, "SUBSCRIBE") {
            return Action::Cut;
        }
        // Requests of calls, not the client's own record or heartbeat.
        if !["EVAL", "PING", "INFO"].iter().any(|word| contains(chunk, word)) {
            return Action::Pass;
        }
        match self.armed {
            Some(Scene::ReplyLost | Scene::ReplyLostQueued) => {
                self.victim = Some(connection);
                self.armed = None;
                Action::Pass
            }
            Some(Scene::HeldBack) => {
                self.armed = None;
                Action::Hold
            }
            Some(Scene::Late | Scene::LateBusy) => {
                self.caught = Some(chunk.to_vec());
                self.armed = None;
                Action::Cut
            }
            _ => Action::Pass,
        }
    }
}
