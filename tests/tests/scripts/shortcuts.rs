//! A script answers and writes the same without its shortcuts: proved on the scripts themselves, with random records.
//!
//! Each request of a random history runs twice, on copies of one record at one time; reply, record, life and messages are
//! compared, and the history goes on with what the shortcuts made of it. `LATCHWORK_SCRIPT_CASES` is the number of
//! requests that are compared, `LATCHWORK_SCRIPT_SEED`, as it was printed, repeats a run.

mod excuses;
mod game;
mod histories;
mod latches;
mod probe;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use latchwork_testkit::RespClient;

use self::excuses::compare;
use self::game::Request;
use self::histories::{Draw, History};
use self::latches::LatchGame;
use self::probe::{Both, Branches, Members, load};
use crate::bench::{Script, server};
use crate::latch_random;
use crate::lock::INBOX;

/// Requests of scripts that have shortcuts: to locks, and to latches.
const CASES: (u32, u32) = (75_000, 25_000);
/// How often each branch of each shortcut is met at least, in so many.
const LEAST: u32 = 60;
/// Histories side by side, so that server and test need not wait for each other.
const SIDE_BY_SIDE: usize = 48;

/// A history under way.
struct Table {
    history: History,
    /// Of its record, and of two copies.
    keys: [String; 3],
    /// What is in the record.
    before: Members,
    /// What was asked so far, for the report of a failure.
    said: Vec<String>,
}

impl Table {
    fn new(number: usize, history: History) -> Self {
        let keys = match &history {
            History::Lock(..) => ["a", "b", "c"].map(|copy| format!("latchwork:lock:{{{copy}{number:02}}}")),
            History::Latch(..) => LatchGame::keys(number),
        };
        Self {
            history,
            keys,
            before: Members::new(),
            said: Vec::new(),
        }
    }

    /// The next request; `None`: the history is over.
    fn next(&mut self) -> Option<Request> {
        loop {
            let request = match &mut self.history {
                History::Lock(game, steps) => game.apply(&steps.pop()?),
                History::Latch(game, steps) => game.apply(&steps.pop()?),
            };
            if request.is_some() {
                return request;
            }
        }
    }

    /// Time and life of the record, which inboxes have a subscriber, and the capacity.
    fn state(&self) -> (i64, i64, [bool; 3], String) {
        match &self.history {
            History::Lock(game, _) => {
                let capacity = game.capacity_of(None, game.rules.capacity);
                (game.now_us, game.life, game.listening, capacity)
            }
            History::Latch(game, _) => (game.now_us, game.life, game.listening, "0".to_owned()),
        }
    }

    fn send(&mut self, client: &mut RespClient, hash: &str, (script, keys, args): &Request) {
        let (now_us, life, listening, capacity) = self.state();
        let mut words = vec!["EVALSHA".to_owned(), hash.to_owned(), "3".to_owned()];
        words.extend(self.keys.clone());
        let time = [now_us.div_euclid(1_000_000), now_us.rem_euclid(1_000_000)];
        words.extend(time.map(|part| part.to_string()));
        words.push(if life < 0 { String::new() } else { life.to_string() });
        let channels = (0..3).filter(|number| listening[*number]);
        let channels = channels.map(|number| format!(" {INBOX}{} ", latch_random::client(number)));
        words.push(channels.collect());
        words.push(u8::from(now_us % 32 == 0).to_string());
        words.extend([keys.to_string(), capacity]);
        // With the same as the request itself.
        words.push(match script {
            Script::Acquire | Script::End => args[2].clone(),
            Script::Tick => args[4].clone(),
            _ => "0".to_owned(),
        });
        words.extend(args.iter().cloned());
        self.said.push(format!("{now_us} {script:?} {}", args.join(" ")));
        client.send(&words).unwrap();
    }

    fn now_us(&self) -> i64 {
        self.state().0
    }

    fn learn(&mut self, both: &Both) {
        self.before.clone_from(&both.with.members);
        match &mut self.history {
            History::Lock(game, _) => game.learn(both),
            History::Latch(game, _) => game.learn(both),
        }
    }
}

/// What a run has seen.
struct Tally {
    scripts: BTreeMap<Script, (String, Branches)>,
    compared: u32,
    met: BTreeMap<(Script, i64), u32>,
}

impl Tally {
    fn note(&mut self, table: &Table, request: &Request, both: &Both) -> Result<(), String> {
        let script = request.0;
        self.compared += u32::from(!self.scripts[&script].1.is_empty());
        for branch in &both.hits {
            *self.met.entry((script, *branch)).or_default() += 1;
        }
        let why = compare(request, table.now_us(), &table.before, both);
        why.map_err(|why| {
            let said = table.said.join("\n");
            let before = &table.before;
            format!("{script:?}: {why}\nas asked:\n{said}\nbefore: {before:?}\nthen: {both:#?}")
        })
    }

    /// The branches that were met too seldom to say anything.
    fn vacuous(&self, of: &[Script]) -> Vec<String> {
        let all = of
            .iter()
            .flat_map(|script| self.scripts[script].1.iter().map(move |branch| (script, branch)));
        let counted =
            all.map(|(script, (at, text))| (self.met.get(&(*script, *at)).copied().unwrap_or(0), text));
        let few = counted.filter(|(count, _)| *count < LEAST);
        few.map(|(count, text)| format!("{count} times: {text}"))
            .collect()
    }
}

fn now_as_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}

fn cases(usually: u32) -> u32 {
    std::env::var("LATCHWORK_SCRIPT_CASES").map_or(usually, |text| text.parse().unwrap())
}

#[allow(
    clippy::print_stdout,
    reason = "it stands with a failure, and with --nocapture"
)]
fn change_nothing_in(cases: u32, usually: u32, from: fn(u64) -> Draw, of: &[Script]) {
    let seed =
        std::env::var("LATCHWORK_SCRIPT_SEED").map_or_else(|_| now_as_seed(), |text| text.parse().unwrap());
    println!("LATCHWORK_SCRIPT_SEED={seed}");
    let server = server();
    let mut client = RespClient::connect(server.port()).unwrap();
    let single = |script: &Script| !matches!(script, Script::AcquireMany | Script::EndMany);
    let loaded = Script::ALL.into_iter().filter(single);
    let mut tally = Tally {
        scripts: loaded.map(|script| (script, load(&mut client, script))).collect(),
        compared: 0,
        met: BTreeMap::new(),
    };
    let mut draw = from(seed);
    let mut tables: Vec<Table> = (0..SIDE_BY_SIDE)
        .map(|number| Table::new(number, draw.history()))
        .collect();
    while tally.compared < cases {
        let mut requests = Vec::new();
        for (number, table) in tables.iter_mut().enumerate() {
            let request = loop {
                if let Some(request) = table.next() {
                    break request;
                }
                client.call(&["DEL", &table.keys[0]]).unwrap();
                *table = Table::new(number, draw.history());
            };
            requests.push(request);
        }
        for (table, request) in tables.iter_mut().zip(&requests) {
            table.send(&mut client, &tally.scripts[&request.0].0, request);
        }
        for (table, request) in tables.iter_mut().zip(&requests) {
            let both = Both::read(&client.receive().unwrap());
            if let Err(why) = tally.note(table, request, &both) {
                panic!("LATCHWORK_SCRIPT_SEED={seed}: {why}");
            }
            table.learn(&both);
        }
    }
    println!("{} requests, met: {:?}", tally.compared, tally.met);
    let vacuous = tally.vacuous(of);
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
