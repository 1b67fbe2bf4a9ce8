//! The layout of a record in Redis: bands, members and the bits of a place. This is the only list of them.
//!
//! A record is a sorted set. The band of a score says what its member is; marks are told apart by name. The scripts use
//! the names of this file in percent signs, as `'%USED%'` or `%TOMB%`, which are replaced when a script is joined: one
//! letter for the server, a word for the reader. `docs/design.md` has the same tables.

use super::id::CLIENT;

/// Which primitives a member belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Mutexes, read-write locks and semaphores.
    Lock,
    /// Countdown latches.
    Latch,
}

/// A range of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Band {
    /// Below 0: places in the queue.
    Place,
    /// From 0 up to 10^11: marks with a small number.
    Small,
    /// From 10^11 up to 10^12: ids that counted in a latch, and its generations that are over.
    Once,
    /// From 10^12 up to 10^14: holders, by the end of their lease in ms.
    Holder,
    /// From 10^14 up to 10^15: what is remembered until some time in ms.
    Tomb,
    /// From 10^15 on: times in µs.
    Micros,
}

/// Where the holders' band begins; a lease that ends before was over in 2001.
pub const HOLDER: f64 = 1e12;
/// Where the band of tombstones begins.
pub const TOMB: f64 = 1e14;
const ONCE_BAND: f64 = 1e11;
const MICROS: f64 = 1e15;

/// The score of a place is `BASE + ticket * TICKET + chance * CHANCE + seen`.
const BASE: i64 = -(1 << 53);
const TICKET: i64 = 1 << 20;
const CHANCE: i64 = 1 << 18;
/// The `chance` of a waiter that polls, because its inbox is down.
const POLLS: i64 = 3;
/// A holder's score has (1 + missed claims) / `CLAIM_PARTS` as its fraction if it is a claim.
const CLAIM_PARTS: f64 = 16.0;

impl Band {
    /// The band of a score.
    pub fn of(score: f64) -> Self {
        match score {
            score if score < 0.0 => Self::Place,
            score if score < ONCE_BAND => Self::Small,
            score if score < HOLDER => Self::Once,
            score if score < TOMB => Self::Holder,
            score if score < MICROS => Self::Tomb,
            _ => Self::Micros,
        }
    }

    /// As the tables of `docs/design.md` say it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Place => "below 0",
            Self::Small => "0 .. 10^11",
            Self::Once => "10^11 .. 10^12",
            Self::Holder => "10^12 .. 10^14",
            Self::Tomb => "10^14 .. 10^15",
            Self::Micros => "above 10^15",
        }
    }
}

/// A kind of member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// What the scripts call it, in percent signs. Empty: the member is an attempt's id alone.
    pub name: &'static str,
    /// What it begins with on the wire.
    pub wire: &'static str,
    /// What follows. Empty: nothing.
    pub of: &'static str,
    /// The band of its score.
    pub band: Band,
    /// Whose record it is in; a latch's has the members without a name and the token of a lock's, too.
    pub kind: Kind,
    /// What it means.
    pub meaning: &'static str,
}

const fn row(
    kind: Kind,
    band: Band,
    name: &'static str,
    (wire, of): (&'static str, &'static str),
    meaning: &'static str,
) -> Row {
    Row {
        name,
        wire,
        of,
        band,
        kind,
        meaning,
    }
}

const ID: &str = "attempt id";

