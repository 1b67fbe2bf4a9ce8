//! What the scripts do in random histories is what it was when it was recorded: replies, records, lives and messages.
//!
//! Clients of several versions share one record, so a change here has to be meant. `LATCHWORK_BLESS=1` records it. What
//! differs is found with the scripts from before it, which `cargo xtask scripts <folder>` wrote there:
//! `LATCHWORK_SCRIPTS_BEFORE=<folder>` compares both, request for request, in as many histories as
//! `LATCHWORK_SCRIPT_CASES` says.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use latchwork_testkit::RespClient;
use latchwork_tests::mutants;

use crate::bench::{Script, server};
use crate::histories::{Draw, Probe, Ran, Run, asked, play, seed};
use crate::shortcuts::compare;

/// A name, how many there are, and where they come from.
type Histories = (&'static str, usize, fn(u64) -> Draw);

/// Histories of locks, and of latches.
const RECORDED: [Histories; 2] = [
    ("locks", 650, Draw::of_locks_at_borders),
    ("latches", 150, Draw::of_latches),
];
/// A ticket, in the score of a place.
const TICKET: f64 = 1_048_576.0;
/// Of the histories that are recorded.
const SEED: u64 = 1;
/// Digests in a line of the file.
const IN_A_LINE: usize = 10;
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/recorded");

/// FNV-1a, 64 bits <http://www.isthe.com/chongo/tech/comp/fnv/>.
#[derive(Clone, Copy)]
struct Digest(u64);

impl Digest {
    const NOTHING: Self = Self(0xcbf2_9ce4_8422_2325);

    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Half of it is enough to notice a change.
    fn text(self) -> String {
        format!("{:08x}", self.0 >> 32)
    }
}

fn path(of: &str) -> String {
    format!("{FOLDER}/{of}.txt")
}

fn read(of: &str) -> Vec<String> {
    let text = fs::read_to_string(path(of)).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn write(of: &str, digests: &[String]) {
    let lines = digests.chunks(IN_A_LINE).map(|some| some.join(" ") + "\n");
    fs::create_dir_all(FOLDER).unwrap();
    fs::write(path(of), lines.collect::<String>()).unwrap();
}

fn probes(client: &mut RespClient, before: Option<&Path>) -> BTreeMap<Script, Probe> {
    let probe = |script: Script| {
        let other = before.map(|folder| fs::read_to_string(folder.join(script.file())).unwrap());
        (script, Probe::of(client, script, other.as_deref()))
    };
    asked().map(probe).collect()
}

/// Returns the digests of `count` histories. Stops at the first one that is not as expected.
fn digests(from: fn(u64) -> Draw, count: usize, expected: &[String]) -> Vec<String> {
    let server = server();
    let mut client = RespClient::connect(server.port()).unwrap();
    let probes = probes(&mut client, None);
    let count = if mutants::is_one_of_many() {
        count / 3
    } else {
        count
    };
    let (mut draw, mut left) = (from(SEED), count);
    let digests = RefCell::new(vec![Digest::NOTHING; count]);
    let differs = Cell::new(false);
    play(
        &mut client,
        &probes,
        |over| {
            if let Some(number) = over.map(|table| table.number) {
                let expected = expected.get(number);
                let differs_now = expected.is_some_and(|text| *text != digests.borrow()[number].text());
                differs.set(differs.get() || differs_now);
            }
            left = left.checked_sub(1)?;
            Some(draw.history())
        },
        |table, (script, ..), ran| {
            digests.borrow_mut()[table.number].add(&format!("{script:?} {:?}", ran.one));
            !differs.get()
        },
    );
    let digests = digests.into_inner();
    digests.iter().map(|digest| digest.text()).collect()
}

fn are_as_recorded((of, count, from): Histories) {
    let expected = read(of);
    if env::var_os("LATCHWORK_BLESS").is_some() && !mutants::is_chosen() {
        return write(of, &digests(from, count, &[]));
    }
    let digests = digests(from, count, &expected);
    let differs = (0..digests.len()).find(|at| digests.get(*at) != expected.get(*at));
    assert_eq!(
        differs, None,
        "the first history of {of} that differs: see tests/scripts/recorded.rs"
    );
}

/// What was done, but for the numbers of tickets, which only order the queue, and for how much longer than its last hold the
/// record lives: a claim is within the life that its waiter asked for, so that not every hand-over asks for more.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "far below 2^53"
)]
fn without_counts(ran: &Ran, now_us: i64) -> Ran {
    let now = now_us.div_euclid(1000) as f64;
    let lease_of = |id: &str| id.rsplit(':').nth(1)?.parse::<f64>().ok();
    let of = |run: &Run| {
        let mut run = run.clone();
        run.members.retain(|(member, _)| member != "q" && member != "s");
        let (mut place, mut last) = (0.0, 0);
        for (member, score) in &mut run.members {
            if *score < 0.0 {
                place += 1.0;
                *score = place * TICKET + score.rem_euclid(TICKET) - 1e15;
            } else if member.starts_with('o') {
                *score = 0.0;
            } else if (1e12..1e14).contains(score) {
                // One that outlasts its lease, after the clock was set back, is cut by who has to wait for it.
                let most = lease_of(member).map_or(*score, |lease| now + lease + score.fract());
                *score = score.min(most);
                last = last.max(*score as i64);
            }
        }
        run.members
            .sort_by(|(a, one), (b, other)| one.total_cmp(other).then_with(|| a.cmp(b)));
        run.life = run.life.min(last);
        run
    };
    Ran {
        hits: ran.hits.clone(),
        one: of(&ran.one),
        other: ran.other.as_ref().map(of),
        settled: ran.settled.as_ref().map(|both| both.each_ref().map(of)),
    }
}

