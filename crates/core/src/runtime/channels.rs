//! The channels of a sharded inbox: one for each name that the client waits for. See "A sharded
//! inbox" in `docs/design.md`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::base::clock::Moment;
use crate::wire::slot::slot_of;

/// A channel is kept for so long after the last wait for its name.
pub(crate) const LINGER: Duration = Duration::from_secs(60);
/// The pauses between two ticks of a waiter whose channel is not heard.
const POLLS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

/// The end of a key from its first brace on, `{<name>}`: primitives of all kinds with one name share
/// a channel.
pub(crate) type Tag = Arc<[u8]>;

/// Returns the tag of a key. No prefix and no kind has a brace.
fn tag_of(key: &[u8]) -> &[u8] {
    let at = key.iter().position(|&byte| byte == b'{');
    at.and_then(|at| key.get(at..)).unwrap_or_default()
}

/// A channel that is wanted or heard.
#[derive(Debug)]
struct Channel {
    /// The number of the connection that is subscribed, if one is.
    heard: Option<u64>,
    /// When somebody began to wait last.
    used: Moment,
    /// Not to be asked for again before this.
    ask_at: Moment,
    /// When its waiters tick next, while it is not heard.
    poll_at: Moment,
    /// The pause after that.
    pause: Duration,
}

impl Channel {
    fn wanted(now: Moment) -> Self {
        Self {
            heard: None,
            used: now,
            ask_at: now,
            poll_at: now + POLLS.0, // the server has just said that it waits
            pause: POLLS.0 * 2,
        }
    }

    /// Nobody is subscribed any longer.
    fn lose(&mut self, now: Moment) {
        (self.heard, self.ask_at, self.poll_at, self.pause) = (None, now, now, POLLS.0);
    }
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Tag, Channel>,
    /// Heard since this was looked at last: their waiters tick once.
    fresh: Vec<Tag>,
    /// Forgotten, with the connection that is still subscribed.
    forgotten: Vec<(u64, Tag)>,
}

/// The channels of a client.
#[derive(Debug)]
pub(crate) struct Channels {
    /// How each of them begins.
    stem: Box<[u8]>,
    inner: Mutex<Inner>,
    /// Changes with them.
    version: watch::Sender<u64>,
    connections: AtomicU64,
}