/// All kinds of members.
#[rustfmt::skip] // a table
pub const ROWS: [Row; 29] = {
    use Band::{Holder, Micros, Once, Place, Small, Tomb};
    use Kind::{Latch, Lock};
    [
        row(Lock, Place, "", ("", ID), "waiter: `-2^53 + ticket * 2^20 + chance * 2^18 + seen`"),
        row(Lock, Small, "USED", ("u", ""), "weight in use by shared holders (absent: nobody, or one exclusive holder)"),
        row(Lock, Small, "CAPACITY", ("c", ""), "counted primitives only: twice the capacity, and one more if it was set by hand; \
            the fraction is the version that set it (below)"),
        row(Lock, Small, "WEIGHT", ("w", ID), "counted primitives only: what a holder has, if it is not the weight in its id"),
        row(Lock, Small, "NEXT", ("q", ""), "next ticket; present exactly when somebody waits"),
        row(Lock, Small, "UPGRADED", ("p", ID), "the hold was upgraded and has everything: the counter of the upgrade"),
        row(Lock, Small, "OWNER", ("o", "owner"), "the ticket that all waiters of this owner have"),
        row(Lock, Small, "SINCE", ("s", ""), "tickets count milliseconds since then (modulo 2^36): a head start was \
            or may be compared"),
        row(Lock, Small, "PASSED", ("l", ""), "waiters up to this ticket were passed over, as nobody listens for them; \
            the fraction is when, as `seen`, in 2^18ths"),
        row(Lock, Small, "SWEPT", ("z", ""), "the queue was full and was looked through for places of the dead, s"),
        row(Lock, Small, "DOUBT", ("h", ""), "a claim that was made then has lapsed, as `seen`: waiters that were not \
            seen since are passed over"),
        row(Lock, Small, "INTERVAL", ("i", ""), "counted primitives with a rate only: what a permit takes, µs"),
        row(Lock, Small, "BURST", ("b", ""), "with a rate only: how many permits may start at once"),
        row(Lock, Small, "PERIOD", ("d", ""), "with a rate only: how far ahead a start may be, µs"),
        row(Lock, Small, "EXTENDED", ("x", ID), "the hold was extended past the lease in its id: the longer lease, ms"),
        row(Lock, Holder, "", ("", ID), "holder: end of its lease, ms; the fraction says whether it is a claim (below)"),
        row(Lock, Tomb, "", ("", ID), "tombstone: 10^14 + its end, ms"),
        row(Lock, Tomb, "FORCED", ("f", ID), "the hold was forced open, which a renewal is to learn until then"),
        row(Lock, Micros, "ARRIVAL", ("r", ""), "with a rate only: the theoretical arrival time, µs"),
        row(Lock, Micros, "START", ("y", ID), "with a rate only: the start of a holder that has not come, µs"),
        row(Lock, Micros, "TOKEN", ("t1", ""), "last fencing token, µs. The `1` is the schema version of the record"),
        row(Latch, Small, "LEFT", ("n1:", "number"), "how many are left, and 1; a half more if a call has to look \
            (below)"),
        row(Latch, Small, "INITIAL", ("i", ""), "twice the number that the generation began with, and 1; 1 more if a \
            reset changed it"),
        row(Latch, Small, "GENERATION", ("g", ""), "number of the generation, from 1"),
        row(Latch, Small, "CURRENT", ("q", ""), "while something is left of generations that are over: the number, modulo \
            4096, of the one that can be waited for"),
        row(Latch, Once, "ONCE", ("#", "id"), "10^11 + number of the generation in which `count_down_once(id)` counted"),
        row(Latch, Once, "OVER", ("e", "generation client"), "places are left of this generation, and the client was told \
            last: 5 * 10^11 + twice its number, and 1 more if it came to zero"),
        row(Latch, Tomb, "COUNTED", ("c", ID), "this attempt counted down, or reset; until a second after its \
            `not_after`. The fraction is the number of the generation modulo 63, and 1, in 64ths"),
        row(Latch, Tomb, "FINISHED", ("d", "generation"), "this generation had come to zero before it was reset; for a minute"),
    ]
};

/// The numbers in the scripts, by name.
const NUMBERS: [(&str, &str); 33] = [
    // Bands.
    ("ONCE_BAND", "100000000000"),
    ("HOLDER", "1000000000000"),
    ("TOMB", "100000000000000"),
    ("MICROS", "1000000000000000"),
    // In front of a time of 13 digits: the same as `TOMB` and that time, as text.
    ("TOMB_DIGITS", "10"),
    // The fraction of a claim: none missed, one missed, ...
    ("CLAIM_PARTS", "16"),
    ("FIRST_CLAIM", ".0625"),
    // The fraction of a count-down's mark; in the first generation it is two parts.
    ("COUNTED_PARTS", "64"),
    ("FIRST_COUNTED", ".03125"),
    // Places.
    ("BASE", "-9007199254740992"),
    ("TICKET", "1048576"),
    ("CHANCE", "262144"),
    ("POLLS", "3"),
    // Tickets begin at 2^32. Upgrades and claims that lapsed have tickets below 2^30, all others from there on.
    ("FIRST_TICKET", "4294967296"),
    ("LAST_TICKET", "8589934591"),
    ("FRONT", "1073741824"),
    // 2^30 ms (12.4 days): from then on tickets count arrivals again, or they would run out.
    ("LONGEST", "1073741824"),
    // 2^36 ms: what `SINCE` counts modulo, so that it stays in its band.
    ("CYCLE", "68719476736"),
    // What one step does at most: waiters that it grants to, what it removes of what is over, waiters that it looks at.
    ("GRANTS", "100"),
    ("ENDS", "250"),
    ("SCAN", "1000"),
    // `seen` is in units of so many ms.
    ("UNIT", "512"),
    // So many units less than a whole turn of `seen` are not an age: the clock was set back, by 70 minutes at most. So ages
    // up to 36 hours are told apart, which is longer than any lease.
    ("STEPPED", "8192"),
    // The fraction of `CAPACITY` is the version that set it, and 1, in such parts. What was set is remembered for a day, ms.
    ("VERSIONS", "131072"),
    ("KEEP", "86400000"),
    // A latch's places have tickets by the number of their generation, modulo so many, and by their client. The band of
    // those of one generation is so wide.
    ("GENERATIONS", "4096"),
    ("CROWD", "2199023255552"),
    ("OVER_BAND", "500000000000"),
    // What one step of a latch removes of places and ids, and what it costs of that to tell a client; and of marks that are
    // over.
    ("PORTION", "1000"),
    ("TELLING", "4"),
    ("MARKS", "500"),
    // In units: a waiter that was not seen for longer (30 s) is dropped when it comes to the front (H8), so that the order
    // survives an outage of that length.
    ("GONE", "59"),
    // In units: the place of one that was not seen for longer (10 s) makes room in a full queue, and is not listed.
    ("PATIENCE", "20"),
];

