//! The same for a latch: the steps of `latch_random.rs` as requests.

use crate::bench::Script;
use crate::latch_model::Ask;
use crate::latch_random::{KEY, MEMORY, Shape, Step, TTL, arguments, client, follow_up};
use crate::world::MINUTE;
use latchwork_testkit::Reply;

use super::game::Request;
use super::probe::Ran;

#[derive(Debug)]
struct Slot {
    id: String,
    shape: Shape,
    generation: i64,
    answered: bool,
    not_after: i64,
    ended: bool,
}

#[derive(Debug)]
pub(crate) struct LatchGame {
    pub(super) now_us: i64,
    pub(super) life: i64,
    pub(super) listening: [bool; 3],
    slots: Vec<Slot>,
    attempts: u64,
    /// The slot whose request is under way, unless its reply is lost.
    asked: Option<usize>,
}

impl LatchGame {
    pub(super) fn new(shapes: &[Shape]) -> Self {
        let mut game = Self {
            now_us: 1_700_000_000_000_000,
            life: -1,
            listening: [true; 3],
            slots: Vec::new(),
            attempts: 0,
            asked: None,
        };
        for (slot, shape) in shapes.iter().enumerate() {
            let fresh = game.fresh(slot, shape.clone());
            game.slots.push(fresh);
        }
        game
    }

    fn fresh(&mut self, slot: usize, shape: Shape) -> Slot {
        self.attempts += 1;
        Slot {
            id: format!("{}.{}:1:10000:1000", client(slot % 3), self.attempts),
            shape,
            generation: 0,
            answered: false,
            not_after: 0,
            ended: false,
        }
    }

    pub(super) fn apply(&mut self, step: &Step) -> Option<Request> {
        self.asked = None;
        match step {
            Step::Pass(ms, us) => self.now_us += ms * 1000 + us,
            Step::Inbox(client, on) => self.listening[*client] = *on,
            Step::Fresh(slot, shape) => {
                let request = self.end(*slot);
                self.slots[*slot] = self.fresh(*slot, shape.clone());
                return Some(request);
            }
            Step::Ask {
                slot,
                lost,
                patience,
                polls,
            } => return self.ask(*slot, *lost, *patience, *polls),
            Step::End(slot) => return Some(self.end(*slot)),
            Step::Tick(items) => {
                let of = |(op, slot): &(char, usize)| {
                    let id = self.slots[*slot].id.clone();
                    let texts = [op.to_string(), id, "0".into(), "10000".into()];
                    texts.into_iter().chain([TTL.to_string(), "0".into()])
                };
                return Some((Script::Tick, items.len(), items.iter().flat_map(of).collect()));
            }
            Step::FollowUp => return Some((Script::Latch, 1, follow_up())),
            Step::Peek => {}
        }
        None
    }

    fn end(&mut self, slot: usize) -> Request {
        let slot = &mut self.slots[slot];
        slot.ended = true;
        let rest = [5 * MINUTE, slot.not_after].map(|number| number.to_string());
        let args = [&[slot.id.clone(), "0".to_owned()], &rest[..]].concat();
        (Script::End, 1, args)
    }

    /// As in `latch_random.rs`: what changes something says the same each time, until it is answered.
    fn ask(&mut self, at: usize, lost: bool, patience: i64, polls: bool) -> Option<Request> {
        let now = self.now_us.div_euclid(1000);
        let slot = &mut self.slots[at];
        let changes = !slot.answered && (slot.shape.by > 0 || slot.shape.to.is_some());
        let for_change = slot.shape.by > 0 || slot.shape.to.is_some();
        // One that changed something, and was told so, asks for the generation that it was told, or no
        // more: a look that names none would not see that there was a reset since.
        let done = slot.answered && for_change && slot.generation == 0;
        if (slot.ended && slot.not_after == 0) || done {
            return None;
        }
        let keeps = slot.ended || (changes && slot.not_after > 0);
        let not_after = if keeps { slot.not_after } else { now + patience };
        slot.not_after = slot.not_after.max(not_after);
        self.asked = Some(at).filter(|_| !lost);
        let ask = Ask {
            id: slot.id.clone(),
            count: slot.shape.count,
            by: if changes { slot.shape.by } else { 0 },
            once: slot.shape.once.map_or(String::new(), |id| format!("id {id}")),
            to: slot.shape.to.filter(|_| changes).unwrap_or(-1),
            asked: slot.generation,
            not_after,
            room: slot.shape.room,
            ttl: TTL,
            memory: [MEMORY, 2 * TTL][at % 2],
            polls: if polls { 3 } else { 0 },
        };
        Some((Script::Latch, 1, arguments(&ask)))
    }

    pub(super) fn learn(&mut self, ran: &Ran) {
        self.life = ran.one.life;
        let Some(slot) = self.asked.map(|slot| &mut self.slots[slot]) else {
            return;
        };
        let words: Vec<_> = ran.one.reply.items().iter().filter_map(Reply::int).collect();
        slot.answered |= matches!(words.first(), None | Some(1 | 2));
        if let [2, _, generation] = words[..] {
            slot.generation = generation;
        }
    }

    /// Its record, and two others, with names of the same form.
    pub(super) fn keys(number: usize) -> [String; 3] {
        ["a", "b", "c"].map(|copy| KEY.replace("{a}", &format!("{{{copy}{number}}}")))
    }
}
