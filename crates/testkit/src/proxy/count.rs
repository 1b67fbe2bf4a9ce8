//! Which requests went by: a reader of RESP arrays that needs only the first word of each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ConnId, ConnKind};

type Names = BTreeMap<String, u64>;

/// The requests of every connection so far.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<ConnId, (ConnKind, Names)>>);

impl Counts {
    pub(super) fn note(&self, id: ConnId, name: &str) {
        let mut connections = self.lock();
        let (kind, names) = connections
            .entry(id)
            .or_insert_with(|| (ConnKind::Commands, Names::new()));
        if matches!(name, "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE") {
            *kind = ConnKind::PubSub;
        }
        *names.entry(name.to_owned()).or_default() += 1;
        drop(connections);
    }

    pub(super) fn by_connection(&self) -> BTreeMap<ConnId, (ConnKind, Names)> {
        self.lock().clone()
    }

    pub(super) fn reset(&self) {
        for (_, names) in self.lock().values_mut() {
            names.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnId, (ConnKind, Names)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds requests in a stream that may be split anywhere. A request counts with its first word, so one that is cut
/// off after that counts too.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    expect: Expect,
    /// Words of the request that are still to come.
    words: u64,
    /// Whether the next word is the name.
    at_name: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Expect {
    /// `*3` or `$7`.
    #[default]
    Header,
    /// This many bytes of a word, and the line end.
    Word(u64),
}

impl Parser {
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(&str)) {
        while !bytes.is_empty() {
            match self.expect {
                Expect::Header => {
                    let end = bytes
                        .iter()
                        .position(|byte| *byte == b'\n')
                        .map_or(bytes.len(), |at| at + 1);
                    let (head, rest) = bytes.split_at(end);
                    self.line.extend_from_slice(head);
                    bytes = rest;
                    if head.ends_with(b"\n") {
                        self.header(&mut found);
                        self.line.clear();
                    }
                }
                Expect::Word(left) => {
                    let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (word, rest) = bytes.split_at(take);
                    if self.at_name {
                        self.line.extend_from_slice(word);
                    }
                    bytes = rest;
                    let left = left - take as u64;
                    self.expect = Expect::Word(left);
                    if left == 0 {
                        self.word_ends(&mut found);
                    }
                }
            }
        }
    }

    fn header(&mut self, found: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line).trim().to_owned();
        let number = || text.get(1..)?.parse::<u64>().ok();
        match (text.chars().next(), number()) {
            (Some('*'), Some(words)) if self.words == 0 => {
                self.words = words;
                self.at_name = true;
            }
            (Some('$'), Some(length)) if self.words > 0 => self.expect = Expect::Word(length + 2),
            (None, _) => {}
            // An inline request, such as `PING` typed by hand.
            _ => found(&text.split_whitespace().next().unwrap_or_default().to_uppercase()),
        }
    }

    fn word_ends(&mut self, found: &mut impl FnMut(&str)) {
        if self.at_name {
            found(&String::from_utf8_lossy(&self.line).trim().to_uppercase());
            self.line.clear();
            self.at_name = false;
        }
        self.words -= 1;
        self.expect = Expect::Header;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$6\r\n*1\r\n$4\r\n*1\r\n$4\r\nPING\r\nEcho hi\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";

    fn names(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut names = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, |name| names.push(name.to_owned()));
        }
        names
    }

    #[test]
    fn finds_requests_however_they_are_split() {
        let whole = ["SET", "PING", "ECHO", "GET"];
        assert_eq!(names(&[STREAM]), whole);
        for at in 0..STREAM.len() {
            let (head, tail) = STREAM.split_at(at);
            assert_eq!(names(&[head, tail]), whole, "split at {at}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(names(&bytes), whole);
    }

    #[test]
    fn a_request_that_is_cut_off_counts_once_it_has_a_name() {
        assert_eq!(names(&[b"*2\r\n$3\r\nGE"]), [""; 0]);
        assert_eq!(names(&[b"*2\r\n$3\r\nGET\r\n$9\r\nhal"]), ["GET"]);
    }
}
