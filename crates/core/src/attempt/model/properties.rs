//! What has to be true of every world that can be reached.

use stateright::{Model, Property};

use super::actions::Action;
use super::bounds::{Bounds, Id, moment};
use super::world::{Answer, Hold, Packet, World};
use crate::attempt::state::Stage;

pub(super) const ONE_GUARD: &str = "guards that are valid at once, each by its own account, fit together";
pub(super) const BACKED: &str =
    "a valid guard is backed by the server: id, token, weight, and as long a lease";
pub(super) const TOKENS: &str = "each exclusive guard has a higher token than the guards before it";
pub(super) const ENDED: &str = "an attempt whose end was answered has nothing";
pub(super) const ORPHAN: &str = "an attempt whose end is no longer repeated holds nothing";
pub(super) const ORDER: &str = "nobody is granted past the queue";
pub(super) const LEASE: &str = "no hold lasts longer than its grants, renewals and confirms say";
pub(super) const TOLD: &str = "a waiter that was told of its grant does not go on waiting";
pub(super) const ALIVE: &str = "an attempt that did not end is not told so";
pub(super) const SERVED: &str = "without further faults every live waiter is served";
pub(super) const OWNER: &str =
    "without further faults a waiter that the server holds for gets its guard at once";
pub(super) const TIMER: &str =
    "behind a claim that may be a dead waiter's, the next one's timer is not later than its end";
pub(super) const VALID: &str = "a guard is valid when it is handed out";
pub(super) const TIME: &str = "a guard that is handed out can be confirmed before it ends";
pub(super) const FINAL: &str = "a guard that was over is never valid again";
pub(super) const BELIEF: &str = "a client does not take a hold for lost that the server has";
pub(super) const BASE: &str = "a hold is made exclusive by its own upgrade only";
pub(super) const REACHED: &str = "a contended lock is handed over and confirmed";

impl Model for Bounds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.enabled(self, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.apply(self, action);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(ONE_GUARD, |b, w| w.guards_fit(b)),
            Property::<Self>::always(BACKED, |b, w| b.ids().all(|id| w.is_backed(b, id))),
            Property::<Self>::always(TOKENS, |_, w| !w.wrongs.token_fell),
            Property::<Self>::always(ENDED, |b, w| b.ids().all(|id| w.has_nothing_if_ended(id))),
            Property::<Self>::always(ORDER, |_, w| !w.wrongs.overtaken),
            Property::<Self>::always(LEASE, |_, w| {
                w.server.holds.iter().all(|hold| hold.end <= hold.due)
            }),
            Property::<Self>::always(BASE, |b, w| {
                let own = |hold: &Hold| hold.upgrade.is_none_or(|by| b.want(by).base == Some(hold.id));
                w.server.holds.iter().all(own)
            }),
            Property::<Self>::always(TOLD, |b, w| b.ids().all(|id| !w.waits_though_told(id))),
            Property::<Self>::always(ALIVE, |_, w| !w.wrongs.ended_alive),
            Property::<Self>::always(VALID, |_, w| !w.wrongs.handed_out_late),
            Property::<Self>::always(TIME, |_, w| !w.wrongs.hurried),
            Property::<Self>::always(FINAL, |_, w| !w.wrongs.revived),
            Property::<Self>::always(BELIEF, |_, w| !w.wrongs.disbelieved),
            Property::<Self>::always(SERVED, |b, w| !w.net.is_empty() || w.serves_everybody(b)),
            Property::<Self>::always(OWNER, |b, w| !w.net.is_empty() || w.serves_the_owner(b)),
            Property::<Self>::sometimes(REACHED, |b, w| {
                b.ids().any(|id| {
                    let confirmed = w.valid(id).is_some_and(|lease| !lease.claim);
                    confirmed && w.server.grants > 1
                })
            }),
        ];
        if self.forget > 0 {
            properties.push(Property::<Self>::always(ORPHAN, |b, w| {
                b.ids().all(|id| !w.is_orphaned(id))
            }));
        }
        if self.timers {
            properties.push(Property::<Self>::always(TIMER, |_, w| w.timer_is_right()));
        }
        properties
    }
}

