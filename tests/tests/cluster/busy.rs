//! Under load: what a turn costs, and what it meets while slots move and masters change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use latchwork_mutex::{Client, ErrorKind};
use latchwork_testkit::{ClusterNode, TestCluster, slot_of};
use latchwork_tests::{Fixture, go, granted, locked, locking, mutex, unlocked};
use tokio::task::JoinHandle;

use super::fixture;

/// How often these commands were run, on all nodes together.
pub(super) fn calls(cluster: &TestCluster, name: &str) -> u64 {
    let calls = cluster
        .nodes()
        .iter()
        .map(|node| node.command_calls().expect("calls"));
    calls.map(|calls| calls.get(name).copied().unwrap_or(0)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_costs_two_requests_and_a_hand_over_one_message_more() {
    let cluster = TestCluster::start(3, 0).expect("a cluster");
    let fixture = fixture(&cluster);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    for name in (0..12).map(|number| number.to_string()) {
        let before = (calls(&cluster, "evalsha"), calls(&cluster, "publish"));
        unlocked(locked(&one, &name).await).await;
        let free = (calls(&cluster, "evalsha"), calls(&cluster, "publish"));
        assert_eq!((free.0 - before.0, free.1 - before.1), (2, 0), "{name}, free");
        let first = locked(&one, &name).await;
        let second = locking(&two, &name);
        let key = fixture.named(&name).key();
        let master = cluster.master_of(slot_of(&name)).expect("a master");
        latchwork_tests::eventually("it waits", || {
            let queue = ["ZCOUNT", &key, "-inf", "(0"];
            master.admin(&queue).expect("a number").int() == Some(1)
        })
        .await;
        unlocked(first).await;
        unlocked(granted(second).await).await;
        let contended = (calls(&cluster, "evalsha"), calls(&cluster, "publish"));
        let cost = (contended.0 - free.0, contended.1 - free.1);
        assert_eq!(cost, (4, 1), "{name}, two turns and a hand-over");
    }
}

/// Tasks that take turns at names, and what they met.
struct Load {
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    turns: Arc<AtomicU64>,
    errors: Arc<Mutex<Vec<String>>>,
    longest: Arc<Mutex<HashMap<String, Duration>>>,
}

impl Load {
    /// Two clients take turns at each name, and check that nobody else has it, if what happens
    /// `loses_nothing` that was acknowledged.
    fn on(clients: &[Client; 2], names: &[String], loses_nothing: bool) -> Self {
        let load = Self {
            over: Arc::default(),
            tasks: Vec::new(),
            turns: Arc::default(),
            errors: Arc::default(),
            longest: Arc::default(),
        };
        let mut load = load;
        for name in names {
            let inside = Arc::new(AtomicBool::new(false));
            for client in clients {
                let (handle, inside) = (mutex(client, name), Arc::clone(&inside));
                let (over, turns, name) = (Arc::clone(&load.over), Arc::clone(&load.turns), name.clone());
                let (errors, longest) = (Arc::clone(&load.errors), Arc::clone(&load.longest));
                load.tasks.push(go(async move {
                    let (mut last, mut token) = (Instant::now(), None);
                    while !over.load(Ordering::Relaxed) {
                        let guard = match handle.lock().await {
                            Ok(guard) => guard,
                            Err(error) => {
                                errors.lock().expect("no panic").push(format!("lock: {error:?}"));
                                continue;
                            }
                        };
                        note(&longest, &name, last.elapsed());
                        let is_alone = !inside.swap(true, Ordering::SeqCst);
                        assert!(is_alone || !loses_nothing, "{name}: two at once");
                        let now = guard.fencing_token();
                        assert!(token < Some(now), "{name}: {token:?} and then {now}");
                        token = Some(now);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        inside.store(false, Ordering::SeqCst);
                        if let Err(error) = guard.unlock().await
                            && (loses_nothing || error.kind() != ErrorKind::Lost)
                        {
                            errors
                                .lock()
                                .expect("no panic")
                                .push(format!("unlock: {error:?}"));
                        }
                        turns.fetch_add(1, Ordering::Relaxed);
                        last = Instant::now();
                    }
                }));
            }
        }
        load
    }

    /// Resolves when there were so many turns more.
    async fn turns(&self, more: u64) {
        let goal = self.turns.load(Ordering::Relaxed) + more;
        latchwork_tests::eventually("turns", || self.turns.load(Ordering::Relaxed) >= goal).await;
    }

    /// Ends it. Returns the errors, and the longest wait for any name.
    async fn end(self) -> (Vec<String>, Duration) {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            latchwork_tests::soon("the end of a task", task)
                .await
                .expect("no panic");
        }
        let errors = std::mem::take(&mut *self.errors.lock().expect("no panic"));
        let longest = self.longest.lock().expect("no panic").values().max().copied();
        (errors, longest.unwrap_or_default())
    }
}

fn note(longest: &Mutex<HashMap<String, Duration>>, name: &str, waited: Duration) {
    let mut longest = longest.lock().expect("no panic");
    let own = longest.entry(name.to_owned()).or_default();
    *own = waited.max(*own);
}

async fn clients(fixture: &Fixture<'_>) -> [Client; 2] {
    [fixture.steady().await, fixture.steady().await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_are_in_use_move_without_an_error() {
    let cluster = TestCluster::start(3, 0).expect("a cluster");
    let fixture = fixture(&cluster);
    let names: Vec<String> = (0..20).map(|number| format!("busy{number}")).collect();
    let load = Load::on(&clients(&fixture).await, &names, true);
    load.turns(200).await;
    for name in &names {
        let slot = slot_of(name);
        let from = cluster.master_of(slot).expect("a master");
        let to = cluster
            .nodes()
            .iter()
            .find(|node| *node != from)
            .expect("another");
        cluster.migrate_slot(slot, to).expect("moved");
        load.turns(20).await;
    }
    load.turns(200).await;
    let (errors, longest) = load.end().await;
    assert!(errors.is_empty(), "{errors:?}; the longest wait was {longest:?}");
}

/// The load goes on while this happens to the master of some of its names.
async fn survives(loses_nothing: bool, fault: impl AsyncFnOnce(&TestCluster, &ClusterNode, u16)) {
    let cluster = TestCluster::start(3, 1).expect("a cluster");
    let fixture = fixture(&cluster);
    let names: Vec<String> = (0..12).map(|number| format!("busy{number}")).collect();
    let load = Load::on(&clients(&fixture).await, &names, loses_nothing);
    load.turns(200).await;
    let slot = slot_of(&names[0]);
    let master = cluster.master_of(slot).expect("a master");
    fault(&cluster, master, slot).await;
    load.turns(400).await;
    let (errors, longest) = load.end().await;
    assert!(errors.is_empty(), "{errors:?}; the longest wait was {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commanded_failover_costs_no_turn() {
    survives(true, async |cluster, _, slot| {
        cluster.failover(slot).expect("another master");
    })
    .await;
}

/// What it acknowledged in the very moment may not have reached its replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_go_on_when_a_master_freezes() {
    survives(false, async |cluster, master, slot| {
        master.freeze().expect("frozen");
        cluster.wait_promoted(slot, master).expect("another master");
    })
    .await;
}