/// What stands for a name in percent signs.
fn value(name: &str) -> Option<&'static str> {
    let number = NUMBERS.iter().find(|(known, _)| *known == name);
    let member = || ROWS.iter().find(|row| !name.is_empty() && row.name == name);
    number
        .map(|(_, value)| *value)
        .or_else(|| member().map(|row| row.wire))
}

/// A part of a script with all names replaced.
pub(crate) fn substitute(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let name = after.split_once('%').map_or("", |(name, _)| name);
        if let Some(value) = value(name) {
            text.push_str(value);
            rest = &after[name.len() + 1..];
        } else {
            text.push('%');
            rest = after;
        }
    }
    text + rest
}

/// A member with its score, decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Member<'a> {
    /// A place in the queue.
    Waiter {
        /// The attempt.
        id: &'a str,
        /// Its place in the order.
        ticket: i64,
        /// Claims that it missed; 3: it polls.
        chance: i64,
        /// When it was last seen, in units of 256 ms.
        seen: i64,
    },
    /// A hold.
    Holder {
        /// The attempt.
        id: &'a str,
        /// The end of its lease, ms.
        ends: i64,
        /// Of a claim: how many were missed before.
        claim: Option<i64>,
    },
    /// The end of an attempt whose acquire may still come.
    Tombstone {
        /// The attempt.
        id: &'a str,
        /// Until when, ms.
        ends: i64,
    },
    /// Anything else: the row of the table, what follows its name, and the number without the beginning of its band.
    Mark {
        /// The row of the table.
        row: &'static Row,
        /// What follows the name.
        of: &'a str,
        /// The score, from the beginning of its band if that is `Once` or `Tomb`.
        number: f64,
    },
}

/// Reads a member by its score; `None`: there is no such thing.
pub fn decode(kind: Kind, member: &str, score: f64) -> Option<Member<'_>> {
    let band = Band::of(score);
    let whole = |number: f64| {
        let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        #[allow(clippy::cast_possible_truncation, reason = "whole, and within the bounds")]
        exact.then_some(number as i64)
    };
    match band {
        Band::Place => {
            let bits = whole(score)? - BASE;
            return Some(Member::Waiter {
                id: member,
                ticket: bits / TICKET,
                chance: bits / CHANCE % (TICKET / CHANCE),
                seen: bits % CHANCE,
            });
        }
        Band::Holder => {
            let missed = whole(score.fract() * CLAIM_PARTS)? - 1;
            return Some(Member::Holder {
                id: member,
                ends: whole(score.floor())?,
                claim: (missed >= 0).then_some(missed),
            });
        }
        Band::Tomb if member.as_bytes().get(CLIENT) == Some(&b'.') => {
            let ends = whole(score - TOMB)?;
            return Some(Member::Tombstone { id: member, ends });
        }
        _ => {}
    }
    let fits = |row: &&Row| {
        let of = member.strip_prefix(row.wire);
        !row.name.is_empty()
            && row.band == band
            && (row.kind == kind || row.name == "TOKEN")
            && of.is_some_and(|of| of.is_empty() == row.of.is_empty())
    };
    let row = ROWS.iter().find(fits)?;
    let number = match band {
        Band::Once => score - ONCE_BAND,
        Band::Tomb => score - TOMB,
        _ => score,
    };
    let of = &member[row.wire.len()..];
    Some(Member::Mark { row, of, number })
}

/// How much a counted primitive has, by the score of its mark: twice that, and one more if it was resized.
pub(crate) const fn capacity(stored: u64) -> u64 {
    stored / 2
}