impl Channels {
    /// `inbox`: the channel of a classic inbox.
    pub(crate) fn new(inbox: &str) -> Self {
        Self {
            stem: format!("{inbox}:").into_bytes().into(),
            inner: Mutex::default(),
            version: watch::Sender::new(0),
            connections: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Hears of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Returns the name of a channel.
    pub(crate) fn name(&self, tag: &[u8]) -> Vec<u8> {
        [&*self.stem, tag].concat()
    }

    /// Returns whether the channel of this key is in its slot. It is not if the name begins with a
    /// brace that closes: then the whole key is hashed, and no channel can be beside it. Who waits for
    /// it polls.
    pub(crate) fn fits(key: &[u8]) -> bool {
        !tag_of(key).starts_with(b"{}")
    }

    /// An attempt on this key was told that it is queued.
    pub(crate) fn want(&self, key: &[u8], now: Moment) {
        let tag = tag_of(key);
        let mut inner = self.lock();
        if let Some(channel) = inner.known.get_mut(tag) {
            channel.used = now;
            return;
        }
        inner.known.insert(tag.into(), Channel::wanted(now));
        drop(inner);
        self.tell();
    }

    /// Returns whether a message about this key arrives.
    pub(crate) fn is_heard(&self, key: &[u8]) -> bool {
        let channel_is_heard = |channel: &Channel| channel.heard.is_some();
        self.lock().known.get(tag_of(key)).is_some_and(channel_is_heard)
    }

    /// Returns a number for a new connection.
    pub(crate) fn connect(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The connection with this number has ended.
    pub(crate) fn disconnect(&self, connection: u64) {
        let now = Moment::now();
        let mut inner = self.lock();
        for channel in inner.known.values_mut() {
            if channel.heard == Some(connection) {
                channel.lose(now);
            }
        }
        inner.forgotten.retain(|(over, _)| *over != connection);
        drop(inner);
        self.tell();
    }

    /// The server says that this connection is subscribed, or no longer is. Returns whether a
    /// channel that was heard no longer is.
    pub(crate) fn subscribed(&self, name: &[u8], connection: u64, is_so: bool) -> bool {
        let Some(tag) = name.strip_prefix(&*self.stem) else {
            return false;
        };
        let mut inner = self.lock();
        let Some((tag, _)) = inner.known.get_key_value(tag) else {
            return false;
        };
        let tag = Arc::clone(tag);
        let Some(channel) = inner.known.get_mut(&tag) else {
            return false;
        };
        let was_heard = channel.heard == Some(connection);
        if is_so {
            channel.heard = Some(connection);
            inner.fresh.push(tag);
        } else if was_heard {
            channel.lose(Moment::now());
        } else {
            return false;
        }
        drop(inner);
        self.tell();
        was_heard && !is_so
    }

    /// These slots have another node from now on, or are about to.
    pub(crate) fn moved(&self, is_one: impl Fn(u16) -> bool) {
        let now = Moment::now();
        let mut inner = self.lock();
        for (tag, channel) in &mut inner.known {
            if is_one(slot_of(tag)) {
                channel.lose(now);
            }
        }
        drop(inner);
        self.tell();
    }

    /// Takes at most `most` channels to be asked for, of slots that are `here`. Returns when to look
    /// again if nothing changes.
    pub(crate) fn to_ask(&self, now: Moment, most: usize, here: impl Fn(u16) -> bool) -> (Vec<Tag>, Moment) {
        let (mut due, mut next) = (Vec::new(), Moment::NEVER);
        for (tag, channel) in &mut self.lock().known {
            if channel.heard.is_some() || !Self::fits(tag) || !here(slot_of(tag)) {
                continue;
            }
            if channel.ask_at <= now && due.len() < most {
                channel.ask_at = now + POLLS.1;
                due.push(Arc::clone(tag));
            }
            next = next.min(channel.ask_at);
        }
        (due, next)
    }

    /// Returns whether a channel of a slot that is `here` is not heard.
    pub(crate) fn is_wanted(&self, here: impl Fn(u16) -> bool) -> bool {
        let is_wanted = |(tag, channel): (&Tag, &Channel)| {
            channel.heard.is_none() && Self::fits(tag) && here(slot_of(tag))
        };
        self.lock().known.iter().any(is_wanted)
    }

    /// Takes the channels that this connection is to leave.
    pub(crate) fn to_leave(&self, connection: u64) -> Vec<Tag> {
        let mut inner = self.lock();
        let (own, others) = std::mem::take(&mut inner.forgotten)
            .into_iter()
            .partition(|(of, _)| *of == connection);
        inner.forgotten = others;
        drop(inner);
        (own as Vec<_>).into_iter().map(|(_, tag)| tag).collect()
    }

    /// Takes the channels whose waiters are to tick: those that were heard since, and those that are
    /// not heard. Returns when to look again if nothing changes.
    pub(crate) fn to_tick(&self, now: Moment) -> (HashSet<Tag>, Moment) {
        let mut inner = self.lock();
        let mut due: HashSet<Tag> = inner.fresh.drain(..).collect();
        let mut next = Moment::NEVER;
        for (tag, channel) in &mut inner.known {
            if channel.heard.is_some() {
                continue;
            }
            if channel.poll_at <= now {
                channel.poll_at = now + channel.pause;
                channel.pause = (channel.pause * 2).min(POLLS.1);
                due.insert(Arc::clone(tag));
            }
            next = next.min(channel.poll_at);
        }
        drop(inner);
        (due, next)
    }

    /// Returns whether any is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().known.is_empty()
    }

    /// Forgets the channels of names that nobody waits for, and has not for long. `keys`: those that
    /// somebody waits for.
    pub(crate) fn forget<'a>(&self, now: Moment, keys: impl Iterator<Item = &'a [u8]>) {
        let used: HashSet<&[u8]> = keys.map(tag_of).collect();
        let mut inner = self.lock();
        let Inner { known, forgotten, .. } = &mut *inner;
        known.retain(|tag, channel| {
            let stays = used.contains(&**tag) || now.since(channel.used) < LINGER;
            if let (false, Some(connection)) = (stays, channel.heard) {
                forgotten.push((connection, Arc::clone(tag)));
            }
            stays
        });
        drop(inner);
        self.tell();
    }

    /// Returns whether this key's channel is one of these.
    pub(crate) fn is_of(key: &[u8], tags: &HashSet<Tag>) -> bool {
        tags.contains(tag_of(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"latchwork:lock:{orders}";

    fn channels() -> Channels {
        Channels::new("latchwork:inbox:abc")
    }

    #[test]
    fn a_channel_is_in_the_slot_of_its_key_unless_the_name_begins_with_a_brace_that_closes() {
        let channels = channels();
        for name in ["orders", "a}b", "{a}", "a{b}c", "}", "}a", "{}"] {
            let key = format!("latchwork:rw:{{{name}}}").into_bytes();
            let is_beside = slot_of(&key) == slot_of(&channels.name(tag_of(&key)));
            assert_eq!(is_beside, Channels::fits(&key), "{name}");
            if is_beside {
                assert_eq!(slot_of(tag_of(&key)), slot_of(&key), "{name}");
            }
        }
        assert!(!Channels::fits(b"latchwork:rw:{}a}"), "this is such a name");
    }

    #[test]
    fn a_channel_is_asked_for_until_it_is_heard_and_its_waiters_tick_once_more() {
        let channels = channels();
        let start = Moment::now();
        let name = b"latchwork:inbox:abc:{orders}";
        channels.want(KEY, start);
        assert!(!channels.is_heard(KEY), "not yet");
        let ask = |now, here| channels.to_ask(now, 10, |_| here).0.len();
        assert_eq!((ask(start, false), ask(start, true), ask(start, true)), (0, 1, 0));
        assert_eq!(ask(start + POLLS.1, true), 1, "there was no answer");
        let tick = |ms| channels.to_tick(start + Duration::from_millis(ms)).0.len();
        let ticks = [0, 24, 25, 26, 74, 75, 1000].map(tick);
        assert_eq!(ticks, [0, 0, 1, 0, 0, 1, 1], "it polls, with growing pauses");
        assert!(!channels.subscribed(name, 7, true));
        assert!(channels.is_heard(KEY) && channels.is_heard(b"latchwork:rw:{orders}"));
        assert!(!channels.is_heard(b"latchwork:lock:{other}"));
        let later = start + POLLS.1 * 9;
        let (due, next) = channels.to_tick(later);
        assert!(Channels::is_of(KEY, &due) && next == Moment::NEVER, "{due:?}");
        assert_eq!(channels.to_tick(later).0.len(), 0, "once");
        assert_eq!(ask(later, true), 0);
    }

    #[test]
    fn a_channel_is_wanted_again_when_it_is_no_longer_heard() {
        let channels = channels();
        let name = b"latchwork:inbox:abc:{orders}";
        let hear = |connection| {
            channels.want(KEY, Moment::now());
            channels.subscribed(name, connection, true);
            assert!(channels.is_heard(KEY));
        };
        hear(1);
        assert!(!channels.subscribed(name, 2, false), "another connection");
        assert!(channels.is_heard(KEY));
        assert!(channels.subscribed(name, 1, false), "unasked");
        assert!(!channels.is_heard(KEY));
        hear(2);
        channels.disconnect(1);
        assert!(channels.is_heard(KEY));
        channels.disconnect(2);
        assert!(!channels.is_heard(KEY));
        hear(3);
        channels.moved(|slot| slot != slot_of(KEY));
        assert!(channels.is_heard(KEY));
        channels.moved(|slot| slot == slot_of(KEY));
        assert!(!channels.is_heard(KEY));
        assert_eq!(channels.to_ask(Moment::now(), 10, |_| true).0.len(), 1);
    }

    #[test]
    fn a_channel_is_forgotten_a_minute_after_the_last_wait() {
        let channels = channels();
        let start = Moment::now();
        channels.want(KEY, start);
        channels.subscribed(b"latchwork:inbox:abc:{orders}", 1, true);
        let later = start + LINGER;
        channels.forget(later - Duration::from_millis(1), std::iter::empty());
        assert!(channels.is_heard(KEY));
        channels.forget(later, std::iter::once(KEY));
        assert!(channels.is_heard(KEY), "somebody waits");
        channels.forget(later, std::iter::empty());
        assert!(channels.is_empty());
        assert_eq!((channels.to_leave(2).len(), channels.to_leave(1).len()), (0, 1));
        assert_eq!(channels.to_leave(1).len(), 0, "once");
    }
}
