//! Messages come in: each goes to the attempts that it is about.

use super::shared::Shared;
use crate::attempt::event::Event;
use crate::base::clock::Moment;
use crate::base::trace::debug;
use crate::wire::message::{self, Message, Over};

/// A message from further ahead than this was not written by a script, microseconds: a day.
const FUTURE: u64 = 86_400_000_000;

impl Shared {
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
                self.deliver_to_all(counter, generation, how, receipt);
            } else if let Some(attempt) = self.table.get(message.counter()) {
                self.on(&attempt, Event::Told(message), receipt);
            } else {
                // Its end was answered, so nothing of it is left there: an old message.
                debug!(message = ?message, "a message for an attempt that is gone");
            }
        }
    }

    /// A generation of the latch of the attempt with this counter is over, for all who wait for it.
    fn deliver_to_all(&self, counter: u64, generation: u64, how: Over, now: Moment) {
        let named = self.table.get(counter);
        let event = Event::GenerationOver {
            generation,
            how,
            named: named.is_some(),
        };
        for attempt in self.table.all() {
            let same = named.as_ref().is_none_or(|named| named.key == attempt.key);
            if attempt.spec.latch().is_some() && same {
                self.on(&attempt, event, now);
            }
        }
    }
}