impl World {
    /// What the valid guards have together, each by its own account, is no more than there is;
    /// those of one owner do not exclude each other.
    fn guards_fit(&self, b: &Bounds) -> bool {
        let guards = || b.ids().filter_map(|id| Some((id, self.valid(id)?.weight)));
        let all: u32 = guards().map(|(_, weight)| weight).sum();
        let owner = guards().next().and_then(|(id, _)| b.want(id).owner);
        let one_owner = owner.is_some() && guards().all(|(id, _)| b.want(id).owner == owner);
        all <= u32::from(b.capacity) || one_owner
    }

    fn is_backed(&self, b: &Bounds, id: Id) -> bool {
        let Some(lease) = self.valid(id) else { return true };
        self.hold(id).is_some_and(|hold| {
            (lease.token == 0 || hold.token == lease.token)
                && u32::from(hold.weight(b)) >= lease.weight
                && moment(hold.end + self.behind) >= lease.deadline
        })
    }

    fn has_nothing_if_ended(&self, id: Id) -> bool {
        let slot = self.slot(id);
        if !slot.is_gone() || slot.is_forgotten() {
            return true;
        }
        let waits = self.server.queue.iter().any(|entry| entry.id == id);
        // An upgrade that was handed out is gone, and its base has what it was granted.
        let has = |hold: &Hold| hold.id == id || (hold.upgrade == Some(id) && self.is_shared(hold.id));
        !waits && !self.server.holds.iter().any(has)
    }

    /// Whether the guard of a hold knows of no upgrade.
    fn is_shared(&self, id: Id) -> bool {
        self.slot(id).guard().is_some_and(|lease| lease.token == 0)
    }

    fn is_orphaned(&self, id: Id) -> bool {
        self.slot(id).is_forgotten() && self.hold(id).is_some_and(|hold| hold.end > self.now)
    }

    fn waits_though_told(&self, id: Id) -> bool {
        let slot = self.slot(id);
        slot.waits()
            && slot.state.stage == Stage::Queued
            && self
                .hold(id)
                .is_some_and(|hold| slot.told.is_of_or_after(hold.at))
    }

    fn timer_is_right(&self) -> bool {
        let (Some(hold), Some(next)) = (self.server.holds.first(), self.server.queue.first()) else {
            return true;
        };
        let slot = self.slot(next.id);
        // It will know, or ask again.
        let told = |packet: &Packet| match packet {
            _ if !packet.is_about(next.id) => false,
            Packet::Behind { at, left, .. } => at.tick + left <= hold.end,
            Packet::Ticked { at, answer, .. } | Packet::Answer { at, answer, .. } => {
                matches!(answer, Answer::Queued { wake: Some(left) } if at.tick + left <= hold.end)
            }
            Packet::Grant { .. } => true,
            _ => false,
        };
        !slot.waits()
            || slot.state.stage != Stage::Queued
            || hold.claim.is_none()
            || !hold.stale
            || slot.timer.is_some_and(|(_, wake)| wake <= hold.end)
            || self.is_under_way(told)
    }

    /// From here on no fault, everybody acts, guards are released: is every live waiter served?
    fn serves_everybody(&self, b: &Bounds) -> bool {
        let mut world = self.clone();
        world.left = super::bounds::Faults::NONE;
        // No more than the claims of the dead: 3 each, and the longest lease before them.
        let most = (b.lease + 2) * u8::try_from(b.wants.len()).unwrap_or(u8::MAX) * 3;
        for _ in 0..most {
            if !b.ids().any(|id| world.slot(id).waits()) {
                return true;
            }
            world.fair_tick(b);
            world.apply(b, Action::Time);
        }
        false
    }

    /// From here on no fault: does a waiter that the server holds for get its guard at once? Where
    /// nodes pass messages on, in the next tick: an answer to a request that was sent in the tick in
    /// which such a message was applied may have been sent before it, and does not count.
    fn serves_the_owner(&self, b: &Bounds) -> bool {
        let mut granted = self
            .server
            .holds
            .iter()
            .filter(|hold| hold.end > self.server_now());
        granted.all(|hold| {
            if !self.slot(hold.id).waits() {
                return true;
            }
            let mut world = self.clone();
            world.left = super::bounds::Faults::NONE;
            world.fair_tick(b);
            if b.passed_on && world.slot(hold.id).waits() {
                world.apply(b, Action::Time);
                world.fair_tick(b);
            }
            !world.slot(hold.id).waits()
        })
    }
}
