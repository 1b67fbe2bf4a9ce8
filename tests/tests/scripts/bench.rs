//! A server on which the scripts run with a clock that the test sets.
//!
//! `redis.call('TIME')` of each script is replaced by a read of a key, so time is exactly what a test says. The TTLs
//! of keys follow the real clock all the same: tests use minutes for them and look at them loosely.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use latchwork_core::kit::Joined;
use latchwork_testkit::{Reply, RespClient, TestServer};
use latchwork_tests::mutants::{self, scripts};

use crate::dump::Dump;

/// The keys that hold the time, as TIME would split it.
const CLOCK: [&str; 2] = ["test:clock:s", "test:clock:us"];
const TIME: &str = "redis.call('TIME')";

/// The scripts, as the core joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Script {
    Acquire,
    End,
    Tick,
    Force,
    Steal,
    Inspect,
    Adopt,
    Downgrade,
    Resize,
    Split,
    Merge,
    Latch,
    Peek,
    Fence,
    /// The fast path of acquire, for many.
    AcquireMany,
    EndMany,
}

impl Script {
    pub(crate) const ALL: [Self; 16] = [
        Self::Acquire,
        Self::End,
        Self::Tick,
        Self::Force,
        Self::Steal,
        Self::Inspect,
        Self::Adopt,
        Self::Downgrade,
        Self::Resize,
        Self::Split,
        Self::Merge,
        Self::Latch,
        Self::Peek,
        Self::Fence,
        Self::AcquireMany,
        Self::EndMany,
    ];

    /// The script that does the same for many, if there is one.
    const fn for_many(self) -> Option<Self> {
        match self {
            Self::Acquire => Some(Self::AcquireMany),
            Self::End => Some(Self::EndMany),
            _ => None,
        }
    }

    /// What may be left out from the end on: how many arguments come before it, and what is as good as nothing.
    const fn rest(self) -> (usize, &'static [&'static str]) {
        match self {
            Self::Acquire => (7, &["", "", "0", "0", "0"]),
            Self::End => (3, &["0", "", ""]),
            Self::Latch => (6, &["0", "", "-1", "0", "0"]),
            _ => (usize::MAX, &[]),
        }
    }

    /// The arguments without what may be left out.
    fn short<A: ToString>(self, args: &[A]) -> &[A] {
        let (first, nothing) = self.rest();
        let said = (first..args.len())
            .rev()
            .find(|at| args[*at].to_string() != nothing[at - first]);
        &args[..said.map_or(first, |last| last + 1).min(args.len())]
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::End => "end",
            Self::Tick => "tick",
            Self::Force => "force",
            Self::Steal => "steal",
            Self::Inspect => "inspect",
            Self::Adopt => "adopt",
            Self::Downgrade => "downgrade",
            Self::Resize => "resize",
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Latch => "latch",
            Self::Peek => "peek",
            Self::Fence => "fence",
            Self::AcquireMany => "acquire_many",
            Self::EndMany => "end_many",
        }
    }

    fn of(self, all: &[Joined]) -> &Joined {
        let script = all.iter().find(|script| script.verb == self.verb());
        script.expect("a script of this verb")
    }

    /// The file that `cargo xtask scripts` writes it to.
    pub(crate) fn file(self) -> String {
        format!("{}.lua", self.verb())
    }

    /// Its text, as it is sent to servers.
    pub(crate) fn source(self) -> String {
        self.of(&scripts()).text.clone()
    }

    /// The same without the shortcuts of its fast path, if it has one.
    pub(crate) fn general(self) -> String {
        let all = scripts();
        let script = self.of(&all);
        script.general.as_ref().unwrap_or(&script.text).clone()
    }
}

/// The text with small steps, if it is that of a latch. `is_whole`: with its shortcuts.
pub(crate) fn small_steps(script: Script, text: String, is_whole: bool) -> String {
    /// And whether it stands in a shortcut.
    const SMALL: [(&str, &str, bool); 6] = [
        ("local budget = 1000", "local budget = 2", false),
        ("client, most - 4", "client, most - 1", false),
        ("'LIMIT', 0, 500", "'LIMIT', 0, 1", false),
        ("'LIMIT', '0', '500'", "'LIMIT', '0', '1'", true),
        ("before / 16)", "before / 2)", true),
        ("left / 16)", "left / 2)", true),
    ];
    if !matches!(script, Script::Latch) {
        return text;
    }
    SMALL.iter().fold(text, |text, (from, to, shortcut)| {
        let times = usize::from(is_whole || !shortcut);
        assert_eq!(text.matches(from).count(), times, "{from}");
        text.replace(from, to)
    })
}

thread_local! {
    static KEPT: RefCell<Option<Arc<TestServer>>> = const { RefCell::new(None) };
}

