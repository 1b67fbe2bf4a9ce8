//! A cluster: which node has which slot, and how a request finds the node that runs it.
//!
//! A request follows `MOVED` and `ASK` here, below the attempt: they say that it was not run. It is
//! never sent again after an unknown outcome, which only the attempt can judge. See "Clusters" in
//! `docs/design.md`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use redis::Cmd;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until};
use crate::connection::address::{Address, AddressMap, View};
use crate::connection::failure::{Failure, Redirect};
use crate::connection::node::{Link, Node};
use crate::types::error::{Error, ErrorKind, Result};
use crate::wire::command::Request;
use crate::wire::slot::{SLOTS, slot_of};
use crate::wire::value::Answer;

/// The pauses before a request is sent again to a cluster that cannot serve its slot just now.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// After that many redirections without a pause, nodes disagree, and a pause comes first.
const HOPS: u32 = 5;

/// A slot of which nobody has said for that long that it is moving has been moved, or not.
const MOVING: Duration = Duration::from_secs(60);

/// In place of a node: nobody has said who has the slot.
const NOBODY: u16 = u16::MAX;

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// A script for a call: fails at once if there has been no connection for long.
    Call(&'a Request),
    /// A script for what belongs to a hold: waits for a connection.
    Run(&'a Request),
    /// A command about this key, for a call.
    Command(&'a [u8], &'a Cmd),
}

impl Work<'_> {
    fn slot(self) -> u16 {
        match self {
            Self::Call(request) | Self::Run(request) => slot_of(request.key()),
            Self::Command(key, _) => slot_of(key),
        }
    }

    async fn link(self, node: &Node, deadline: Moment) -> Result<Link, Failure> {
        match self {
            Self::Run(_) => node.link(deadline).await,
            Self::Call(_) | Self::Command(..) => node.usable(deadline).await,
        }
    }

    async fn send(self, node: &Node, link: Link, deadline: Moment) -> Result<Answer, Failure> {
        match self {
            Self::Call(request) | Self::Run(request) => node.run_on(link, request, deadline).await,
            Self::Command(_, command) => node.answer_on(link, command, deadline).await,
        }
    }

    /// Whether it is about several keys, which may be at two nodes while their slot is moving.
    fn can_be_split(self) -> bool {
        matches!(self, Self::Call(request) | Self::Run(request) if request.has_several_keys())
    }
}

/// A node of the cluster that has slots, or is said to.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) address: Address,
    pub(crate) node: Arc<Node>,
}

/// Who has which slot.
struct Slots {
    /// Sorted by address, so that their order does not depend on who was heard of first.
    members: Vec<Member>,
    /// For each slot the index of its member, or [`NOBODY`].
    owners: Vec<u16>,
    /// Slots that a node has told to be elsewhere, and when: older views do not undo that.
    told: HashMap<u16, Moment>,
    /// Slots that are moving to another node, and when that was said last.
    targets: HashMap<u16, (Member, Moment)>,
    /// The epoch of the newest view.
    epoch: u64,
    /// All nodes of that view, also replicas.
    known: HashSet<Address>,
}

impl Slots {
    fn owner(&self, slot: u16) -> Option<&Member> {
        let index = self.owners.get(usize::from(slot))?;
        self.members.get(usize::from(*index))
    }

    /// Each slot with its owner.
    fn pairs(&self) -> impl Iterator<Item = (u16, &Member)> {
        (0..SLOTS).filter_map(|slot| Some((slot, self.owner(slot)?)))
    }
}

/// What a change of owners came to.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Slots whose records are at another node from now on.
    slots: HashSet<u16>,
}

impl Change {
    pub(crate) fn has(&self, slot: u16) -> bool {
        self.slots.contains(&slot)
    }
}

/// Makes a node that tells the notify of its troubles.
type Make = Box<dyn Fn(Arc<Notify>) -> Node + Send + Sync>;
/// Hears of each change.
type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// A cluster.
pub(crate) struct Cluster {
    slots: RwLock<Slots>,
    /// Changes with them.
    version: watch::Sender<u64>,
    /// Something happened that a newer view may explain, or the members have changed.
    pub(crate) worry: Arc<Notify>,
    /// Held while slots change, so that listeners hear of changes in their order.
    changing: Mutex<()>,
    /// The node of a slot that nobody has.
    nobody: Arc<Node>,
    make: Make,
    listener: Listener,
    map: AddressMap,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub(crate) fn new(make: Make, listener: Listener, map: AddressMap) -> Self {
        let worry = Arc::new(Notify::new());
        let nobody = make(Arc::clone(&worry));
        nobody
            .outage()
            .note(&Error::new(ErrorKind::Unavailable, UNSERVED));
        Self {
            slots: RwLock::new(Slots {
                members: Vec::new(),
                owners: vec![NOBODY; usize::from(SLOTS)],
                told: HashMap::new(),
                targets: HashMap::new(),
                epoch: 0,
                known: HashSet::new(),
            }),
            version: watch::Sender::new(0),
            worry,
            changing: Mutex::new(()),
            nobody: Arc::new(nobody),
            make,
            listener,
            map,
        }
    }

