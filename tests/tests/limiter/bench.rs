//! Runs the limiter's scripts on a real server with a clock that the test sets.
//!
//! `redis.call('TIME')` of each script is replaced by a read of a key, so time is exactly what a test says. The TTLs of keys
//! follow the real clock all the same.

use std::collections::BTreeMap;

use latchwork_testkit::{Reply, RespClient, TestServer};
use latchwork_tests::mutants::scripts;

use crate::model::{Kind, Terms};

const CLOCK: [&str; 2] = ["test:clock:s", "test:clock:us"];
const TIME: &str = "redis.call('TIME')";
pub(crate) const KEY: &str = "latchwork:limiter:{a}";
/// A day: how long a record lives after its permits are back; scripts take it as it is.
pub(crate) const LIFE: &str = "86400000";

/// The scripts by name, and whether they read the time.
const SCRIPTS: [(&str, bool); 7] = [
    ("gcra", true),
    ("gcra_refund", false),
    ("gcra_change", true),
    ("window", true),
    ("window_refund", false),
    ("window_change", true),
    ("limiter_reset", true),
];

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) server: TestServer,
    requests: RespClient,
    loaded: BTreeMap<&'static str, String>,
    /// The server's clock, µs.
    pub(crate) now_us: i64,
    /// By how much a change or a reset is late, ms.
    pub(crate) late: i64,
}

impl Bench {
    pub(crate) fn start() -> Self {
        let server = TestServer::start().unwrap();
        let mut requests = RespClient::connect(server.port()).unwrap();
        let mut loaded = BTreeMap::new();
        let all = scripts();
        for (name, timed) in SCRIPTS {
            let script = all.iter().find(|script| script.verb == name);
            let source = &script.expect("a script of this verb").text;
            assert_eq!(
                source.matches(TIME).count(),
                usize::from(timed),
                "TIME is read once (H50)"
            );
            let frozen = source.replace(
                TIME,
                &format!("redis.call('MGET', '{}', '{}')", CLOCK[0], CLOCK[1]),
            );
            let sha = requests.call(&["SCRIPT", "LOAD", &frozen]).unwrap();
            loaded.insert(name, sha.text().unwrap());
        }
        Self {
            server,
            requests,
            loaded,
            now_us: 1_700_000_000_000_000,
            late: 0,
        }
    }

    /// The clock in ms, rounded up: a request with it as its `not_after` is just in time.
    pub(crate) fn now_ms(&self) -> i64 {
        (self.now_us + 999) / 1000
    }

    /// Runs a script; an error is a reply, too.
    pub(crate) fn call<A: ToString>(&mut self, script: &str, args: &[A]) -> Reply {
        self.tell_time();
        self.run(script, args)
    }

    fn tell_time(&mut self) {
        let (secs, micros) = (self.now_us / 1_000_000, self.now_us % 1_000_000);
        self.redis(&["MSET", CLOCK[0], &secs.to_string(), CLOCK[1], &micros.to_string()]);
    }

    /// The same by the clock as it was told last.
    pub(crate) fn run<A: ToString>(&mut self, script: &str, args: &[A]) -> Reply {
        let mut request = vec![
            "EVALSHA".to_owned(),
            self.loaded[script].clone(),
            "1".into(),
            KEY.into(),
        ];
        request.extend(args.iter().map(ToString::to_string));
        self.redis(&request)
    }

    /// Asks for permits. `most`: the longest wait, µs; -1: only ask.
    pub(crate) fn ask_raw(&mut self, terms: &Terms, weight: i64, most: i64, id: i64, late: bool) -> Reply {
        let not_after = self.now_ms() - i64::from(late);
        let mut args = vec![terms.config()];
        args.extend([most, id, not_after].map(|number| number.to_string()));
        args.push(LIFE.to_owned());
        match terms.kind {
            Kind::Gcra => {
                args.push(terms.permits.to_string());
                for permits in [weight, terms.limit()] {
                    let price = i128::from(permits) * i128::from(terms.period);
                    args.push((price / i128::from(terms.permits)).to_string());
                    args.push((price % i128::from(terms.permits)).to_string());
                }
            }
            Kind::Window => {
                args.extend([weight, terms.limit(), terms.piece()].map(|number| number.to_string()));
            }
        }
        if terms.set {
            args.push("1".to_owned()); // as the client's, it is not the handle's own
        }
        let script = match terms.kind {
            Kind::Gcra => "gcra",
            Kind::Window => "window",
        };
        self.call(script, &args)
    }

    /// The same, as numbers without the stamp: code, wait, and the rest.
    pub(crate) fn ask(&mut self, terms: &Terms, weight: i64, most: i64, id: i64) -> Vec<i64> {
        let mut reply = ints(&self.ask_raw(terms, weight, most, id, false));
        assert_eq!(reply.remove(1), self.now_us, "the stamp");
        reply
    }

    /// Whether a call at this time is admitted; if not, the wait it is told.
    pub(crate) fn admitted(&mut self, terms: &Terms, weight: i64, id: i64) -> Result<(), i64> {
        let reply = self.ask(terms, weight, 0, id);
        if reply[0] == 1 { Ok(()) } else { Err(reply[1]) }
    }

    /// Gives back: ids, the ids before them, and their weights.
    pub(crate) fn refund(&mut self, terms: &Terms, items: &[(i64, i64, i64)]) -> Reply {
        let (script, args) = self.refund_args(terms, items);
        self.call(script, &args)
    }

    /// The script for it, and its arguments.
    #[allow(clippy::unused_self, reason = "beside the others")]
    pub(crate) fn refund_args(
        &self,
        terms: &Terms,
        items: &[(i64, i64, i64)],
    ) -> (&'static str, Vec<String>) {
        let mut args = vec![terms.config()];
        for &(id, before, weight) in items {
            args.extend([id.to_string(), before.to_string()]);
            match terms.kind {
                Kind::Gcra => {
                    let price = i128::from(weight) * i128::from(terms.period);
                    args.push((price / i128::from(terms.permits)).to_string());
                    args.push((price % i128::from(terms.permits)).to_string());
                }
                Kind::Window => args.push(weight.to_string()),
            }
        }
        let script = match terms.kind {
            Kind::Gcra => "gcra_refund",
            Kind::Window => "window_refund",
        };
        (script, args)
    }

    pub(crate) fn change(&mut self, terms: &Terms) -> Reply {
        let not_after = self.now_ms() - self.late;
        let mut args = vec![terms.config(), not_after.to_string(), LIFE.to_owned()];
        match terms.kind {
            Kind::Gcra => {
                args.extend([terms.permits, terms.period, terms.burst].map(|number| number.to_string()));
            }
            Kind::Window => args.push(terms.piece().to_string()),
        }
        let script = match terms.kind {
            Kind::Gcra => "gcra_change",
            Kind::Window => "window_change",
        };
        self.call(script, &args)
    }

    pub(crate) fn reset(&mut self) -> Reply {
        let not_after = self.now_ms() - self.late;
        self.call("limiter_reset", &[not_after])
    }

    /// Any other command.
    pub(crate) fn redis<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.requests.send(args).unwrap();
        self.requests.receive().unwrap()
    }

    /// The record as it is.
    pub(crate) fn record(&mut self) -> Reply {
        self.redis(&["GET", KEY])
    }
}

pub(crate) fn ints(reply: &Reply) -> Vec<i64> {
    assert!(!reply.items().is_empty(), "{reply:?}");
    reply.items().iter().map(|item| item.int().unwrap()).collect()
}
