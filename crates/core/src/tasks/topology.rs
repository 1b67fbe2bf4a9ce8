//! Follows a cluster: asks its nodes who has which slot, and connects to those that have some.
//!
//! A view is asked for when something has happened that a newer one may explain: a request was
//! redirected, a connection has failed, a node is silent. While a node is in trouble, it is asked
//! for again and again, so that a replica that was promoted is found soon. All nodes that are
//! connected are asked at once, because one that is cut off from the others has old news.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};
use tokio::task::JoinSet;

use super::supervisor::{Met, install, meet, supervise_new};
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until, until};
use crate::base::trace::{debug, info, warn};
use crate::connection::address::{Address, AddressMap, Slots, View};
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::node::Node;
use crate::connection::opening::open;
use crate::connection::refusal::{Target, classify, is_unknown, said};
use crate::connection::source::Source;
use crate::runtime::cluster::{Cluster, Member};
use crate::runtime::shared::{Shared, node};
use crate::types::error::{Error, ErrorKind, Result};
use crate::wire::plain::command;
use crate::wire::slot::SLOTS;

/// How long the others have to answer once one node did.
const GRACE: Duration = Duration::from_millis(50);
/// The pauses between two views while a node is in trouble. A replica that was promoted is found
/// within the longest.
const TROUBLED: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// After that long, nobody seems to be promoted.
const HOPE: Duration = Duration::from_secs(60);
/// The pauses between two views from then on.
const HOPELESS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The pause between two views while nothing happens.
const QUIET: Duration = Duration::from_secs(30);
/// A node that was asked something has answered after that, if it lives.
const ANSWERS: Duration = Duration::from_millis(250);
/// The most nodes that are asked over connections of their own, if none is connected.
const ASKED: usize = 8;

static SLOTS_COMMAND: LazyLock<Cmd> = LazyLock::new(|| command(&["CLUSTER", "SLOTS"]));
static INFO_COMMAND: LazyLock<Cmd> = LazyLock::new(|| command(&["CLUSTER", "INFO"]));

/// A view, with the host of the node that gave it, and when it was asked for.
struct Seen {
    view: View,
    host: String,
    sent: Moment,
}

/// A cluster, and how its nodes are reached.
pub(super) struct Topology {
    cluster: Arc<Cluster>,
    /// Where the program says that nodes are. The first one also stands for the others: user,
    /// password and certificates are the same.
    seeds: Vec<Endpoint>,
}

/// The first connection: its failure is the caller's error, at once. Returns the cluster, if the
/// server belongs to one.
pub(super) async fn connect_first(
    shared: &Arc<Shared>,
    source: &Source,
    map: AddressMap,
) -> Result<Option<Topology>> {
    let met = if let Source::Cluster(seeds) = source {
        meet_any(shared, seeds).await?
    } else {
        let met = meet(shared, shared.route.server(), &mut source.clone()).await;
        met.map_err(|failure| failure.error)?
    };
    let seeds = source.seeds();
    if !met.greeting.is_cluster || seeds.is_empty() {
        let installed = install(shared, shared.route.server(), source, (met, 1));
        return installed.map(|_| None).map_err(|failure| failure.error);
    }
    begin(shared, seeds, met, map).await.map(Some)
}

/// Meets whichever node answers first.
async fn meet_any(shared: &Shared, seeds: &[Endpoint]) -> Result<Met> {
    let met = seeds.iter().map(|seed| async move {
        let mut source = Source::Program(Box::new(seed.clone()));
        let met = meet(shared, shared.route.server(), &mut source).await;
        (seed.address(), met)
    });
    let mut met: FuturesUnordered<_> = met.collect();
    let mut failures = Vec::new();
    while let Some((address, result)) = met.next().await {
        match result {
            Ok(met) if met.greeting.is_cluster => return Ok(met),
            Ok(_) => {
                let text = "it is not a node of a cluster (cluster_enabled:0): use a URL with redis://";
                failures.push((address, Error::new(ErrorKind::Unsupported, text)));
            }
            Err(failure) => failures.push((address, failure.error)),
        }
    }
    let kind = failures
        .first()
        .map_or(ErrorKind::Unavailable, |(_, error)| error.kind());
    let is_common = failures.iter().all(|(_, error)| error.kind() == kind);
    let causes: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    let text = format!("no node of the cluster can be reached ({})", causes.join("; "));
    Err(Error::new(
        if is_common { kind } else { ErrorKind::Unavailable },
        text,
    ))
}

