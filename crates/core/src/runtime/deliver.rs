//! Delivers incoming messages to the attempts that they are about.

use super::shared::Shared;
use crate::attempt::event::Event;
use crate::base::clock::Moment;
use crate::base::trace::debug;
use crate::wire::message::{self, Message, Over};

/// No script writes a message with a stamp further ahead than this, in microseconds: a day.
const FUTURE: u64 = 86_400_000_000;

impl Shared {
    /// Applies a payload, which may have several messages, to the attempts that it names.
    pub(crate) fn deliver(&self, payload: &[u8]) {
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
