//! Random histories: each request to a script runs at one frozen time, and everything that it does is seen.

mod draw;
mod game;
mod latches;
mod probe;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use latchwork_testkit::RespClient;
use latchwork_tests::mutants;

pub(crate) use self::draw::{Draw, History};
pub(crate) use self::game::Request;
use self::latches::LatchGame;
pub(crate) use self::probe::{Members, Probe, Ran, Run};
use crate::bench::Script;
use crate::latch_random;
use crate::lock::INBOX;

/// Histories side by side, so that server and test need not wait for each other.
const SIDE_BY_SIDE: usize = 48;
/// The same where many mutants are tried: the first histories are over soon.
const FOR_MUTANTS: usize = 6;

/// A history under way.
pub(crate) struct Table {
    /// Which history it is, of those that were drawn.
    pub(crate) number: usize,
    /// In which of the histories side by side it has its place.
    seat: usize,
    history: History,
    /// Of its record, and of two copies.
    keys: [String; 3],
    /// What is in the record.
    pub(crate) before: Members,
    /// What was asked so far, for the report of a failure.
    pub(crate) said: Vec<String>,
}

impl Table {
    fn new(seat: usize, number: usize, history: History) -> Self {
        let keys = match &history {
            History::Lock(..) => ["a", "b", "c"].map(|copy| format!("latchwork:lock:{{{copy}{seat:02}}}")),
            History::Latch(..) => LatchGame::keys(seat),
        };
        Self {
            number,
            seat,
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

    pub(crate) fn now_us(&self) -> i64 {
        self.state().0
    }

    fn learn(&mut self, ran: &Ran) {
        self.before.clone_from(&ran.one.members);
        match &mut self.history {
            History::Lock(game, _) => game.learn(ran),
            History::Latch(game, _) => game.learn(ran),
        }
    }
}

/// A seed that differs from run to run, unless `LATCHWORK_SCRIPT_SEED` says which.
#[allow(
    clippy::print_stdout,
    reason = "it stands with a failure, and with --nocapture"
)]
pub(crate) fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::from(now.subsec_nanos()) ^ now.as_secs();
    let seed = std::env::var("LATCHWORK_SCRIPT_SEED").map_or(now, |text| text.parse().unwrap());
    println!("LATCHWORK_SCRIPT_SEED={seed}");
    seed
}

/// The scripts that a history may ask for.
pub(crate) fn asked() -> impl Iterator<Item = Script> {
    let single = |script: &Script| !matches!(script, Script::AcquireMany | Script::EndMany);
    Script::ALL.into_iter().filter(single)
}

/// Plays histories as long as `draw`, which hears which one is over, has some and `look`, after a request, wants more.
pub(crate) fn play(
    client: &mut RespClient,
    probes: &BTreeMap<Script, Probe>,
    mut draw: impl FnMut(Option<&Table>) -> Option<History>,
    mut look: impl FnMut(&Table, &Request, &Ran) -> bool,
) {
    let mut drawn = 0;
    let mut table = |seat, over: Option<&Table>| {
        drawn += 1;
        Some(Table::new(seat, drawn - 1, draw(over)?))
    };
    let seats = if mutants::is_one_of_many() {
        FOR_MUTANTS
    } else {
        SIDE_BY_SIDE
    };
    let mut tables: Vec<_> = (0..seats).map_while(|seat| table(seat, None)).collect();
    let mut more = true;
    while more && !tables.is_empty() {
        let mut requests = Vec::new();
        let mut seat = 0;
        while seat < tables.len() {
            if let Some(request) = tables[seat].next() {
                requests.push(request);
                seat += 1;
                continue;
            }
            client.call(&["DEL", &tables[seat].keys[0]]).unwrap();
            match table(tables[seat].seat, Some(&tables[seat])) {
                Some(next) => tables[seat] = next,
                None => drop(tables.remove(seat)),
            }
        }
        for (table, request) in tables.iter_mut().zip(&requests) {
            table.send(client, &probes[&request.0].hash, request);
        }
        for (table, request) in tables.iter_mut().zip(&requests) {
            let ran = Ran::read(&client.receive().unwrap());
            more &= look(table, request, &ran);
            table.learn(&ran);
        }
    }
}