/// A server of its own; where many mutants are tried, that of the last one, if it is still of use.
pub(crate) fn server() -> Arc<TestServer> {
    let fresh = || Arc::new(TestServer::start().unwrap());
    if !mutants::is_one_of_many() {
        return fresh();
    }
    KEPT.with_borrow_mut(|kept| {
        let answers = |server: &Arc<TestServer>| {
            let client = RespClient::connect(server.port());
            let flush = |mut client: RespClient| {
                client.call(&["FLUSHALL"])?;
                client.call(&["SCRIPT", "FLUSH"])
            };
            client
                .and_then(flush)
                .is_ok_and(|reply| !matches!(reply, Reply::Error(_)))
        };
        let server = kept.take().filter(answers).unwrap_or_else(fresh);
        *kept = Some(Arc::clone(&server));
        server
    })
}

/// A server, a connection for requests, and one that listens.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) server: Arc<TestServer>,
    requests: RespClient,
    listener: RespClient,
    loaded: BTreeMap<Script, String>,
    /// The clock, µs; a script sees it from the next [`call`](Self::call) on.
    pub(crate) now_us: i64,
    written: i64,
    /// Every second request that can goes as one of many first; of those, and of the others, every second in short.
    turn: u8,
    /// Count-downs that the script's fast path did.
    pub(crate) quick_counts: u32,
}

/// The fast paths answer with a number alone; here it is what it stands for.
pub(crate) fn whole<A: ToString>(script: Script, args: &[A], reply: Reply) -> Reply {
    let numbers = |all: &[i64]| Reply::Array(all.iter().copied().map(Reply::Int).collect());
    match (script, &reply) {
        (Script::Acquire, Reply::Int(stamp)) => {
            let lease = args[1].to_string().parse().unwrap();
            let exclusive = args[3].to_string() == args[4].to_string();
            numbers(&[1, *stamp, if exclusive { *stamp } else { 0 }, lease, 0])
        }
        (Script::End, Reply::Int(had)) => numbers(&[*had, 0, 0]),
        _ => reply,
    }
}

/// What a script did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    /// By key: what is in it now, and its PTTL.
    pub(crate) after: Vec<(Dump, i64)>,
}

impl Bench {
    pub(crate) fn start() -> Self {
        Self::on(server())
    }

    /// A latch's steps are small: one removes a mark that is over, and two ids, or a place whose client it tells.
    pub(crate) fn with_small_steps() -> Self {
        Self::with(server(), |script, text| small_steps(script, text, true))
    }

    pub(crate) fn on(server: Arc<TestServer>) -> Self {
        Self::with(server, |_, text| text)
    }

    fn with(server: Arc<TestServer>, change: fn(Script, String) -> String) -> Self {
        let all = scripts();
        let mut requests = RespClient::connect(server.port()).unwrap();
        let mut listener = RespClient::connect(server.port()).unwrap();
        // One channel that stays: a connection without any would answer PING in another form.
        listener.call(&["SUBSCRIBE", "test:always"]).unwrap();
        let mut loaded = BTreeMap::new();
        for script in Script::ALL {
            let source = &script.of(&all).text;
            let reads = match script {
                Script::AcquireMany | Script::EndMany => 2, // the first one's is the time of all
                _ => 1,
            };
            assert_eq!(source.matches(TIME).count(), reads, "TIME is read once (H50)");
            let frozen = source.replace(
                TIME,
                &format!("redis.call('MGET', '{}', '{}')", CLOCK[0], CLOCK[1]),
            );
            let frozen = change(script, frozen);
            let sha = requests
                .call(&["SCRIPT", "LOAD", &frozen])
                .unwrap()
                .text()
                .unwrap();
            loaded.insert(script, sha);
        }
        Self {
            server,
            requests,
            listener,
            loaded,
            now_us: 1_700_000_000_000_000,
            written: 0,
            turn: 0,
            quick_counts: 0,
        }
    }

    /// The clock as the scripts use it, ms.
    pub(crate) fn now(&self) -> i64 {
        self.now_us.div_euclid(1000)
    }

    pub(crate) fn advance(&mut self, ms: i64) {
        self.now_us += ms * 1000;
    }

    /// Runs a script; an error is a reply, too.
    pub(crate) fn call<A: ToString>(&mut self, script: Script, keys: &[&str], args: &[A]) -> Reply {
        self.run(script, keys, args, &[]).reply
    }

