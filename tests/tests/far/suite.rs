//! The conformance suite holds at round trips of 20 ms, 0.2 s and 1 s.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use latchwork_tests::distance::Distance;
use latchwork_tests::subject::{MUTEX, Subject, all};
use tokio::runtime::Builder;

use super::{distances, is_set};

#[macro_use]
#[path = "../conformance/groups.rs"]
mod groups;

#[path = "../conformance/counting.rs"]
mod counting;
#[path = "../conformance/dying.rs"]
mod dying;
#[path = "../conformance/holding.rs"]
mod holding;
#[path = "../conformance/keeping.rs"]
mod keeping;
#[path = "../conformance/losing.rs"]
mod losing;
#[path = "../conformance/network.rs"]
mod network;
#[path = "../conformance/pausing.rs"]
mod pausing;
#[path = "../conformance/refusing.rs"]
mod refusing;
#[path = "../conformance/server.rs"]
mod server;
#[path = "../conformance/waiting.rs"]
mod waiting;

/// How many cases run at once: most of their time they wait.
const AT_ONCE: usize = 48;
/// How many of those that start servers or processes, for each time that the times of a test are longer
/// than near the server.
const WITH_SERVERS: usize = 4;

/// Between the starts of two cases: if all connected at the same moment, a busy machine might take longer
/// for that than a connection may take.
const PACE: Duration = Duration::from_millis(30);

/// A case, which runs for each subject.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    run: fn(&'static dyn Subject) -> Local,
}

/// The future of a case: it stays in its thread.
type Local = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// The cases of a group, by a function that has its name.
macro_rules! group {
    ($group:ident: $($case:ident,)*) => {
        fn $group() -> Vec<Case> {
            vec![$(Case {
                name: concat!(stringify!($group), "::", stringify!($case)),
                run: |subject| Box::pin($group::$case(subject)),
            }),*]
        }
    };
}

groups!(group);

/// Runs the cases for these subjects at each distance, many at once, each in a thread and a runtime of
/// its own.
fn run(cases: &[Case], subjects: &[&'static dyn Subject], distances: &[Distance], at_once: AtOnce) {
    let only = std::env::var("LATCHWORK_CASE").unwrap_or_default();
    let failed = Mutex::new(Vec::new());
    for distance in distances {
        let pairs = cases
            .iter()
            .flat_map(|case| subjects.iter().map(move |subject| (case, *subject)));
        let pairs: Vec<_> = pairs.filter(|(case, _)| case.name.contains(&only)).collect();
        for some in pairs.chunks(at_once(*distance)) {
            thread::scope(|scope| {
                for (case, subject) in some {
                    let name = format!("{}::{} at {:?}", subject.name(), case.name, distance.trip());
                    let failed = &failed;
                    let run = move || {
                        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
                        let runtime = runtime.expect("a runtime");
                        let running = || runtime.block_on(distance.at((case.run)(*subject)));
                        if catch_unwind(AssertUnwindSafe(running)).is_err() {
                            let name = thread::current().name().unwrap_or_default().to_owned();
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                        }
                    };
                    let thread = thread::Builder::new().name(name);
                    thread.spawn_scoped(scope, run).expect("a thread");
                    thread::sleep(PACE);
                }
            });
        }
    }
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// How many run at once at a distance.
type AtOnce = fn(Distance) -> usize;

/// Cases on the server that all of them share; a few start one of their own.
const SHARED: AtOnce = |_| AT_ONCE;

/// Cases that each start a server or a process.
const APART: AtOnce = |distance| WITH_SERVERS * usize::try_from(distance.scale()).unwrap_or(1);

#[test]
fn the_counting_group_at_a_fifth_of_a_second() {
    run(&counting(), &all(), &distances(&[200]), SHARED);
}

#[test]
fn the_waiting_group_at_a_fifth_of_a_second() {
    run(&waiting(), &all(), &distances(&[200]), SHARED);
}

#[test]
fn the_holding_group_at_a_fifth_of_a_second() {
    run(&holding(), &all(), &distances(&[200]), SHARED);
}

#[test]
fn an_uncontended_lock_takes_two_requests_at_any_distance() {
    let mut cases = counting();
    cases.retain(|case| {
        case.name
            .ends_with("::an_uncontended_acquire_and_release_are_two_requests")
    });
    assert_eq!(cases.len(), 1, "the case");
    run(&cases, &all(), &distances(&[20, 200, 1000]), SHARED);
}

/// The other groups: for the mutex, or for all primitives at the distances in the environment.
fn others() -> (Vec<&'static dyn Subject>, Vec<Distance>) {
    let subjects = if is_set() { all() } else { vec![MUTEX] };
    (subjects, distances(&[20]))
}

#[test]
fn the_keeping_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&keeping(), &subjects, &distances, APART);
}

#[test]
fn the_losing_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&losing(), &subjects, &distances, APART);
}

#[test]
fn the_dying_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&dying(), &subjects, &distances, APART);
}

#[test]
fn the_pausing_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&pausing(), &subjects, &distances, APART);
}

#[test]
fn the_network_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&network(), &subjects, &distances, APART);
}

#[test]
fn the_server_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&server(), &subjects, &distances, APART);
}

#[test]
fn the_refusing_group_at_a_fiftieth_of_a_second() {
    let (subjects, distances) = others();
    run(&refusing(), &subjects, &distances, APART);
}
