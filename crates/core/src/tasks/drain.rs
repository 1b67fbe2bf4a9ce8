//! The end of a client that lets what is held finish first.

use std::pin::pin;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::attempt::event::Event;
use crate::attempt::state::State;
use crate::base::clock::{Moment, sleep_until, until};
use crate::runtime::shared::Shared;
use crate::tasks::client::{Client, Closed};
use crate::types::name::Name;

/// The pause between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(10);

/// How many names of holds [`Drained`] has at most.
const NAMES: usize = 100;

/// What [`Client::drain`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// The number of holds whose guards were still alive when the time was over. They were released.
    pub held: usize,
    /// The names of these holds, at most 100, the oldest first.
    pub names: Vec<Name>,
    /// What closing the client came to.
    pub closed: Closed,
}

impl Client {
    /// Waits at most `timeout` until all guards are gone, then closes the client.
    ///
    /// From the first poll on, new attempts to acquire, take over or wait for something return
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed), with a text that says that the client is
    /// draining. Attempts that wait in a queue end with the same error. Guards stay valid and are
    /// renewed. Their holders can extend, convert and release them, and can use fences, rate limiters and
    /// the count-downs of latches. The body of a `run` method is not interrupted.
    ///
    /// If guards are left after `timeout`, their holds are released as by [`close`](Self::close):
    /// the guards read [`Loss::Closed`](crate::Loss::Closed), and a `run` method drops its body and
    /// returns that loss. Returns how many there were. Closing takes at most an operation timeout
    /// and a tenth of a second.
    ///
    /// At the end of a program, stop what starts new work first. Then call this method, or `close` if
    /// nothing has to finish. Drop the runtime last.
    ///
    /// # Cancel safety
    /// A future that is dropped before it is ready leaves the client draining: new attempts stay
    /// refused, and the client is not closed. It can be called again.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # use latchwork_core::{Client};
    /// # async fn example(client: Client) -> latchwork_core::Result<()> {
    /// let drained = client.drain(Duration::from_secs(30)).await;
    /// if drained.held > 0 {
    ///     eprintln!("{} holds were cut short: {:?}", drained.held, drained.names);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self, timeout: Duration) -> Drained {
        let shared = self.shared();
        let over = Moment::now() + timeout;
        shared.begin_draining();
        let finished = async {
            loop {
                let mut news = pin!(shared.drained.notified());
                news.as_mut().enable();
                let attempts = shared.table.all();
                if shared.life().is_over() || !attempts.iter().any(|attempt| is_alive(attempt)) {
                    return;
                }
                drop(attempts);
                news.await;
                // Many may end together.
                sleep_until(Moment::now() + PAUSE, Some(&shared.driver)).await;
            }
        };
        until(over, Some(&shared.driver), finished).await;
        let attempts = shared.table.all();
        let held = attempts.iter().filter(|attempt| attempt.held().is_some());
        let names: Vec<Name> = held.clone().take(NAMES).map(|held| held.name.clone()).collect();
        let held = held.count();
        drop(attempts);
        Drained {
            held,
            names,
            closed: self.close().await,
        }
    }
}

impl Shared {
    /// From now on there are no new attempts, and those that wait end.
    fn begin_draining(&self) {
        self.set_draining();
        for attempt in self.table.all() {
            if self.check_new(&attempt.spec).is_err() && attempt.with(State::waits_for_a_grant) {
                let closed = Event::ClientClosed { closing: false };
                self.on(&attempt, closed, Moment::now());
            }
        }
    }
}

/// Whether somebody holds it, or goes on with a hold.
fn is_alive(attempt: &Attempt) -> bool {
    attempt.with(|state| state.held().is_some() || state.waits_for_a_grant())
}
