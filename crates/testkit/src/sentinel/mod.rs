//! Masters with replicas, and sentinels that watch them: kill, freeze and restart any of them, fail
//! over.
//!
//! How they start is in `builder.rs`.

mod builder;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use crate::error::Error;
use crate::replicas::wait_until_copied;
use crate::resp::Reply;
use crate::server::TestServer;
use crate::wait::{wait_as_long_as, wait_for};

pub use builder::SentinelBuilder;
use builder::main_port;

/// How long sentinels may take until they have put an old master right.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// What a sentinel says of a node that cannot take part.
const UNWELL: [&str; 5] = [
    "s_down",
    "o_down",
    "disconnected",
    "failover_in_progress",
    "reconf_inprog",
];

/// Servers under sentinels, all on 127.0.0.1. Dropping it kills them; they also die with the test
/// process.
///
/// A sentinel that was frozen for more than 2 s does nothing for another 30 s when it is thawed
/// (`TILT`): this is how sentinels are.
///
/// Data nodes and sentinels are [`TestServer`]s, so each can be killed, frozen and restarted by
/// itself. They keep their configuration when they restart, as the sentinels have changed it.
#[derive(Debug)]
pub struct TestSentinel {
    nodes: Vec<TestServer>,
    sentinels: Vec<TestServer>,
    groups: Vec<Group>,
}

/// A master and its replicas.
#[derive(Debug)]
struct Group {
    name: String,
    /// Indices of the nodes; the first began as the master.
    members: Vec<usize>,
}

type Fields = BTreeMap<String, String>;

impl TestSentinel {
    /// Starts masters with as many replicas each, and sentinels that watch all of them.
    ///
    /// # Errors
    /// As [`SentinelBuilder::start`].
    pub fn start(masters: usize, replicas: usize, sentinels: usize) -> Result<Self, Error> {
        Self::builder(masters, replicas, sentinels).start()
    }

    /// For everything that [`start`](Self::start) does not offer.
    pub fn builder(masters: usize, replicas: usize, sentinels: usize) -> SentinelBuilder {
        SentinelBuilder::new(masters, replicas, sentinels)
    }

    /// The data nodes: those that began as masters, then the first replica of each in the same
    /// order, and so on.
    pub fn nodes(&self) -> &[TestServer] {
        &self.nodes
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[TestServer] {
        &self.sentinels
    }

    /// The URL of every sentinel, with its password if there is one.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(TestServer::url).collect()
    }

    /// The name of the first master.
    pub fn name(&self) -> &str {
        self.groups.first().map_or("", |group| &group.name)
    }

    /// The names of all masters.
    pub fn names(&self) -> Vec<&str> {
        self.groups.iter().map(|group| group.name.as_str()).collect()
    }

    /// The first master, by the newest knowledge that any sentinel has. It may be dead or frozen.
    ///
    /// # Errors
    /// No sentinel answers.
    pub fn master(&self) -> Result<&TestServer, Error> {
        self.master_of(self.name())
    }

    /// The master of this name, as [`master`](Self::master).
    ///
    /// # Errors
    /// No sentinel answers, or there is no such name.
    pub fn master_of(&self, name: &str) -> Result<&TestServer, Error> {
        let mut newest = None;
        for sentinel in self.awake() {
            let said = said(sentinel, "MASTER", name)?;
            let said = said.first().cloned().unwrap_or_default();
            let epoch: u64 = number(&said, "config-epoch");
            newest = newest.max(Some((epoch, number::<u16>(&said, "port"))));
        }
        let (_, port) = newest.ok_or_else(|| Error::new("no sentinel is awake"))?;
        let mut nodes = self.nodes.iter();
        nodes
            .find(|node| main_port(node) == port)
            .ok_or_else(|| Error::new(format!("the sentinels name port {port}, which is no data node")))
    }

    /// The nodes that belong to the first master: its group without itself.
    ///
    /// # Errors
    /// No sentinel answers.
    pub fn replicas(&self) -> Result<Vec<&TestServer>, Error> {
        self.replicas_of(self.name())
    }

    /// The same for the master of this name.
    ///
    /// # Errors
    /// No sentinel answers, or there is no such name.
    pub fn replicas_of(&self, name: &str) -> Result<Vec<&TestServer>, Error> {
        let master = self.master_of(name)?;
        let group = self.groups.iter().find(|group| group.name == name);
        let members = group.map_or(&[][..], |group| &group.members).iter();
        Ok(members
            .map(|&member| &self.nodes[member])
            .filter(|node| *node != master)
            .collect())
    }

    /// `SENTINEL FAILOVER` for the first master. Returns the new one as
    /// [`wait_switched`](Self::wait_switched) does. The old one takes writes for some seconds more.
    ///
    /// # Errors
    /// No replica is promoted in 30 s.
    pub fn failover(&self) -> Result<&TestServer, Error> {
        self.failover_of(self.name())
    }

    /// The same for the master of this name.
    ///
    /// # Errors
    /// As [`failover`](Self::failover).
    pub fn failover_of(&self, name: &str) -> Result<&TestServer, Error> {
        let old = self.master_of(name)?;
        wait_for("commanding a failover", || {
            let awake = self.awake();
            let sentinel = awake.first().ok_or_else(|| Error::new("no sentinel is awake"))?;
            let reply = sentinel.admin(&["SENTINEL", "FAILOVER", name]);
            reply.map_err(|error| sentinel.blame(&error.to_string()))
        })?;
        self.wait_switched_of(name, old)
    }

