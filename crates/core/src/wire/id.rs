//! The id of an attempt, which is the owner in Redis: its format, and how its parts are read.
//!
//! `<client>.<counter><kin>:<weight>:<lease ms>:<claim window ms>`, where *kin* is nothing, `@<owner>`, or
//! `^<counter>-<weight>` of the hold that is to be upgraded. In a cluster there is a `+` or a `/` in place of the dot.

use crate::types::owner::Owner;

/// Characters of a client id; scripts take as many of an attempt id for the channel.
pub(crate) const CLIENT: usize = 22;
/// Characters of most ids.
const USUAL: usize = 48;

/// Where the subscription of a client is: the character behind its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inbox {
    /// At the server that runs the scripts, which can count its subscribers.
    Here,
    /// At any node of the cluster: a node that counts its own subscribers knows nothing.
    Anywhere,
    /// In the slot of the key, on a channel for each name.
    Sharded,
}

impl Inbox {
    const fn mark(self) -> char {
        match self {
            Self::Here => '.',
            Self::Anywhere => '+',
            Self::Sharded => '/',
        }
    }
}

/// What a counter counts, µs: it says when its attempt began, from the client's epoch on. Of upgrades it does not.
const TICK: u64 = 25;
/// No server's clock is before that, ms.
pub(crate) const EPOCH: u64 = 1_000_000_000_000;

/// The least counter of an attempt that begins now. Both are times of the server, ms.
pub(crate) const fn count(epoch: u64, now: u64) -> u64 {
    now.saturating_sub(epoch) * (1000 / TICK)
}

/// When the attempt with this counter began, µs of the server. `epoch`: of its client, ms.
pub(crate) const fn time(epoch: u64, counter: u64) -> u64 {
    epoch
        .saturating_mul(1000)
        .saturating_add(counter.saturating_mul(TICK))
}

/// Which holds an attempt is related to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    None,
    /// Those of this owner: they do not exclude it, and it overtakes the queue.
    Owner(Owner),
    /// This one, which it is to make exclusive. It goes before the queue, and its grant is that hold, changed.
    Base(Base),
}

/// The hold that is to be upgraded; with the lease, which is the same, this is its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Base {
    pub(crate) counter: u64,
    pub(crate) weight: u32,
    /// Its claim window, ms.
    pub(crate) window: u64,
}

/// Makes an id. `lease` and `window` are in ms; an upgrade has the window of its base.
pub(crate) fn format(
    (client, inbox): (&str, Inbox),
    counter: u64,
    kin: Kin,
    (weight, lease, window): (u32, u64, u64),
) -> String {
    let mut id = String::with_capacity(USUAL);
    let mut digits = itoa::Buffer::new();
    id.push_str(client);
    id.push(inbox.mark());
    id.push_str(digits.format(counter));
    let mut window = window;
    match kin {
        Kin::None => {}
        Kin::Owner(owner) => {
            id.push('@');
            id.push_str(&owner.to_string());
        }
        Kin::Base(base) => {
            window = base.window;
            id.push('^');
            id.push_str(digits.format(base.counter));
            id.push('-');
            id.push_str(digits.format(base.weight));
        }
    }
    for number in [u64::from(weight), lease, window] {
        id.push(':');
        id.push_str(digits.format(number));
    }
    id
}

/// The id of the client whose attempt it is.
pub(crate) fn client(id: &str) -> &str {
    id.get(..CLIENT).unwrap_or(id)
}

/// The counter, from what follows the client in an id: messages begin with that.
pub(crate) fn counter(rest: &str) -> Option<u64> {
    let counter = rest.strip_prefix(['.', '+', '/'])?;
    let digits = counter
        .find(|digit: char| !digit.is_ascii_digit())
        .unwrap_or(counter.len());
    counter[..digits].parse().ok()
}

/// The weight.
pub(crate) fn weight(id: &str) -> Option<u32> {
    id.rsplit(':').nth(2)?.parse().ok()
}

/// The length of the lease, ms.
pub(crate) fn lease(id: &str) -> Option<u64> {
    id.rsplit(':').nth(1)?.parse().ok()
}

/// Whose attempt it is.
pub(crate) fn owner(id: &str) -> Option<Owner> {
    let (_, rest) = id.get(CLIENT..)?.split_once('@')?;
    rest.split_once(':')?.0.parse().ok()
}

/// Whether it is an upgrade.
pub(crate) fn is_upgrade(id: &str) -> bool {
    id.get(CLIENT..).is_some_and(|rest| rest.contains('^'))
}

/// Whether it is an attempt of an owner, whoever that is.
pub(crate) fn has_owner(id: &str) -> bool {
    id.get(CLIENT..).is_some_and(|rest| rest.contains('@'))
}