/// Whether a waiter with this `chance` polls.
pub const fn polls(chance: i64) -> bool {
    chance == POLLS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fraction of a count-down's mark is its generation in these parts.
    const COUNTED_PARTS: f64 = 64.0;
    const ATTEMPT: &str = "Client0000000000000001.17:1:10000:1000";

    #[test]
    fn names_are_unique_and_numbers_agree() {
        let names = NUMBERS.iter().map(|(name, _)| *name);
        let mut names: Vec<_> = names.chain(ROWS.iter().map(|row| row.name)).collect();
        names.retain(|name| !name.is_empty());
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "no name twice");
        let number = |name| value(name).expect("a number").parse::<f64>().expect("a number");
        #[allow(clippy::cast_precision_loss, reason = "they are powers of two")]
        for (name, ours) in [
            ("ONCE_BAND", ONCE_BAND),
            ("HOLDER", HOLDER),
            ("TOMB", TOMB),
            ("MICROS", MICROS),
            ("TOMB_DIGITS", TOMB / 1e13),
            ("CLAIM_PARTS", CLAIM_PARTS),
            ("FIRST_CLAIM", 1.0 / CLAIM_PARTS),
            ("COUNTED_PARTS", COUNTED_PARTS),
            ("FIRST_COUNTED", 2.0 / COUNTED_PARTS),
            ("BASE", BASE as f64),
            ("TICKET", TICKET as f64),
            ("CHANCE", CHANCE as f64),
            ("POLLS", POLLS as f64),
        ] {
            assert!((number(name) - ours).abs() < f64::EPSILON, "{name}");
        }
    }

    #[test]
    fn names_in_percent_signs_are_replaced() {
        let text =
            "('%USED%', '%CAPACITY%%USED%', x % %TICKET%, '%.0f%FIRST_CLAIM%', '^(%d+)%a?$', %NOTHING%)";
        assert_eq!(
            substitute(text),
            "('u', 'cu', x % 1048576, '%.0f.0625', '^(%d+)%a?$', %NOTHING%)"
        );
    }

    #[test]
    fn members_are_read_by_their_scores() {
        let mark = |member, score| match decode(Kind::Lock, member, score) {
            Some(Member::Mark { row, of, number }) => Some((row.name, of.to_owned(), number)),
            other => panic!("{other:?}"),
        };
        assert_eq!(mark("u", 3.0), Some(("USED", String::new(), 3.0)));
        let weight = format!("w{ATTEMPT}");
        assert_eq!(mark(&weight, 2.0), Some(("WEIGHT", ATTEMPT.to_owned(), 2.0)));
        let forced = format!("f{ATTEMPT}");
        assert_eq!(
            mark(&forced, TOMB + 5.0),
            Some(("FORCED", ATTEMPT.to_owned(), 5.0))
        );
        assert_eq!(mark("t1", 2e15), Some(("TOKEN", String::new(), 2e15)));
        match decode(Kind::Latch, "#id", ONCE_BAND + 5.0) {
            Some(Member::Mark { row, of, number }) => {
                assert_eq!((row.name, of, number), ("ONCE", "id", 5.0), "by generation");
            }
            other => panic!("{other:?}"),
        }
        let claim = Member::Holder {
            id: ATTEMPT,
            ends: 1_700_000_000_000,
            claim: Some(1),
        };
        assert_eq!(decode(Kind::Lock, ATTEMPT, 1_700_000_000_000.125), Some(claim));
        let tombstone = Member::Tombstone { id: ATTEMPT, ends: 5 };
        assert_eq!(decode(Kind::Lock, ATTEMPT, TOMB + 5.0), Some(tombstone));
        let place = Member::Waiter {
            id: ATTEMPT,
            ticket: 1 << 32,
            chance: 2,
            seen: 7,
        };
        #[allow(clippy::cast_precision_loss, reason = "it is below 2^53")]
        let score = (BASE + (1 << 32) * TICKET + 2 * CHANCE + 7) as f64;
        assert_eq!(decode(Kind::Lock, ATTEMPT, score), Some(place));
        assert!(polls(3) && !polls(2));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_read() {
        for (member, score) in [
            ("u", 1e11),
            ("ux", 3.0),
            ("w", 3.0),
            ("j", 3.0),
            ("t1", 3.0),
            ("g", 1.0),
            (ATTEMPT, 1.0),
            (ATTEMPT, -0.5),
            (ATTEMPT, 1_700_000_000_000.01),
            ("zz", TOMB + 5.0),
        ] {
            assert_eq!(decode(Kind::Lock, member, score), None, "{member} {score}");
        }
        assert!(decode(Kind::Latch, "g", 1.0).is_some(), "a latch's");
        assert_eq!(decode(Kind::Latch, "u", 1.0), None, "a lock's");
    }
}