/// Compares with the scripts that are in this folder.
#[allow(clippy::print_stdout, reason = "it is what was asked for")]
fn are_as_before(folder: &Path, (of, count, from): Histories) {
    let count = env::var("LATCHWORK_SCRIPT_CASES").map_or(count, |text| text.parse().unwrap());
    let seed = seed();
    let server = server();
    let mut client = RespClient::connect(server.port()).unwrap();
    let probes = probes(&mut client, Some(folder));
    let (mut draw, mut left, mut requests, mut differences) = (from(seed), count, 0_u64, 0_u64);
    play(
        &mut client,
        &probes,
        |_| {
            left = left.checked_sub(1)?;
            Some(draw.history())
        },
        |table, request, ran| {
            requests += 1;
            let before = &table.before;
            if ran.other.as_ref() != Some(&ran.one) {
                differences += 1;
                if let Err(why) = compare(
                    request,
                    table.now_us(),
                    before,
                    &without_counts(ran, table.now_us()),
                ) {
                    let said = table.said.join("\n");
                    panic!("{why}\nas asked:\n{said}\nbefore: {before:#?}\nnow and then: {ran:#?}");
                }
            }
            true
        },
    );
    println!("{count} histories of {of}, {requests} requests: {differences} differ in what nobody can tell");
}

fn are_what_they_were(histories: Histories) {
    match env::var_os("LATCHWORK_SCRIPTS_BEFORE") {
        Some(folder) => are_as_before(Path::new(&folder), histories),
        None => are_as_recorded(histories),
    }
}

pub(crate) fn locks_are_as_recorded() {
    are_as_recorded(RECORDED[0]);
}

pub(crate) fn latches_are_as_recorded() {
    are_as_recorded(RECORDED[1]);
}

#[test]
fn histories_of_locks_are_what_they_were() {
    are_what_they_were(RECORDED[0]);
}

#[test]
fn histories_of_latches_are_what_they_were() {
    are_what_they_were(RECORDED[1]);
}
