//! What is in a key, decoded by the table in `wire/record.rs`, which is that of docs/design.md, "One key per primitive".

use std::collections::BTreeMap;

use latchwork_core::kit::record::{Kind, Member, decode};
use latchwork_testkit::Reply;

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
    /// Member `z`: the second in which a full queue was looked through.
    pub(crate) swept: Option<i64>,
    /// Member `h`: when a claim was made that lapsed.
    pub(crate) doubt: Option<i64>,
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
            dump.note(&member, number)?;
        }
        Ok(dump)
    }

    fn note(&mut self, member: &str, score: f64) -> Result<(), String> {
        let what = decode(Kind::Lock, member, score).ok_or_else(|| format!("what is {member} {score}?"))?;
        match what {
            Member::Waiter {
                id,
                ticket,
                chance,
                seen,
            } => {
                self.tickets.insert(id.to_owned(), ticket);
                self.queue.push((id.to_owned(), chance, seen));
            }
            Member::Holder { id, ends, claim } => drop(self.holds.insert(id.to_owned(), (ends, claim))),
            Member::Tombstone { id, ends } => drop(self.tombs.insert(id.to_owned(), ends)),
            Member::Mark { row, of, number } => {
                if row.name == "PASSED" {
                    return Ok(()); // it only says where a step begins
                }
                let number = whole(number)?;
                let marks = match row.name {
                    "TOKEN" => return note(&mut self.token, number),
                    "USED" => return note(&mut self.shared, number),
                    "CAPACITY" => return note(&mut self.stored, (number / 2, number % 2 == 1)),
                    "NEXT" => return note(&mut self.next, number),
                    "DOUBT" => return note(&mut self.doubt, number),
                    "SWEPT" => return note(&mut self.swept, number),
                    "SINCE" => return note(&mut self.since, number),
                    "EXTENDED" => &mut self.extended,
                    "WEIGHT" => &mut self.weights,
                    "OWNER" => &mut self.marks,
                    "UPGRADED" => &mut self.upgraded,
                    "FORCED" => &mut self.forced,
                    other => return Err(format!("the model knows no {other}")),
                };
                marks.insert(of.to_owned(), number);
            }
            other => return Err(format!("the model knows no {other:?}")),
        }
        Ok(())
    }
}

fn note<T>(field: &mut Option<T>, value: T) -> Result<(), String> {
    let before = field.replace(value);
    before.map_or(Ok(()), |_| Err("a member that is there twice".to_owned()))
}

/// A score that has to be a whole number, of at most 2^53.
fn whole(score: f64) -> Result<i64, String> {
    let text = format!("{score:.0}");
    match text.parse() {
        Ok(number) if score.fract() == 0.0 && score.abs() <= 9_007_199_254_740_992.0 => Ok(number),
        _ => Err(format!("{score} is not whole")),
    }
}
