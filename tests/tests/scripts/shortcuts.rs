//! A script answers and writes the same without its shortcuts: proved on the scripts themselves, with random records.
//!
//! Each request of a random history runs twice, on copies of one record at one time; reply, record, life and messages are
//! compared, and the history goes on with what the shortcuts made of it. `LATCHWORK_SCRIPT_CASES` is the number of
//! requests that are compared, `LATCHWORK_SCRIPT_SEED`, as it was printed, repeats a run.

mod excuses;

use std::collections::BTreeMap;

use latchwork_testkit::RespClient;

pub(crate) use self::excuses::compare;
use crate::bench::{Script, server};
use crate::histories::{Draw, Probe, Ran, Request, Table, asked, play, seed};

/// Requests of scripts that have shortcuts: to locks, and to latches.
const CASES: (u32, u32) = (75_000, 25_000);
/// How often each branch of each shortcut is met at least, in so many.
const LEAST: u32 = 60;

/// What a run has seen.
#[derive(Default)]
struct Tally {
    compared: u32,
    met: BTreeMap<(Script, i64), u32>,
}

impl Tally {
    fn note(&mut self, probe: &Probe, table: &Table, request: &Request, ran: &Ran) -> Result<(), String> {
        let script = request.0;
        self.compared += u32::from(!probe.branches.is_empty());
        for branch in &ran.hits {
            *self.met.entry((script, *branch)).or_default() += 1;
        }
        let why = compare(request, table.now_us(), &table.before, ran);
        why.map_err(|why| {
            let said = table.said.join("\n");
            let before = &table.before;
            format!("{script:?}: {why}\nas asked:\n{said}\nbefore: {before:?}\nthen: {ran:#?}")
        })
    }

    /// The branches that were met too seldom to say anything.
    fn vacuous(&self, probes: &BTreeMap<Script, Probe>, of: &[Script]) -> Vec<String> {
        let all = of
            .iter()
            .flat_map(|script| probes[script].branches.iter().map(move |branch| (script, branch)));
        let counted =
            all.map(|(script, (at, text))| (self.met.get(&(*script, *at)).copied().unwrap_or(0), text));
        let few = counted.filter(|(count, _)| *count < LEAST);
        few.map(|(count, text)| format!("{count} times: {text}"))
            .collect()
    }
}

fn cases(usually: u32) -> u32 {
    std::env::var("LATCHWORK_SCRIPT_CASES").map_or(usually, |text| text.parse().unwrap())
}

#[allow(
    clippy::print_stdout,
    reason = "it stands with a failure, and with --nocapture"
)]
fn change_nothing_in(cases: u32, usually: u32, from: fn(u64) -> Draw, of: &[Script]) {
    let seed = seed();
    let server = server();
    let mut client = RespClient::connect(server.port()).unwrap();
    let probes = asked().map(|script| (script, Probe::of_shortcuts(&mut client, script)));
    let probes = probes.collect();
    let mut tally = Tally::default();
    let mut draw = from(seed);
    play(
        &mut client,
        &probes,
        |_| Some(draw.history()),
        |table, request, ran| {
            if let Err(why) = tally.note(&probes[&request.0], table, request, ran) {
                panic!("LATCHWORK_SCRIPT_SEED={seed}: {why}");
            }
            tally.compared < cases
        },
    );
    println!("{} requests, met: {:?}", tally.compared, tally.met);
    let vacuous = tally.vacuous(&probes, of);
    assert!(cases < usually || vacuous.is_empty(), "{vacuous:#?}");
}

pub(crate) fn of_locks_change_nothing_in(requests: u32) {
    let of = [Script::Acquire, Script::End, Script::Tick];
    change_nothing_in(requests, CASES.0, Draw::of_locks, &of);
}

pub(crate) fn of_latches_change_nothing_in(requests: u32) {
    change_nothing_in(requests, CASES.1, Draw::of_latches, &[Script::Latch]);
}

#[test]
fn shortcuts_of_locks_change_nothing() {
    of_locks_change_nothing_in(cases(CASES.0));
}

#[test]
fn shortcuts_of_latches_change_nothing() {
    of_latches_change_nothing_in(cases(CASES.1));
}