    /// Runs a script and then looks at `watched`, in one round trip.
    pub(crate) fn run<A: ToString>(
        &mut self,
        script: Script,
        keys: &[&str],
        args: &[A],
        watched: &[&str],
    ) -> Outcome {
        let tell = self.written != self.now_us;
        if tell {
            let (secs, micros) = (
                self.now_us.div_euclid(1_000_000),
                self.now_us.rem_euclid(1_000_000),
            );
            self.requests
                .send(&["MSET", CLOCK[0], &secs.to_string(), CLOCK[1], &micros.to_string()])
                .unwrap();
            self.written = self.now_us;
            assert_eq!(
                self.requests.receive().unwrap(),
                Reply::Status("OK".to_owned()),
                "the clock is set"
            );
        }
        self.turn = (self.turn + 1) % 4;
        let many = script.for_many().filter(|_| self.turn % 2 == 1);
        let all = args;
        let args = if self.turn < 2 { script.short(args) } else { args };
        let reply = many.and_then(|many| self.send_as_one_of_many(many, keys, args));
        if reply.is_none() {
            self.requests.send(&self.request(script, keys, args)).unwrap();
        }
        for key in watched {
            self.requests
                .send(&["ZRANGE", key, "0", "-1", "WITHSCORES"])
                .unwrap();
            self.requests.send(&["PTTL", key]).unwrap();
        }
        let reply = reply.unwrap_or_else(|| self.requests.receive().unwrap());
        let reply = whole(script, all, reply);
        let reply = match script {
            Script::Latch => self.whole_of_latch(keys[0], all[6].to_string() != "0", reply),
            _ => reply,
        };
        let after = watched
            .iter()
            .map(|_| {
                let members = self.requests.receive().unwrap();
                let dump = Dump::decode(&members).unwrap_or_else(|why| panic!("{why}: {members:?}"));
                (dump, self.requests.receive().unwrap().int().unwrap())
            })
            .collect();
        Outcome { reply, after }
    }

    /// The next call does not go as one of many, and in short.
    pub(crate) fn next_goes_alone(&mut self) {
        self.turn = 3;
    }

    pub(crate) fn hash(&self, script: Script) -> &str {
        &self.loaded[&script]
    }

    fn request<A: ToString>(&self, script: Script, keys: &[&str], args: &[A]) -> Vec<String> {
        let mut request = vec![
            "EVALSHA".to_owned(),
            self.loaded[&script].clone(),
            keys.len().to_string(),
        ];
        request.extend(keys.iter().map(ToString::to_string));
        request.extend(args.iter().map(ToString::to_string));
        request
    }

    /// `None`: it has to go alone. An error is left to the other script, whose text is whole.
    fn send_as_one_of_many<A: ToString>(&mut self, many: Script, keys: &[&str], args: &[A]) -> Option<Reply> {
        self.requests.send(&self.request(many, keys, args)).unwrap();
        let reply = self.requests.receive().unwrap();
        match reply.items() {
            [Reply::Nil | Reply::Error(_)] => None,
            [one] => Some(one.clone()),
            other => panic!("one was asked for: {other:?}"),
        }
    }

    /// As [`whole`], of a latch: a number alone is what is left.
    fn whole_of_latch(&mut self, key: &str, counts: bool, reply: Reply) -> Reply {
        let Reply::Int(left) = reply else { return reply };
        self.quick_counts += u32::from(counts);
        let generation = self.redis(&["ZSCORE", key, "t1"]).text().unwrap();
        numbers(&[1, self.now_us, generation.parse().unwrap(), left, 0, 0])
    }

    /// Any other command.
    pub(crate) fn redis<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.requests.send(args).unwrap();
        self.requests.receive().unwrap()
    }

    pub(crate) fn dump(&mut self, key: &str) -> Dump {
        Dump::decode(&self.redis(&["ZRANGE", key, "0", "-1", "WITHSCORES"])).unwrap()
    }

    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.listener.call(&["SUBSCRIBE", channel]).unwrap();
    }

    pub(crate) fn unsubscribe(&mut self, channel: &str) {
        self.listener.call(&["UNSUBSCRIBE", channel]).unwrap();
    }

    /// The messages that came since the last look: channel and text. The server answers PING after them.
    pub(crate) fn messages(&mut self) -> BTreeMap<String, Vec<String>> {
        self.listener.send(&["PING"]).unwrap();
        let mut came = BTreeMap::<String, Vec<String>>::new();
        loop {
            let frame: Vec<String> = self
                .listener
                .receive()
                .unwrap()
                .items()
                .iter()
                .filter_map(Reply::text)
                .collect();
            match frame.as_slice() {
                [kind, channel, text] if kind == "message" => {
                    came.entry(channel.clone()).or_default().push(text.clone());
                }
                [kind, ..] if kind == "pong" => return came,
                other => panic!("the listener got {other:?}"),
            }
        }
    }
}

/// `Reply` from numbers, as most replies are.
pub(crate) fn numbers(of: &[i64]) -> Reply {
    Reply::Array(of.iter().copied().map(Reply::Int).collect())
}
