//! Mutants of the scripts, many in one process: are they noticed by random requests? For `mutate-lua`, which names them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use latchwork_tests::mutants;

use crate::{latch_random, random, recorded, shortcuts};

/// Requests per world: few notice most.
const FEW: u32 = 100;
/// So many that a mutant which breaks every hand-off does not get past them by chance.
const ENOUGH: u32 = 2_000;

/// A name, and a random test.
type Round = (&'static str, fn(u32));

fn is_of_latches(mutant: &str) -> bool {
    mutant.starts_with("latch") || mutant.starts_with("peek")
}

/// What the mutants in this thread are noticed by, if it is one of the random tests.
fn noticed_by(mutant: &str, requests: u32) -> Option<&'static str> {
    let is_shared = ["record", "mail", "queue", "end", "tick"]
        .iter()
        .any(|name| mutant.starts_with(name));
    let latches: [Round; 3] = [
        ("latch_random", latch_random::agrees_in),
        ("shortcuts", shortcuts::of_latches_change_nothing_in),
        ("recorded", |_| recorded::latches_are_as_recorded()),
    ];
    let locks: [Round; 3] = [
        ("random", random::all_agree_in),
        ("shortcuts", shortcuts::of_locks_change_nothing_in),
        ("recorded", |_| recorded::locks_are_as_recorded()),
    ];
    mutants::choose(mutant);
    let of_locks = locks.iter().filter(|_| !is_of_latches(mutant));
    let of_latches = latches.iter().filter(|_| is_of_latches(mutant) || is_shared);
    for (name, run) in of_locks.chain(of_latches) {
        if catch_unwind(AssertUnwindSafe(|| run(requests))).is_err() {
            return Some(*name);
        }
    }
    None
}

/// `LATCHWORK_MUTANTS`: the mutants to try, with spaces between. What comes of each is printed.
#[test]
#[allow(clippy::print_stdout, reason = "it is what mutate-lua reads")]
fn random_requests_notice_a_mutant() {
    if let Ok(all) = std::env::var("LATCHWORK_MUTANTS") {
        for mutant in all.split_whitespace() {
            println!("mutant {mutant} {}", noticed_by(mutant, FEW).unwrap_or("-"));
        }
        return;
    }
    let all = mutants::all();
    let drop = |text: &str| {
        let dropped =
            |mutant: &&String| mutants::line(mutant).is_some_and(|line| line.trim_start().starts_with(text));
        all.iter()
            .filter(|mutant| mutant.ends_with(":drop"))
            .find(dropped)
            .unwrap()
    };
    assert_eq!(
        noticed_by(drop("redis.call('ZADD', lock, unpack(adds))"), ENOUGH),
        Some("random"),
        "nobody waits"
    );
    assert_eq!(
        noticed_by(drop("complete(step, number)"), ENOUGH),
        Some("latch_random"),
        "all wait for ever"
    );
}
