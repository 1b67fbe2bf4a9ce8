//! The record of a client, which inspections read: its label, and what the ids of its attempts do not say.
//!
//! A text: `1 <epoch ms> <bytes of the label>:<label>`, and for each attempt of which there is more to say
//! ` <counter> <since µs> <head start ms> <bytes of the purpose>:<purpose>`. Numbers that are not known are 0.

use std::collections::HashMap;
use std::fmt::Write;

/// The version of the text.
const VERSION: &str = "1";
/// Attempts that a record says more of.
pub(crate) const MOST: usize = 256;
/// Bytes of a record: it is written, and read, as a whole.
const BYTES: usize = 16 * 1024;
/// Bytes of a label that are shown, whoever wrote it.
const SHOWN: usize = 256;

/// What an id does not say of its attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Since when it holds, or waits, µs of the server; 0: its id says it.
    pub(crate) since: u64,
    /// Its head start in the queue, ms.
    pub(crate) ahead: i64,
    /// What for; empty: it does not say.
    pub(crate) purpose: Box<str>,
}

/// Writes a record.
#[derive(Debug)]
pub(crate) struct ClientRecord(String);

impl ClientRecord {
    pub(crate) fn new(epoch: u64, label: &str) -> Self {
        Self(format!("{VERSION} {epoch} {}:{label}", label.len()))
    }

    /// Adds what there is to say of an attempt, unless the record is full.
    pub(crate) fn add(&mut self, counter: u64, note: &Note) {
        let Note {
            since,
            ahead,
            purpose,
        } = note;
        if self.0.len() + purpose.len() < BYTES {
            // Writing to a text cannot fail.
            write!(self.0, " {counter} {since} {ahead} {}:{purpose}", purpose.len()).unwrap_or_default();
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// A record as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    pub(crate) label: String,
    /// From when on the counters count, ms of the server.
    pub(crate) epoch: Option<u64>,
    pub(crate) notes: HashMap<u64, Note>,
}

impl ClientInfo {
    /// Reads a record. Of other data as much is shown as a label may have.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self::parse(bytes).unwrap_or_else(|| Self {
            label: shown(bytes),
            ..Self::default()
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(VERSION.as_bytes())?.strip_prefix(b" ")?;
        let epoch: u64 = number(&mut rest, b' ')?;
        let mut info = Self {
            label: shown(text(&mut rest)?),
            epoch: (epoch > 0).then_some(epoch),
            notes: HashMap::new(),
        };
        while let Some(more) = rest.strip_prefix(b" ") {
            rest = more;
            let counter = number(&mut rest, b' ')?;
            let note = Note {
                since: number(&mut rest, b' ')?,
                ahead: number(&mut rest, b' ')?,
                purpose: shown(text(&mut rest)?).into(),
            };
            info.notes.insert(counter, note);
        }
        rest.is_empty().then_some(info)
    }
}

/// Takes a number, and what ends it.
fn number<T: std::str::FromStr>(rest: &mut &[u8], end: u8) -> Option<T> {
    let at = rest.iter().position(|&byte| byte == end)?;
    let number = std::str::from_utf8(&rest[..at]).ok()?.parse().ok()?;
    *rest = &rest[at + 1..];
    Some(number)
}

/// Takes a text, in front of which is its length.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = number(rest, b':')?;
    let (text, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(text)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(since: u64, ahead: i64, purpose: &str) -> Note {
        Note {
            since,
            ahead,
            purpose: purpose.into(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let label = "host:7 \n é";
        let notes = [
            (2, note(1_700_000_000_000_001, 0, "")),
            (7, note(0, -3000, "a purpose: 5:with 1 2 3:4")),
        ];
        let mut record = ClientRecord::new(1_700_000_000_000, label);
        for (counter, note) in &notes {
            record.add(*counter, note);
        }
        let info = ClientInfo::read(record.into_text().as_bytes());
        assert_eq!(info.label, label);
        assert_eq!(info.epoch, Some(1_700_000_000_000));
        assert_eq!(info.notes, notes.into_iter().collect());
        let unknown = ClientRecord::new(0, "").into_text();
        assert_eq!(ClientInfo::read(unknown.as_bytes()), ClientInfo::default());
    }

    #[test]
    fn a_full_record_has_the_first_notes() {
        let mut record = ClientRecord::new(1, "x");
        for counter in 0..1000 {
            record.add(counter, &note(u64::MAX, i64::MIN, &"p".repeat(128)));
        }
        let text = record.into_text();
        assert!(text.len() < BYTES + 256, "{} bytes", text.len());
        let found = ClientInfo::read(text.as_bytes());
        assert!(found.notes.contains_key(&0), "the oldest");
        assert!(found.notes.len() < 1000, "not all fit");
    }

    #[test]
    fn other_data_is_shown_in_part() {
        for bytes in [
            &b"host:1"[..],
            b"1",
            b"1 5 9:short",
            b"1 5 3:abc 1 2",
            b"1 5 3:abcd",
            b"1 5 3:abc 1 2 3 99999999999999999999:x",
            b"1 -5 1:x",
            b"2 5 1:x",
            b"\xff\xfe\0",
            b"",
        ] {
            let info = ClientInfo::read(bytes);
            assert_eq!(info.label, String::from_utf8_lossy(bytes), "{bytes:?}");
            assert_eq!((info.epoch, info.notes.len()), (None, 0), "{bytes:?}");
        }
        let long = ClientInfo::read("x".repeat(1_000_000).as_bytes());
        assert_eq!(long.label.len(), SHOWN, "no more than of a label");
    }
}