    /// Waits until all sentinels that are awake agree on a first master other than `old`, and it is
    /// one by its own account. Returns it.
    ///
    /// # Errors
    /// They do not in 30 s.
    pub fn wait_switched(&self, old: &TestServer) -> Result<&TestServer, Error> {
        self.wait_switched_of(self.name(), old)
    }

    /// The same for the master of this name.
    ///
    /// # Errors
    /// As [`wait_switched`](Self::wait_switched).
    pub fn wait_switched_of(&self, name: &str, old: &TestServer) -> Result<&TestServer, Error> {
        wait_for("waiting for another master", || {
            let new = self.master_of(name)?;
            if new == old {
                let first = self.sentinels.iter().find(|sentinel| sentinel.is_awake());
                return Err(first.unwrap_or(old).blame("the sentinels name the old master"));
            }
            self.check_named(name, new)?;
            if new.is_master()? {
                return Ok(new);
            }
            Err(new.blame("it is a replica by its own account"))
        })
    }

    /// Waits until the sentinels and nodes that are awake are as at the start: all agree on
    /// masters, none takes another for dead, and every replica is up to date. After a failover this
    /// takes 10 to 20 s, because sentinels do not correct the old master sooner.
    ///
    /// # Errors
    /// They do not get there in 60 s. The error says which is not ready, and why.
    pub fn wait_settled(&self) -> Result<(), Error> {
        wait_as_long_as(SETTLE_LIMIT, "waiting for sentinels", || {
            self.groups
                .iter()
                .try_for_each(|group| self.check_settled(&group.name))
        })
    }

    /// Waits until the replicas of the first master that are awake have everything that it has
    /// written up to now.
    ///
    /// # Errors
    /// They do not get it in 30 s.
    pub fn wait_replicated(&self) -> Result<(), Error> {
        let replicas = self.replicas()?.into_iter();
        wait_until_copied(self.master()?, replicas.filter(|node| node.is_awake()))
    }

    fn check_settled(&self, name: &str) -> Result<(), Error> {
        let master = self.master_of(name)?;
        self.check_named(name, master)?;
        let mut replicas = self.replicas_of(name)?;
        replicas.retain(|node| node.is_awake());
        for replica in &replicas {
            replica.check_linked()?;
        }
        if master.is_awake() {
            master.check_online(replicas.len())?;
        }
        let awake = self.awake();
        for sentinel in &awake {
            let others = awake.iter().filter(|other| *other != sentinel).copied();
            check_well(sentinel, "MASTER", name, [master].into_iter())?;
            check_well(sentinel, "REPLICAS", name, replicas.iter().copied())?;
            check_well(sentinel, "SENTINELS", name, others)?;
        }
        Ok(())
    }

    /// Fails unless all sentinels that are awake name this master.
    fn check_named(&self, name: &str, master: &TestServer) -> Result<(), Error> {
        for sentinel in self.awake() {
            let said = said(sentinel, "MASTER", name)?;
            let port: u16 = said.first().map_or(0, |fields| number(fields, "port"));
            if port != main_port(master) {
                return Err(sentinel.blame(&format!("it names port {port} as the master {name}")));
            }
        }
        Ok(())
    }

    fn awake(&self) -> Vec<&TestServer> {
        self.sentinels
            .iter()
            .filter(|sentinel| sentinel.is_awake())
            .collect()
    }
}

/// Fails unless the sentinel says of each of these nodes that it is well.
fn check_well<'a>(
    sentinel: &TestServer,
    what: &str,
    name: &str,
    nodes: impl Iterator<Item = &'a TestServer>,
) -> Result<(), Error> {
    let said = said(sentinel, what, name)?;
    for node in nodes.filter(|node| node.is_awake()) {
        let of_it = |fields: &&Fields| number::<u16>(fields, "port") == main_port(node);
        let fields = said.iter().find(of_it);
        let flags = fields
            .and_then(|fields| fields.get("flags"))
            .map_or("unknown", String::as_str);
        let link = fields.and_then(|fields| fields.get("master-link-status"));
        let well = fields.is_some()
            && !flags.split(',').any(|flag| UNWELL.contains(&flag))
            && link.is_none_or(|link| link == "ok");
        if !well {
            let link = link.map_or(String::new(), |link| format!(", link {link}"));
            return Err(sentinel.blame(&format!("it says of {}: {flags}{link}", node.name())));
        }
    }
    Ok(())
}

/// The answer to `SENTINEL <what> <name>`: the fields of one instance or of several.
fn said(sentinel: &TestServer, what: &str, name: &str) -> Result<Vec<Fields>, Error> {
    let reply = sentinel
        .admin(&["SENTINEL", what, name])
        .map_err(|error| sentinel.blame(&error.to_string()))?;
    let fields = |items: &[Reply]| -> Fields {
        let text = |item: &Reply| item.text().unwrap_or_default();
        let pairs = items.chunks_exact(2);
        pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    };
    let single = reply.items().first().is_some_and(|item| item.items().is_empty());
    if single {
        return Ok(vec![fields(reply.items())]);
    }
    Ok(reply.items().iter().map(|item| fields(item.items())).collect())
}

fn number<T: std::str::FromStr + Default>(fields: &Fields, name: &str) -> T {
    let text = fields.get(name).and_then(|text| text.parse().ok());
    text.unwrap_or_default()
}

/// One master with a replica and three sentinels for the whole test process, as
/// [`shared_server`](crate::shared_server).
///
/// # Panics
/// It does not start: a test must not pass without one.
pub fn shared_sentinel() -> &'static TestSentinel {
    static SHARED: OnceLock<TestSentinel> = OnceLock::new();
    SHARED.get_or_init(|| match TestSentinel::start(1, 1, 3) {
        Ok(sentinel) => sentinel,
        Err(error) => panic!("{error}"),
    })
}