/// The claim window, ms.
pub(crate) fn window(id: &str) -> u64 {
    let digits = id.rsplit(':').next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// Whether it is an attempt of this owner.
pub(crate) fn is_of(id: &str, owner: &Owner) -> bool {
    id.get(CLIENT..)
        .and_then(|rest| rest.split_once('@'))
        .and_then(|(_, rest)| rest.split_once(':'))
        .is_some_and(|(tag, _)| tag == owner.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sorted set keeps in a listpack. A longer member makes it a skiplist, which takes more memory.
    const LISTPACK: usize = 64;

    #[test]
    fn an_id_fits_into_a_listpack_but_for_late_upgrades() {
        let own = ("abcdefghijklmnopqrstuv", Inbox::Here);
        let longest = |counter, kin, weight| format(own, counter, kin, (weight, 86_400_000, 60_000)).len();
        let trillion = 999_999_999_999;
        assert!(longest(trillion, Kin::None, 1) <= LISTPACK, "a mutex");
        assert!(
            longest(trillion, Kin::None, 1_000_000_000) <= LISTPACK,
            "a semaphore"
        );
        let owner = Kin::Owner(Owner::new());
        let days = |days: u64| count(0, days * 86_400_000);
        let usual = |counter| format(own, counter, owner, (1, 10_000, 5000)).len();
        assert!(usual(days(28)) <= LISTPACK, "an owner's, for 28 days");
        assert!(usual(days(29)) > LISTPACK, "from here on it does not");
        assert!(
            longest(9_999_999, owner, 1) <= LISTPACK,
            "with the longest lease, for four minutes"
        );
        let upgrade = |counter, base, lease, window| {
            let base = Base {
                counter: base,
                weight: 500_000,
                window,
            };
            format(own, counter, Kin::Base(base), (999_999, lease, window)).len()
        };
        assert!(
            upgrade(9_999, days(28), 10_000, 5000) <= LISTPACK,
            "with the usual lease"
        );
        assert!(
            upgrade(999, 9_999_999, 86_400_000, 10_000) <= LISTPACK,
            "with the longest lease, for four minutes"
        );
        assert!(
            upgrade(9_999, days(29), 10_000, 5000) > LISTPACK,
            "from here on it does not"
        );
    }

    #[test]
    fn a_counter_says_when_its_attempt_began() {
        let epoch = 1_700_000_000_000;
        for ms in [0, 1, 999, 86_400_000, 366 * 86_400_000] {
            assert_eq!(
                time(epoch, count(epoch, epoch + ms)),
                (epoch + ms) * 1000,
                "after {ms} ms"
            );
        }
        assert_eq!(count(epoch, epoch - 1), 0, "the clock was set back");
        assert_eq!(time(u64::MAX, u64::MAX), u64::MAX, "somebody else's number");
    }

    #[test]
    fn each_part_is_found_again() {
        let own = ("abcdefghijklmnopqrstuv", Inbox::Here);
        let plain = format(own, 17, Kin::None, (1, 10_000, 1000));
        assert_eq!(plain, "abcdefghijklmnopqrstuv.17:1:10000:1000");
        let owner = Owner::new();
        let reentrant = format(own, 18, Kin::Owner(owner), (1, 10_000, 1000));
        let base = Base {
            counter: 17,
            weight: 2,
            window: 900,
        };
        let upgrade = format(own, 19, Kin::Base(base), (5, 10_000, 1000));
        assert_eq!(upgrade, "abcdefghijklmnopqrstuv.19^17-2:5:10000:900");
        for (id, number, ms) in [(&plain, 17, 1000), (&reentrant, 18, 1000), (&upgrade, 19, 900)] {
            assert_eq!(client(id), own.0, "{id}");
            assert_eq!(counter(&id[CLIENT..]), Some(number), "{id}");
            assert_eq!(window(id), ms, "{id}");
            assert_eq!(has_owner(id), id == &reentrant, "{id}");
        }
        assert_eq!(
            [&plain, &reentrant, &upgrade].map(|id| weight(id)),
            [Some(1), Some(1), Some(5)]
        );
        assert_eq!(
            (weight("no id"), lease("no id"), super::owner("no id")),
            (None, None, None)
        );
        for (id, has) in [(&plain, None), (&reentrant, Some(owner)), (&upgrade, None)] {
            assert_eq!(super::owner(id), has, "{id}");
            assert_eq!(lease(id), Some(10_000), "{id}");
            assert_eq!(is_upgrade(id), id == &upgrade, "{id}");
        }
        assert!(
            is_of(&reentrant, &owner) && !is_of(&reentrant, &Owner::new()),
            "{reentrant}"
        );
        assert!(
            !is_of(&plain, &owner) && !is_of(&upgrade, &owner),
            "they have none"
        );
    }
}
