//! The tasks that an attempt wakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use super::*;
use crate::attempt::event::{EndEvent, Ended};
use crate::attempt::rules::Plan;
use crate::types::name::Name;

/// A task that counts how often it is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task::default());
    (Arc::clone(&task), task.into())
}

fn woken(task: &Arc<Task>) -> usize {
    task.0.load(Ordering::Relaxed)
}

fn attempt() -> crate::attempt::Attempt {
    let drift = Drift {
        parts_per_million: 10_000,
    };
    let name = Name::new("orders").expect("a fine name");
    let plan = Plan::new(Spec::exclusive(LEASE), drift, false);
    let key = Arc::from(&b"key"[..]);
    crate::attempt::Attempt::new(("client.1:1".to_owned(), 1), key, name, plan, START)
}

fn grant() -> Event {
    Event::Answered {
        reply: Some(granted(LEASE)),
        stamp: 1,
        sent: START,
    }
}

/// One whose guard is out.
fn held() -> crate::attempt::Attempt {
    let attempt = attempt();
    attempt.on(grant(), at(1));
    let polled = attempt.poll(&Context::from_waker(Waker::noop()), at(1), false);
    assert_eq!(polled.step, Step::HandOut, "granted");
    assert_eq!(polled.lease, attempt.held(), "the lease comes with it");
    attempt
}

#[test]
fn the_next_event_wakes_a_future_that_waits_once() {
    let attempt = attempt();
    let (task, waker) = task();
    let cx = Context::from_waker(&waker);
    let polled = attempt.poll(&cx, at(0), false);
    assert_eq!((polled.step, polled.heard), (Step::Ask, START));
    assert_eq!((polled.lease, attempt.held()), (None, None), "nothing yet");
    attempt.note(Event::Asked { not_after: 5 });
    assert!(attempt.with(State::is_asked), "it is noted");
    assert_eq!(woken(&task), 0, "there is nothing to do");
    assert!(attempt.on(grant(), at(1)).wake);
    assert_eq!(woken(&task), 1);
    attempt.on(Event::ClientClosed { closing: false }, at(1));
    assert_eq!(woken(&task), 1, "it has not been polled since");
    let heard = attempt.register_waker(&cx, State::heard);
    assert_eq!(heard, at(1), "what was looked for");
    attempt.on(Event::ClientClosed { closing: false }, at(1));
    assert_eq!(woken(&task), 2);
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let attempt = attempt();
    let ((before, first), (after, second)) = (task(), task());
    attempt.poll(&Context::from_waker(&first), at(0), false);
    attempt.poll(&Context::from_waker(&second), at(0), false);
    attempt.on(grant(), at(1));
    assert_eq!((woken(&before), woken(&after)), (0, 1));
}

#[test]
fn an_event_inside_a_poll_wakes_nobody() {
    let attempt = attempt();
    let (task, waker) = task();
    attempt.poll(&Context::from_waker(&waker), at(0), false);
    assert!(attempt.on_while_polled(grant(), at(1)).wake, "it was applied");
    assert_eq!(woken(&task), 0);
}

#[test]
fn the_end_of_a_hold_wakes_every_watcher() {
    let attempt = held();
    let tasks: Vec<_> = (0..4).map(|_| task()).collect();
    let mut keys = [None; 4];
    for ((_, waker), key) in tasks.iter().zip(&mut keys) {
        let state = attempt.watch(key, &Context::from_waker(waker), at(2));
        assert!(state.held().is_some() && key.is_some(), "it is watched");
    }
    // The first is polled by another task, and the last is dropped.
    let (moved, waker) = task();
    attempt.watch(&mut keys[0], &Context::from_waker(&waker), at(2));
    attempt.remove_watcher(keys[3].expect("it is watched"));
    attempt.on(Event::Told(Message::Forced { counter: 1, stamp: 2 }), at(3));
    let counts: Vec<_> = tasks.iter().map(|(task, _)| woken(task)).collect();
    assert_eq!((counts, woken(&moved)), (vec![0, 1, 1, 0], 1));
    attempt.note(Event::End(EndEvent::Over(Ended::GaveUp)));
    assert_eq!(woken(&moved), 1, "once");
}

#[test]
fn only_a_live_hold_is_watched() {
    let waiting = attempt();
    let mut key = None;
    let cx = Context::from_waker(Waker::noop());
    waiting.watch(&mut key, &cx, at(1));
    assert_eq!(key, None, "there is no hold");
    let state = held().watch(&mut key, &cx, at(10_001));
    assert_eq!((state.loss(), key), (Some(Loss::Expired), None), "it is over");
}

#[test]
fn a_late_look_finds_the_loss() {
    let attempt = held();
    assert_eq!(attempt.check(at(9000)), None, "valid");
    assert_eq!(attempt.state().loss(), None);
    assert_eq!(attempt.check(at(10_000)), Some(Loss::Expired));
    let shown = format!("{attempt:?}");
    assert!(
        shown.contains("client.1:1") && shown.contains("orders"),
        "{shown}"
    );
}

/// A service may hold tens of thousands of guards. The sizes are those of 64-bit Linux.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn an_attempt_stays_small() {
    assert!(size_of::<State>() <= 152, "{}", size_of::<State>());
    let attempt = size_of::<crate::attempt::Attempt>();
    assert!(attempt <= 256, "{attempt}");
}
