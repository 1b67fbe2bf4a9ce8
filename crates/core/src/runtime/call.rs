//! One attempt's call of a verb that can be batched, and its times.

use std::sync::Arc;
use std::time::Duration;

use super::route::Route;
use crate::attempt::Attempt;
use crate::attempt::event::{EndEvent, Event};
use crate::attempt::state::State;
use crate::base::clock::Moment;
use crate::wire::request::Args;

/// One attempt's call of a verb that can be batched.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) args: Args,
    /// In ms of the server's clock, if it is sent at once.
    pub(crate) not_after: u64,
    /// If it is sent at once.
    pub(crate) deadline: Moment,
    /// How long it may be under way. A batch has the shortest of its calls, from when it is sent.
    pub(crate) timeout: Duration,
    /// When its caller gives up: it is not sent after that.
    pub(crate) over: Moment,
}

impl Call {
    /// Notes that this call, which has waited, is sent in a batch now. Returns `false` if nobody wants
    /// it any longer.
    pub(super) fn is_sent(&self, not_after: u64) -> bool {
        match self.args {
            Args::Acquire(_) => {
                let sending = Event::Sending { not_after };
                let now = Moment::from_nanos(0);
                self.attempt.on_then(sending, now, State::is_acquiring).1
            }
            Args::End(_) => true,
        }
    }

    /// Notes that this call, which has waited, is sent alone now; `is_another`: beside the copy in the
    /// batch. Returns its deadline and `not_after`.
    pub(super) fn begins(&self, route: &Route, is_another: bool) -> (Moment, u64) {
        let deadline = (Moment::now() + self.timeout).min(self.over);
        let not_after = not_after(self.args, (route, &self.attempt.key), deadline);
        match self.args {
            Args::Acquire(_) if is_another => self.attempt.note(Event::Asked { not_after }),
            Args::Acquire(_) => self.attempt.note(Event::Sending { not_after }),
            Args::End(_) if is_another => self.attempt.note(Event::End(EndEvent::Sent)),
            Args::End(_) => return (deadline, not_after),
        };
        (deadline, not_after)
    }
}

/// Returns until when the server may run a call with this deadline, in ms of its clock. Ends have no
/// such limit.
pub(super) fn not_after(args: Args, (route, key): (&Route, &[u8]), deadline: Moment) -> u64 {
    match args {
        Args::Acquire(_) => route.not_after(key, deadline),
        Args::End(_) => 0,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::attempt::rules::Plan;
    use crate::attempt::spec::Spec;
    use crate::types::name::Name;
    use crate::types::options::Options;
    use crate::wire::request::{AcquireArgs, EndArgs};

    #[derive(Debug, Clone, Copy)]
    pub(in super::super) enum Verb {
        Acquire,
        End,
    }

    /// A call that may be under way for `timeout`.
    pub(in super::super) fn call(verb: Verb, timeout: Duration) -> Call {
        let spec = Spec::exclusive(Duration::from_secs(10));
        let args = match verb {
            Verb::Acquire => Args::Acquire(AcquireArgs {
                lease: 10_000,
                life: 20_000,
                weight: spec.weight(),
                capacity: spec.capacity(),
                room: 10,
                floor: 0,
                polls: false,
                ahead: None,
            }),
            Verb::End => Args::End(EndArgs {
                capacity: spec.capacity(),
                keep: 0,
                retention: 1000,
            }),
        };
        let name = Name::new(b"a").expect("a name");
        let spec = Plan::new(spec, Options::default().drift, false);
        let id = ("c.1:1:10000:1000".to_owned(), 1);
        let key = b"k".as_slice().into();
        Call {
            attempt: Arc::new(Attempt::new(id, key, name, spec, Moment::now())),
            args,
            not_after: 0,
            deadline: Moment::NEVER,
            timeout,
            over: Moment::NEVER,
        }
    }

    #[test]
    fn an_acquire_that_waited_is_named_by_an_end_until_the_time_that_it_is_sent_with() {
        let call = call(Verb::Acquire, Duration::MAX);
        call.attempt.note(Event::Asked { not_after: 5 });
        assert!(call.is_sent(9), "wanted");
        let rules = call.attempt.rules();
        assert_eq!(call.attempt.with(|state| state.tombstone(rules)), 9, "one copy");
        call.attempt.note(Event::NotAsked);
        assert_eq!(
            call.attempt.with(|state| state.tombstone(rules)),
            0,
            "and no other"
        );
        call.attempt.note(Event::GivenUp);
        assert!(!call.is_sent(9), "its end may have left no tombstone");
    }
}