/// The server belongs to a cluster: asks it who has which slot.
async fn begin(
    shared: &Arc<Shared>,
    seeds: Vec<Endpoint>,
    mut met: Met,
    map: AddressMap,
) -> Result<Topology> {
    let sent = Moment::now();
    let seen = ask_over(shared, &met.place.endpoint, &mut met.connection, sent);
    let seen = seen.await.map_err(|failure| failure.error)?;
    let whole = Arc::downgrade(shared);
    let listener = Box::new(move |change: &_| {
        if let Some(shared) = whole.upgrade() {
            shared.slots_changed(change);
        }
    });
    let (options, driver) = (shared.options.clone(), shared.driver.clone());
    let make = Box::new(move |worry| node(&options, &driver).of_cluster(worry));
    let cluster = Arc::new(Cluster::new(make, listener, map));
    cluster.apply(&seen.view, &seen.host, seen.sent);
    info!(masters = cluster.all().len(), "the server is a node of a cluster");
    shared.route.set_cluster(Arc::clone(&cluster));
    Ok(Topology { cluster, seeds })
}

/// Asks over a connection of its own.
async fn ask_over(
    shared: &Shared,
    endpoint: &Endpoint,
    connection: &mut MultiplexedConnection,
    sent: Moment,
) -> Result<Seen, Failure> {
    let target = Target {
        script: None,
        prefix: &shared.options.prefix,
    };
    let mut other = connection.clone();
    let both = async {
        tokio::join!(
            connection.send_packed_command(&SLOTS_COMMAND),
            other.send_packed_command(&INFO_COMMAND)
        )
    };
    let over = sent + shared.options.operation_timeout;
    let Some((slots, info)) = until(over, None, both).await else {
        let text = format!(
            "the node of the cluster at {} does not answer",
            endpoint.address()
        );
        return Err(Failure::passing(Error::new(ErrorKind::Unavailable, text)));
    };
    let slots = match slots {
        Ok(Value::ServerError(error)) => Err(RedisError::from(error)),
        slots => slots,
    };
    let host = endpoint.host();
    let view = match slots {
        Ok(slots) => View::read(&slots, &info.unwrap_or(Value::Nil)).ok_or_else(|| {
            let text = "the answer to CLUSTER SLOTS is not understood";
            Failure::passing(Error::new(ErrorKind::Protocol, text))
        })?,
        // One endpoint in front of all nodes, which says nothing about them.
        Err(error) if is_unknown(&said(&error)) => alone(endpoint),
        Err(error) => return Err(classify(&error, target)),
    };
    if view.slots.is_empty() {
        let text = format!("the cluster of {} serves no slots (yet)", endpoint.address());
        return Err(Failure::passing(Error::new(ErrorKind::Unavailable, text)));
    }
    Ok(Seen { view, host, sent })
}

/// All slots at this endpoint.
fn alone(endpoint: &Endpoint) -> View {
    let all = Slots {
        first: 0,
        last: SLOTS - 1,
        master: Address {
            host: endpoint.host(),
            port: endpoint.port(),
        },
        replicas: Vec::new(),
    };
    View {
        epoch: 0,
        slots: vec![all],
    }
}

/// Asks a node that is connected.
async fn ask_node(node: &Node, deadline: Moment) -> Option<Seen> {
    let sent = Moment::now();
    let link = node.usable(sent).await.ok()?; // not one that is still to be connected
    let (slots, info) = tokio::join!(
        node.answer_on(link.clone(), &SLOTS_COMMAND, deadline),
        node.answer_on(link, &INFO_COMMAND, deadline)
    );
    let info = info.map_or(Value::Nil, |answer| answer.reply.0);
    let view = View::read(&slots.ok()?.reply.0, &info)?;
    let host = node.host();
    (!view.slots.is_empty()).then_some(Seen { view, host, sent })
}

/// A member, with the task that keeps its connection.
struct Kept {
    member: Member,
    /// Ends when this is dropped.
    supervisor: JoinSet<Infallible>,
}

impl Topology {
    /// Follows the cluster until the client ends.
    pub(super) async fn follow(self, shared: &Arc<Shared>) -> ! {
        let mut kept: HashMap<Address, Kept> = HashMap::new();
        let (mut soon, mut later) = (Backoff::new(TROUBLED), Backoff::new(HOPELESS));
        let mut fine = Moment::now();
        loop {
            self.connect_to_new(shared, &mut kept);
            let asked = Moment::now();
            let pause = if !self.is_troubled(asked) {
                fine = asked;
                soon.reset();
                later.reset();
                QUIET
            } else if asked.since(fine) < HOPE {
                soon.next()
            } else {
                later.next()
            };
            until(asked + pause, None, self.cluster.worry.notified()).await;
            self.connect_to_new(shared, &mut kept);
            if shared.is_idle() && !self.is_troubled(Moment::now()) && Moment::now() >= asked + QUIET {
                continue; // nobody needs a newer view
            }
            if let Some(seen) = self.ask(shared).await {
                let gone = self.cluster.apply(&seen.view, &seen.host, seen.sent);
                for member in gone {
                    retire(shared, &member, &mut kept);
                }
            }
            sleep_until(asked + TROUBLED.0, None).await; // one for all that happened meanwhile
        }
    }

