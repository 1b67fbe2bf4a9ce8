//! `probe.lua` around a script, and what it answers.

use std::collections::BTreeMap;

use latchwork_testkit::{Reply, RespClient};

use crate::bench::Script;

/// Where a branch of a shortcut begins: file, line and text.
pub(super) type Branches = BTreeMap<i64, String>;

/// The members of a record, with their scores.
pub(super) type Members = Vec<(String, f64)>;

/// What a run of a script came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) reply: Reply,
    pub(super) members: Members,
    /// When the record ends, server's clock in ms; -1: there is none.
    pub(super) life: i64,
    /// Channel and text; sorted.
    pub(super) mail: Vec<String>,
}

/// The same request with the shortcuts and without.
#[derive(Debug)]
pub(super) struct Both {
    pub(super) hits: Vec<i64>,
    pub(super) with: Run,
    pub(super) without: Run,
    /// What the two came to once a tick had settled them, if something was over before.
    pub(super) settled: Option<[Run; 2]>,
}

/// Loads a script with its probe. Returns its hash, and the branches of its shortcuts by number.
pub(super) fn load(client: &mut RespClient, script: Script) -> (String, Branches) {
    let (with, branches) = instrument(script);
    let parts = [
        ("{WITHOUT}", exact_lives(&script.general())),
        ("{WITH}", exact_lives(&with)),
        ("{TICK}", exact_lives(&Script::Tick.general())),
    ];
    let probe = parts
        .iter()
        .fold(include_str!("probe.lua").to_owned(), |text, (name, part)| {
            text.replace(name, part)
        });
    let hash = client.call(&["SCRIPT", "LOAD", &probe]).unwrap();
    (hash.text().unwrap(), branches)
}

/// A script that sets lives as they are asked for, not an eighth longer: that is set at other moments with
/// shortcuts than without. Nobody can rely on the eighth, as another request may have been the last to set it.
fn exact_lives(text: &str) -> String {
    let eighths = text.split(" + math.floor(");
    let mut left = String::new();
    for (at, piece) in eighths.enumerate() {
        match piece.split_once(" / 8)") {
            Some((of, rest)) if at > 0 && !of.contains([' ', ')']) => left += rest,
            _ if at > 0 => left = left + " + math.floor(" + piece,
            _ => left += piece,
        }
    }
    left
}

/// A script that notes which branches of its shortcuts it takes, and which shortcuts it leaves at the end.
fn instrument(script: Script) -> (String, Branches) {
    let (mut text, mut branches, mut inside) = (String::new(), Branches::new(), false);
    for (at, line) in script.source().lines().enumerate() {
        let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
        let code = code.trim_end();
        inside |= comment.starts_with("-- shortcut: ");
        let ends = comment == "-- end of shortcut";
        let begins = ["then", "else", "do"]
            .iter()
            .any(|word| code.trim_start() == *word || code.ends_with(&format!(" {word}")));
        text += code;
        if inside && (begins || ends) {
            text.extend([" hit(", &at.to_string(), ")"]);
            let line = if ends { "left at its end" } else { code.trim() };
            branches.insert(
                i64::try_from(at).unwrap(),
                format!("{script:?} {}: {line}", at + 1),
            );
        }
        inside &= !ends;
        text.push('\n');
    }
    (text, branches)
}

impl Run {
    fn read(reply: &Reply) -> Self {
        let [reply, members, life, mail] = reply.items() else {
            panic!("{reply:?}");
        };
        let texts: Vec<_> = members.items().iter().filter_map(Reply::text).collect();
        let pairs = texts.chunks_exact(2);
        let mail = mail.items().iter().filter_map(Reply::text);
        // Lines for one client are joined; which stand together is not what is compared.
        let lines = mail.flat_map(|text| {
            let (channel, lines) = text.split_once(' ').unwrap();
            let each = lines.split(';').map(|line| format!("{channel} {line}"));
            each.collect::<Vec<_>>()
        });
        let mut mail: Vec<_> = lines.collect();
        mail.sort();
        Self {
            reply: reply.clone(),
            members: pairs
                .map(|pair| (pair[0].clone(), pair[1].parse().unwrap()))
                .collect(),
            life: life.int().unwrap(),
            mail,
        }
    }
}

impl Run {
    /// What it is after another script; the messages are those of both.
    fn then(&self, next: &Reply) -> Self {
        let next = Self::read(next);
        let mut mail = [self.mail.clone(), next.mail].concat();
        mail.sort();
        let reply = self.reply.clone();
        Self { reply, mail, ..next }
    }
}

impl Both {
    pub(super) fn read(reply: &Reply) -> Self {
        let (hits, [with, without, rest @ ..]) = (&reply.items()[0], &reply.items()[1..]) else {
            panic!("{reply:?}");
        };
        let with = Run::read(with);
        let without = match without.items() {
            [reply] => Run {
                reply: reply.clone(),
                ..with.clone()
            },
            _ => Run::read(without),
        };
        let settled = match rest {
            [one, other] => Some([with.then(one), without.then(other)]),
            _ => None,
        };
        Self {
            hits: hits.items().iter().filter_map(Reply::int).collect(),
            with,
            without,
            settled,
        }
    }
}
