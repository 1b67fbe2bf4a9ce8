//! What is in a key, decoded by the table in docs/design.md, "One key per primitive".

use std::collections::BTreeMap;

use latchwork_testkit::Reply;

const SMALL: f64 = 1e11;
const HOLDER: f64 = 1e12;
const TOMB: f64 = 1e14;
const TOKEN: f64 = 1e15;
const BASE: i64 = -(1 << 53);

/// A record, decoded. The model makes one, too, and the two have to be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) token: Option<i64>,
    /// In order: id, chance, seen.
    pub(crate) queue: Vec<(String, i64, i64)>,
    /// By id: the ticket.
    pub(crate) tickets: BTreeMap<String, i64>,
    /// By id: its end in ms, and for a claim how many were missed before.
    pub(crate) holds: BTreeMap<String, (i64, Option<i64>)>,
    /// `x` members: id and longer lease.
    pub(crate) extended: BTreeMap<String, i64>,
    pub(crate) tombs: BTreeMap<String, i64>,
    pub(crate) forced: BTreeMap<String, i64>,
    /// `w` members: id and weight.
    pub(crate) weights: BTreeMap<String, i64>,
    /// Member `c`: the capacity, and whether it was resized.
    pub(crate) stored: Option<(i64, bool)>,
    /// Member `u`.
    pub(crate) shared: Option<i64>,
    /// Member `q`: the next ticket.
    pub(crate) next: Option<i64>,
    /// Member `s`: since when tickets count milliseconds.
    pub(crate) since: Option<i64>,
    /// `o` members: owner and ticket.
    pub(crate) marks: BTreeMap<String, i64>,
    /// `p` members: id of the hold that was upgraded, and counter of the upgrade.
    pub(crate) upgraded: BTreeMap<String, i64>,
}

impl Dump {
    /// Reads the reply of `ZRANGE key 0 -1 WITHSCORES`; an empty one is an empty record.
    pub(crate) fn decode(reply: &Reply) -> Result<Self, String> {
        let mut dump = Self::default();
        for pair in reply.items().chunks_exact(2) {
            let (Some(member), Some(score)) = (pair[0].text(), pair[1].text()) else {
                return Err("a member or score is no text".to_owned());
            };
            let number: f64 = score.parse().map_err(|_| format!("{score} is no number"))?;
            let small = number > 0.0 && number < SMALL;
            match member.as_str() {
                "t1" if number >= TOKEN => dump.token = Some(whole(number)?),
                "u" if small => dump.shared = Some(whole(number)?),
                "c" if small => {
                    let score = whole(number)?;
                    dump.stored = Some((score / 2, score % 2 == 1));
                }
                "q" if small => dump.next = Some(whole(number)?),
                "s" if small || number == 0.0 => dump.since = Some(whole(number)?),
                _ => dump.attempt(member, number)?,
            }
        }
        Ok(dump)
    }

    /// Notes the member of an attempt or owner.
    fn attempt(&mut self, member: String, score: f64) -> Result<(), String> {
        if score < 0.0 {
            let bits = whole(score)? - BASE;
            self.tickets.insert(member.clone(), bits >> 20);
            self.queue
                .push((member, (bits >> 18) & 3, bits & ((1 << 18) - 1)));
        } else if score < SMALL {
            let marks = match member.get(..1) {
                Some("x") => &mut self.extended,
                Some("w") => &mut self.weights,
                Some("o") => &mut self.marks,
                Some("p") => &mut self.upgraded,
                _ => return Err(format!("what is {member}?")),
            };
            marks.insert(member[1..].to_owned(), whole(score)?);
        } else if score < HOLDER {
            return Err(format!("what is {member}?"));
        } else if score < TOMB {
            let missed = whole(score.fract() * 16.0)?
                .checked_sub(1)
                .filter(|missed| *missed >= 0);
            self.holds.insert(member, (whole(score.floor())?, missed));
        } else if score < TOKEN {
            let ends = whole(score - TOMB)?;
            match member.strip_prefix('f') {
                Some(id) => self.forced.insert(id.to_owned(), ends),
                None => self.tombs.insert(member, ends),
            };
        } else {
            return Err(format!("what is {member}?"));
        }
        Ok(())
    }
}

/// A score that has to be a whole number, of at most 2^53.
fn whole(score: f64) -> Result<i64, String> {
    let text = format!("{score:.0}");
    match text.parse() {
        Ok(number) if score.fract() == 0.0 && score.abs() <= 9_007_199_254_740_992.0 => Ok(number),
        _ => Err(format!("{score} is not whole")),
    }
}