    fn look<T>(&self, at: impl FnOnce(&Slots) -> T) -> T {
        at(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when slots or nodes do.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Returns whether keys of this slot are on their way to another node, as far as is known.
    pub(crate) fn is_moving(&self, slot: u16) -> bool {
        self.look(|slots| slots.targets.contains_key(&slot))
    }

    /// Where the client's tasks run.
    pub(crate) fn driver(&self) -> &Handle {
        self.nobody.driver()
    }

    /// Returns the node that has this slot.
    pub(crate) fn of(&self, slot: u16) -> Arc<Node> {
        self.look(|slots| {
            let owner = slots.owner(slot).map(|member| &member.node);
            Arc::clone(owner.unwrap_or(&self.nobody))
        })
    }

    /// Returns a node that is connected, if there is one: always the same for this number, while
    /// the nodes stay the same.
    pub(crate) fn any(&self, number: usize) -> Arc<Node> {
        let all = self.all();
        let up: Vec<_> = all.iter().filter(|node| node.is_up()).collect();
        let choice = if up.is_empty() { all.iter().collect() } else { up };
        let node = choice.get(number.checked_rem(choice.len()).unwrap_or(0));
        Arc::clone(node.copied().unwrap_or(&self.nobody))
    }

    /// Returns the nodes that have slots, by their addresses.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        self.look(|slots| {
            slots
                .members
                .iter()
                .map(|member| Arc::clone(&member.node))
                .collect()
        })
    }

    /// Returns the members.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.look(|slots| slots.members.clone())
    }

    /// Returns where all nodes of the newest view are, also replicas.
    pub(crate) fn known(&self) -> Vec<Address> {
        self.look(|slots| slots.known.iter().cloned().collect())
    }

    /// Returns the highest of these.
    pub(crate) fn most<T: Ord + Default>(&self, of: impl Fn(&Node) -> T) -> T {
        self.look(|slots| slots.members.iter().map(|member| of(&member.node)).max())
            .unwrap_or_default()
    }

    /// Returns where a node is that announces this address to the node at `asked`.
    fn place(&self, announced: Address, asked: &str) -> Address {
        self.map.place(&announced.or_at(asked))
    }

    /// Resolves when the nodes are as `enough` says.
    pub(crate) async fn wait_until_up(&self, enough: impl Fn(&[Arc<Node>]) -> bool) {
        loop {
            let nodes = self.all();
            if enough(&nodes) {
                return;
            }
            let mut version = self.version.subscribe();
            let down: Vec<_> = nodes.iter().filter(|node| !node.is_up()).collect();
            let come = down.iter().map(|node| Box::pin(node.wait_for_other(0)));
            tokio::select! {
                _ = version.changed() => {}
                _ = futures_util::future::select_all(come), if !down.is_empty() => {}
            }
        }
    }

    /// Resolves when another node than this one has the slot.
    async fn moves(&self, slot: u16, from: &Arc<Node>) {
        let mut version = self.version.subscribe();
        while Arc::ptr_eq(&self.of(slot), from) {
            // The sender lives as long as we do: this cannot fail.
            if version.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns the node of a slot, and a connection to it. Follows the slot while it waits.
    async fn link(&self, slot: u16, work: Work<'_>, deadline: Moment) -> Result<(Arc<Node>, Link), Failure> {
        loop {
            let node = self.of(slot);
            tokio::select! {
                biased;
                link = work.link(&node, deadline) => return Ok((Arc::clone(&node), link?)),
                () = self.moves(slot, &node) => {}
            }
        }
    }

    /// Waits for a connection to the node of this slot until `deadline`, or until calls fail at
    /// once.
    pub(crate) async fn ready(&self, slot: u16, deadline: Moment) -> Result<(), Failure> {
        loop {
            let node = self.of(slot);
            tokio::select! {
                biased;
                ready = node.ready(deadline) => return ready,
                () = self.moves(slot, &node) => {}
            }
        }
    }

    /// The same for a request that must not be repeated: see [`Node::ready_once`].
    pub(crate) async fn ready_once(
        &self,
        slot: u16,
        patience: Duration,
        times: (Moment, Moment),
    ) -> Result<Moment, Failure> {
        loop {
            let node = self.of(slot);
            tokio::select! {
                biased;
                ready = node.ready_once(patience, times) => return ready,
                () = self.moves(slot, &node) => {}
            }
        }
    }

    /// Estimates the time at `moment` of the node that will run a request about this slot, in
    /// milliseconds: while it is moving, of the one whose clock is ahead.
    pub(crate) fn not_after(&self, slot: u16, moment: Moment) -> u64 {
        self.look(|slots| {
            let owner = slots.owner(slot).map_or(&self.nobody, |member| &member.node);
            let target = slots.targets.get(&slot);
            let target = target.map(|(target, _)| target.node.not_after(moment));
            owner.not_after(moment).max(target.unwrap_or(0))
        })
    }

    /// Sends it to the node that has its slot, and follows what nodes say instead of running it.
    /// The error tells whether it may have run.
    pub(crate) async fn send(&self, work: Work<'_>, deadline: Moment) -> Result<Answer, Failure> {
        let slot = work.slot();
        let mut pauses = Backoff::new(PAUSES);
        let (mut hops, mut ask) = (0, None::<Arc<Node>>);
        loop {
            let (node, link) = match ask.take() {
                Some(node) => {
                    let link = work.link(&node, deadline).await?;
                    (node, link.asking())
                }
                None => self.link(slot, work, deadline).await?,
            };
            let failure = match work.send(&node, link, deadline).await {
                Err(failure) if failure.redirect.is_some() => failure,
                result => return result,
            };
            if failure.is_split() && work.can_be_split() {
                return Err(failure); // each key by itself will be answered
            }
            hops += 1;
            let pause = match failure.redirect.as_deref() {
                Some(Redirect::Moved { slot, to }) => {
                    self.moved(*slot, to.clone(), &node);
                    hops > HOPS
                }
                Some(Redirect::Ask(to)) => {
                    ask = Some(self.asked(slot, to.clone(), &node));
                    hops > HOPS
                }
                Some(Redirect::TryAgain) => true,
                Some(Redirect::Down) | None => {
                    self.worry.notify_one();
                    true
                }
            };
            if pause {
                let until = Moment::now() + pauses.next();
                if until >= deadline {
                    return Err(failure);
                }
                sleep_until(until, Some(node.driver())).await;
            }
        }
    }

    /// Runs scripts that may be run again, those for one node together. Returns the outcome of each.
    pub(crate) async fn run_all(
        &self,
        requests: &[Request],
        deadline: Moment,
    ) -> Vec<Result<Answer, Failure>> {
        let mut outcomes: Vec<Option<Result<Answer, Failure>>> = requests.iter().map(|_| None).collect();
        let mut by_node: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (at, request) in requests.iter().enumerate() {
            let node = self.of(slot_of(request.key()));
            match by_node.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, places)) => places.push(at),
                None => by_node.push((node, vec![at])),
            }
        }
        let together = by_node.iter().map(|(node, places)| async move {
            let those: Vec<&Request> = places.iter().filter_map(|&at| requests.get(at)).collect();
            let link = node.present().filter(|_| !node.sending().is_text())?;
            Some((places, node.run_together(link, &those, deadline).await))
        });
        for (places, answers) in futures_util::future::join_all(together)
            .await
            .into_iter()
            .flatten()
        {
            // A failure of all is that of the connection.
            let answers = answers.unwrap_or_else(|failure| {
                let error = || Error::new(failure.error.kind(), failure.error.message().to_owned());
                places.iter().map(|_| Err(Failure::unknown(error()))).collect()
            });
            for (&at, answer) in places.iter().zip(answers) {
                if let Some(outcome) = outcomes.get_mut(at) {
                    *outcome = Some(answer);
                }
            }
        }
        let rest = outcomes
            .into_iter()
            .zip(requests)
            .map(|(outcome, request)| async move {
                match outcome {
                    Some(Ok(answer)) => Ok(answer),
                    // It was not run: there was no connection, the script was missing, the slot has moved.
                    None => self.send(Work::Run(request), deadline).await,
                    Some(Err(failure)) if failure.passing && !failure.unknown => {
                        self.send(Work::Run(request), deadline).await
                    }
                    Some(failed) => failed,
                }
            });
        futures_util::future::join_all(rest).await
    }

    /// A node says that another one has this slot.
    pub(crate) fn moved(&self, slot: u16, to: Address, said_by: &Node) {
        let to = self.place(to, &said_by.host());
        let _in_order = self.changing();
        let mut slots = self.change();
        let before = slots.owner(slot).cloned();
        if before
            .as_ref()
            .is_some_and(|before| !std::ptr::eq(&raw const *before.node, said_by))
        {
            return; // it was found meanwhile: what is newer is not known
        }
        slots.told.insert(slot, Moment::now());
        slots.targets.remove(&slot);
        let index = self.index_of(&mut slots, &to);
        let Some(owner) = slots.owners.get_mut(usize::from(slot)) else {
            return;
        };
        *owner = index;
        drop(slots);
        self.tell(before.map(|_| slot).into_iter().collect());
        self.worry.notify_one(); // more slots may have moved
    }

    /// A node says that this slot is moving to another one, which is to be asked.
    pub(crate) fn asked(&self, slot: u16, to: Address, said_by: &Node) -> Arc<Node> {
        let to = self.place(to, &said_by.host());
        let _in_order = self.changing();
        let mut slots = self.change();
        if let Some((target, said)) = slots.targets.get_mut(&slot)
            && target.address == to
        {
            *said = Moment::now();
            return Arc::clone(&target.node);
        }
        let index = self.index_of(&mut slots, &to);
        let Some(member) = slots.members.get(usize::from(index)).cloned() else {
            return Arc::clone(&self.nobody);
        };
        slots.targets.insert(slot, (member.clone(), Moment::now()));
        drop(slots);
        // Its keys may be at either node from now on.
        self.tell(std::iter::once(slot).collect());
        member.node
    }

    /// Returns the index of the member at this address, which is made if there is none.
    fn index_of(&self, slots: &mut Slots, address: &Address) -> u16 {
        let found = slots.members.iter().position(|member| member.address == *address);
        let index = found.unwrap_or_else(|| {
            let node = Arc::new((self.make)(Arc::clone(&self.worry)));
            slots.members.push(Member {
                address: address.clone(),
                node,
            });
            self.worry.notify_one(); // it wants a connection
            slots.members.len() - 1
        });
        u16::try_from(index).unwrap_or(NOBODY)
    }

    fn tell(&self, slots: HashSet<u16>) {
        if !slots.is_empty() {
            (self.listener)(&Change { slots });
        }
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes over a view that was asked for at `sent`, from the node at `asked`. Returns the members
    /// that have no slots any longer.
    pub(crate) fn apply(&self, view: &View, asked: &str, sent: Moment) -> Vec<Member> {
        let _in_order = self.changing();
        let mut slots = self.change();
        if view.epoch < slots.epoch && slots.members.iter().any(|member| member.node.is_up()) {
            return Vec::new(); // of a node that was cut off
        }
        slots.epoch = view.epoch;
        slots.told.retain(|_, told| *told >= sent);
        let before: HashMap<u16, Member> = slots.pairs().map(|(slot, it)| (slot, it.clone())).collect();
        let mut known = HashSet::new();
        for range in &view.slots {
            let master = self.place(range.master.clone(), asked);
            let index = self.index_of(&mut slots, &master);
            for slot in range.first..=range.last {
                if !slots.told.contains_key(&slot)
                    && let Some(owner) = slots.owners.get_mut(usize::from(slot))
                {
                    *owner = index;
                }
            }
            known.insert(master);
            known.extend(range.replicas.iter().map(|it| self.place(it.clone(), asked)));
        }
        slots.known = known;
        let changed: HashSet<u16> = slots
            .pairs()
            .filter(|(slot, now)| {
                let then = before.get(slot);
                then.is_some_and(|then| !Arc::ptr_eq(&then.node, &now.node))
            })
            .map(|(slot, _)| slot)
            .collect();
        slots
            .targets
            .retain(|slot, (_, said)| !changed.contains(slot) && sent.since(*said) < MOVING);
        let gone = Self::forget_idle(&mut slots);
        drop(slots);
        self.tell(changed);
        gone
    }

    /// Drops the members without slots, and sorts the others. Returns those that were dropped.
    fn forget_idle(slots: &mut Slots) -> Vec<Member> {
        let used: HashSet<u16> = slots.owners.iter().copied().collect();
        let targets: HashSet<&Address> = slots.targets.values().map(|(it, _)| &it.address).collect();
        let is_used =
            |(index, member): &(u16, Member)| used.contains(index) || targets.contains(&member.address);
        let (mut kept, gone): (Vec<_>, Vec<_>) = (0..).zip(slots.members.clone()).partition(is_used);
        kept.sort_by(|(_, a), (_, b)| a.address.cmp(&b.address));
        let places: HashMap<u16, u16> = kept.iter().zip(0..).map(|((from, _), to)| (*from, to)).collect();
        for owner in &mut slots.owners {
            *owner = places.get(owner).copied().unwrap_or(NOBODY);
        }
        slots.members = kept.into_iter().map(|(_, member)| member).collect();
        gone.into_iter().map(|(_, member)| member).collect()
    }
}

const UNSERVED: &str = "no node of the cluster serves this slot";
