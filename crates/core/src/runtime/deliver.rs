//! Delivers incoming messages to the attempts that they are about.

use std::sync::PoisonError;

use super::shared::Shared;
use crate::attempt::event::Event;
use crate::base::clock::Moment;
use crate::base::trace::debug;
use crate::wire::message::{self, Message, Over};

/// No script writes a message with a stamp further ahead than this, in microseconds: a day.
const FUTURE: u64 = 86_400_000_000;

impl Shared {
    /// Applies a payload, which may have several messages, to the attempts that it names. It was
    /// received in this era: what another server said is not applied any more, not even late.
    pub(crate) fn deliver(&self, payload: &[u8], era: u64) {
        let _same_era = self.eras.read().unwrap_or_else(PoisonError::into_inner);
        if !self.route.is_of_era(era) {
            return;
        }
        let receipt = Moment::now();
        let latest = self.route.latest_time(receipt) + FUTURE;
        for message in message::parse(payload) {
            if message.stamp() > latest {
                continue; // forged or damaged
            }
            if let Message::Over {
                counter,
                generation,
                how,
                ..
            } = message
            {
                self.deliver_to_all(counter, generation, how, receipt);
            } else if let Some(attempt) = self.table.get(message.counter()) {
                self.on(&attempt, Event::Told(message), receipt);
            } else {
                // An old message: the attempt's end was answered, so nothing of it is left at the
                // server.
                debug!(message = ?message, "a message for an attempt that is gone");
            }
        }
    }

    /// Tells all attempts that wait for a latch that a generation is over. `counter` names one of
    /// them.
    fn deliver_to_all(&self, counter: u64, generation: u64, how: Over, now: Moment) {
        let named = self.table.get(counter);
        let event = Event::GenerationOver {
            generation,
            how,
            named: named.is_some(),
        };
        // With thousands of latches in a client, each message must not look at all of them.
        let key = named.as_ref().map(|named| &*named.key);
        for attempt in self.table.on_latch(key) {
            self.on(&attempt, event, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::*;
    use crate::attempt::spec::Spec;
    use crate::attempt::state::State;
    use crate::types::name::Name;
    use crate::types::options::Options;

    #[tokio::test]
    async fn what_was_received_in_another_era_is_not_applied() {
        let shared = Shared::new(Options::default(), Handle::current());
        let plan = shared.plan(Spec::exclusive(Duration::from_secs(10)));
        let name = Name::new(b"a").expect("a name");
        let attempt = shared.attempt(Arc::from(&b"k"[..]), name, plan, Moment::now());
        let attempt = attempt.expect("a slot");
        let (_, rest) = attempt.id.split_at(shared.client_id.len());
        let era = shared.route.server().sites().era();
        let grant = format!("g {rest} 7 5 1000");
        shared.deliver(grant.as_bytes(), era + 1);
        assert_eq!(attempt.with(State::is_queued), Some(false), "it waits");
        shared.deliver(grant.as_bytes(), era);
        assert_eq!(attempt.with(State::is_queued), None, "granted");
    }
}
