//! Puts a hold into a state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latchwork_core::{Client, Result};
use latchwork_testkit::{Action, Direction, Proxy};
use latchwork_tests::subject::Subject;
use latchwork_tests::{Fixture, eventually, go, lose_the_reply};

/// The state of a hold when something is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was free, and the reply granted it.
    Reply,
    /// It was handed over a moment ago.
    Claim,
    /// The same, and the server's answer to the confirmation is on its way.
    Confirming,
    /// The answer to a renewal is on its way.
    Renewing,
    /// The answer to the first copy of its acquire was lost.
    Copy,
    /// The server was out of reach until its lease was over.
    Past,
}

/// The lease of a hold whose end is not to be waited for.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// Of one whose end or renewal is.
const SHORT: Duration = Duration::from_millis(600);
/// A claim that is confirmed after 75 ms.
const WINDOW: Duration = Duration::from_millis(300);

/// A client behind a proxy, which will have a hold, and one beside it.
pub(crate) struct Scene {
    pub(crate) state: State,
    pub(crate) fixture: Fixture<'static>,
    proxy: Proxy,
    pub(crate) client: Client,
    pub(crate) beside: Client,
}

impl Scene {
    pub(crate) async fn new(subject: &'static dyn Subject, state: State) -> Self {
        let fixture = Fixture::of(subject);
        let lease = match state {
            State::Renewing => SHORT * 3,
            State::Past => SHORT,
            _ => LEASE,
        };
        let proxied = fixture.proxied_with(|b| match state {
            State::Confirming => b.lease(lease).claim_window(WINDOW),
            _ => b.lease(lease),
        });
        let (proxy, client) = proxied.await;
        let beside = fixture.client_with(|b| b.lease(LEASE)).await;
        Self {
            state,
            fixture,
            proxy,
            client,
            beside,
        }
    }

    /// Acquires, so that the hold is in the state.
    pub(crate) async fn hold<G: Send + 'static>(
        &self,
        acquire: impl Future<Output = Result<G>> + Send + 'static,
    ) -> G {
        if matches!(self.state, State::Claim | State::Confirming) {
            let all = self.fixture.all(&self.beside).await;
            return self.hold_behind(all.release(), acquire).await;
        }
        self.hold_behind(std::future::ready(Ok(())), acquire).await
    }

    /// The same; if it is to be handed over, by this release.
    pub(crate) async fn hold_behind<G: Send + 'static>(
        &self,
        release: impl Future<Output = Result<()>>,
        acquire: impl Future<Output = Result<G>> + Send + 'static,
    ) -> G {
        let guard = match self.state {
            State::Claim | State::Confirming => {
                let waiter = go(acquire);
                self.fixture.queued(1).await;
                let asked = (self.state == State::Confirming).then(|| self.hold_the_answer());
                release.await.expect("released");
                let guard = waiter.await.expect("no panic").expect("handed over");
                if let Some(asked) = asked {
                    eventually("it is being confirmed", || asked.load(Ordering::SeqCst)).await;
                }
                guard
            }
            State::Copy => {
                release.await.expect("released");
                let lost = lose_the_reply(&self.proxy, self.fixture.key(), Action::Cut);
                let guard = acquire.await.expect("a hold");
                assert!(lost.load(Ordering::SeqCst), "an answer was lost");
                self.proxy.no_hook();
                guard
            }
            _ => {
                release.await.expect("released");
                acquire.await.expect("a hold")
            }
        };
        match self.state {
            State::Renewing => {
                let asked = self.hold_the_answer();
                eventually("it is being renewed", || asked.load(Ordering::SeqCst)).await;
            }
            State::Past => {
                for direction in [Direction::ToServer, Direction::ToClient] {
                    self.proxy.block(direction);
                }
                tokio::time::sleep(SHORT + Duration::from_millis(50)).await;
            }
            _ => {}
        }
        guard
    }

    /// Holds back the answer to the next request about the key, and all after it; says when it has.
    fn hold_the_answer(&self) -> Arc<AtomicBool> {
        lose_the_reply(&self.proxy, self.fixture.key(), Action::Hold)
    }

    /// What was held back, or blocked, goes on.
    pub(crate) fn go_on(&self) {
        self.proxy.no_hook();
        self.proxy.release();
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.proxy.unblock(direction);
        }
    }

    /// Runs something that needs an answer; what is held back goes on as soon as it has begun.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let running = go(work);
        tokio::time::sleep(Duration::from_millis(20)).await; // its request is under way
        self.go_on();
        running.await.expect("no panic")
    }

    /// Whether it cannot work, as the hold is over.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Past
    }

    /// Nothing is left: neither here nor at the server.
    pub(crate) async fn over(self) {
        self.go_on();
        eventually("no slot is left", || self.client.live() == 0).await;
        self.fixture.over().await;
    }
}