    /// Starts a supervisor for each member that has none.
    fn connect_to_new(&self, shared: &Arc<Shared>, kept: &mut HashMap<Address, Kept>) {
        for member in self.cluster.members() {
            let known = kept.get(&member.address);
            if known.is_some_and(|known| Arc::ptr_eq(&known.member.node, &member.node)) {
                continue;
            }
            let Some(endpoint) = self.endpoint(&member.address) else {
                continue;
            };
            let source = Source::Program(Box::new(endpoint));
            let (node, shared) = (Arc::clone(&member.node), Arc::clone(shared));
            let driver = shared.driver.clone();
            let mut supervisor = JoinSet::new();
            supervisor.spawn_on(
                async move { supervise_new(&shared, &node, source).await },
                &driver,
            );
            let address = member.address.clone();
            kept.insert(address, Kept { member, supervisor });
        }
    }

    /// How a node at this address is reached.
    fn endpoint(&self, address: &Address) -> Option<Endpoint> {
        let of = self.seeds.first()?;
        let endpoint = of.at(&address.host, address.port);
        endpoint
            .inspect_err(
                |error| warn!(node = %address, error = %error, "a node of the cluster cannot be reached"),
            )
            .ok()
    }

    /// A node may have been replaced.
    fn is_troubled(&self, now: Moment) -> bool {
        let is_troubled = |member: &Member| !member.node.is_up() || member.node.silence(now) >= ANSWERS;
        self.cluster.members().iter().any(is_troubled)
    }

    /// Asks for a view: the newest of those that come soon.
    async fn ask(&self, shared: &Shared) -> Option<Seen> {
        let deadline = Moment::now() + shared.options.operation_timeout;
        let nodes = self.cluster.all();
        let asks: FuturesUnordered<_> = nodes.iter().map(|node| ask_node(node, deadline)).collect();
        if let Some(seen) = newest(asks).await {
            return Some(seen);
        }
        // None is connected: replicas and what the program named may know.
        let known = self.cluster.known();
        let known = known.iter().filter_map(|address| self.endpoint(address));
        let endpoints: Vec<_> = self.seeds.iter().cloned().chain(known).take(ASKED).collect();
        let asks: FuturesUnordered<_> = endpoints
            .iter()
            .map(|endpoint| async move { ask_new(shared, endpoint).await.ok() })
            .collect();
        newest(asks).await
    }
}

/// Asks a node over a new connection.
async fn ask_new(shared: &Shared, endpoint: &Endpoint) -> Result<Seen, Failure> {
    let target = Target {
        script: None,
        prefix: &shared.options.prefix,
    };
    let endpoint = endpoint.renewed().await.map_err(Failure::passing)?;
    let mut connection = open(&endpoint, target, shared.options.operation_timeout).await?;
    ask_over(shared, &endpoint, &mut connection, Moment::now()).await
}

/// The newest of the answers that come soon after the first.
async fn newest(mut asks: FuturesUnordered<impl Future<Output = Option<Seen>>>) -> Option<Seen> {
    let mut newest: Option<Seen> = None;
    let mut over = Moment::NEVER;
    while let Some(Some(answer)) = until(over, None, asks.next()).await {
        if let Some(seen) = answer {
            over = over.min(Moment::now() + GRACE);
            if newest
                .as_ref()
                .is_none_or(|newest| seen.view.epoch > newest.view.epoch)
            {
                newest = Some(seen);
            }
        }
    }
    newest
}

/// A node has no slots any longer. It answers what it was asked, if it lives; if it is silent,
/// another one has to be asked at once.
fn retire(shared: &Arc<Shared>, member: &Member, kept: &mut HashMap<Address, Kept>) {
    let is_kept = |kept: &Kept| Arc::ptr_eq(&kept.member.node, &member.node);
    let supervisor = if kept.get(&member.address).is_some_and(is_kept) {
        kept.remove(&member.address).map(|kept| kept.supervisor)
    } else {
        None
    };
    let node = Arc::clone(&member.node);
    let now = Moment::now();
    if node.silence(now) >= ANSWERS || !node.is_up() {
        debug!(node = %member.address, "a node of the cluster is left");
        drop(supervisor);
        node.leave();
        return;
    }
    let over = now + ANSWERS.max(node.round_trip() * 4);
    drop(shared.driver.spawn(async move {
        sleep_until(over, None).await;
        drop(supervisor);
        node.leave();
    }));
}
