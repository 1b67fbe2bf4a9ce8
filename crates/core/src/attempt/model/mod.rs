//! The protocol, explored: every interleaving within bounds, on the state machine that ships.
//!
//! What is explored is [`State`](super::state::State) itself; only the world around it is a model.
//! `docs/proof.md` says what this proves, and how to run it with larger bounds.
//!
//! - `bounds`: what one exploration covers, and the rules that can be switched off;
//! - `world`: everything there is at one moment;
//! - `tidy`: makes worlds one that differ only in their past;
//! - `server`: what the scripts do;
//! - `client`: the future, the keeper and the inbox, which hand events to the state machine;
//! - `actions`: what may happen next;
//! - `properties`: what has to be true of every world;
//! - `mutex`, `sharing`, `batches`: the explorations.

mod actions;
mod batches;
mod bounds;
mod client;
mod mutex;
mod properties;
mod server;
mod sharing;
mod tidy;
mod world;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use self::actions::Action;
use self::bounds::Bounds;
use self::properties::REACHED;
use self::world::World;

/// One exploration at a time: each uses two threads and much memory.
static ALONE: Mutex<()> = Mutex::new(());

/// How long one exploration may take with the larger bounds, which are explored by hand: the number
/// in `LATCHWORK_MODEL`, in minutes, or ten if it says `large`.
fn large() -> Option<Duration> {
    let minutes = match std::env::var("LATCHWORK_MODEL").ok()?.as_str() {
        "large" => 10,
        number => number
            .parse()
            .expect("LATCHWORK_MODEL is `large` or a number of minutes"),
    };
    Some(Duration::from_secs(minutes * 60))
}

/// Explores everything within the bounds (or the first `most` worlds that are generated), and finds
/// nothing wrong.
fn holds(name: &str, mut bounds: Bounds, mut most: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = large();
    if limit.is_some() {
        bounds.last_tick += 1;
        most = 0;
    }
    let start = Instant::now();
    let mut builder = bounds
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    if most > 0 {
        builder = builder.target_state_count(most);
    }
    let checker = builder.spawn_bfs().join();
    let in_time = limit.is_none_or(|limit| start.elapsed() < limit);
    println!(
        "{name}: {} worlds, {} generated, depth {}, {:?}{}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed(),
        if in_time && (most == 0 || checker.state_count() < most) {
            ", all of them"
        } else {
            ""
        }
    );
    for (property, path) in checker.discoveries() {
        let last = path.last_state().clone();
        let actions = path.into_actions();
        assert_eq!(property, REACHED, "{name}: violated\n{last:#?}\n{actions:#?}");
    }
    assert!(
        checker.discovery(REACHED).is_some(),
        "{name}: the model does nothing"
    );
}

/// Takes the same steps with all rules, for as long as they can be taken: nothing of `expected` is
/// violated. Otherwise the code that ships lacks the rule, too.
fn holds_with_all_rules(rule: &str, bounds: Bounds, actions: &[Action], expected: &[&'static str]) {
    let bounds = Bounds {
        without: None,
        ..bounds
    };
    let properties = bounds.properties();
    let mut world = World::new(&bounds);
    for action in actions {
        let mut enabled = Vec::new();
        bounds.actions(&world, &mut enabled);
        let next = enabled
            .contains(action)
            .then(|| bounds.next_state(&world, *action));
        let Some(next) = next.flatten() else { return };
        world = next;
        for property in properties.iter().filter(|one| expected.contains(&one.name)) {
            let holds = (property.condition)(&bounds, &world);
            assert!(holds, "with {rule}: not: {}\n{actions:#?}", property.name);
        }
    }
}

/// Without a rule, one of `expected` is violated. With all rules of the state machine, the same
/// steps violate nothing.
fn breaks(rule: &str, bounds: Bounds, expected: &[&'static str]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let checker = bounds
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf(expected.iter().copied().collect()))
        .spawn_bfs()
        .join();
    for (property, path) in checker.discoveries() {
        if expected.contains(&property) {
            let (worlds, took) = (checker.unique_state_count(), start.elapsed());
            let actions = path.into_actions();
            println!(
                "without {rule}: {} steps, {worlds} worlds, {took:?}: not: {property}",
                actions.len()
            );
            for action in &actions {
                println!("    {action:?}");
            }
            if bounds.without.is_some() {
                holds_with_all_rules(rule, bounds, &actions, expected);
            }
            return;
        }
    }
    panic!(
        "without {rule}: no counter-example in {} worlds",
        checker.unique_state_count()
    );
}
