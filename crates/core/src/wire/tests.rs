//! The commands, word by word, and the bands of scores.

use std::num::NonZeroU32;
use std::time::Duration;

use redis::{Arg, Cmd};

use super::command::Request;
use super::guarded::eval_guarded;
use super::plain;
use super::record::Band;
use super::request::{self, AcquireArgs, Args, Capacity, CountedArgs, EndArgs, LatchArgs, Setting};
use super::request::{TakeOver, TickArgs, TickOp};
use super::script::{self, Script};
use super::terms::Terms;
use crate::types::options::OnMismatch;
use crate::types::rate::{Algorithm, Rate};

/// The words of a command. An empty one is shown as `''`.
fn words(command: &Cmd) -> Vec<String> {
    let word = |bytes: &[u8]| match bytes {
        b"" => "''".to_owned(),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    };
    let args = command.args_iter().map(|arg| match arg {
        Arg::Simple(bytes) => word(bytes),
        _ => panic!("not a word"),
    });
    args.collect()
}

/// The name of the script, the number of keys, the keys and the arguments.
fn said(request: &Request) -> String {
    let words = words(&request.command);
    assert_eq!(words[..2], ["EVALSHA", request.script.hash()], "how it is called");
    format!("{} {}", request.script.name, words[2..].join(" "))
}

const ACQUIRE: AcquireArgs = AcquireArgs {
    lease: 10_000,
    life: 20_000,
    weight: 2,
    capacity: Capacity::of(3),
    room: 100,
    floor: 0,
    polls: false,
    ahead: None,
};

fn acquire(args: AcquireArgs, counted: CountedArgs<'_>) -> String {
    said(&Args::Acquire(args).single(b"k", "id", 7, counted))
}

#[test]
fn an_acquire_ends_with_its_last_unusual_argument() {
    let usual = "acquire 1 k id 10000 20000 2 3 7 100";
    let plain = CountedArgs::default();
    assert_eq!(acquire(ACQUIRE, plain), usual);
    let pace = CountedArgs {
        pace: Some("10.00 1 1000"),
        ..plain
    };
    assert_eq!(acquire(ACQUIRE, pace), format!("{usual} 10.00 1 1000"));
    let patience = CountedArgs {
        patience: Some(9),
        ..plain
    };
    assert_eq!(acquire(ACQUIRE, patience), format!("{usual} '' 9"));
    for (on_mismatch, text) in [
        (OnMismatch::Adopt, "-1"),
        (OnMismatch::Set { version: 0 }, "1"),
        (OnMismatch::Set { version: u16::MAX }, "65536"),
    ] {
        let args = CountedArgs { on_mismatch, ..plain };
        assert_eq!(acquire(ACQUIRE, args), format!("{usual} '' '' 0 0 0 {text}"));
    }
    let keep = CountedArgs {
        keep: Some(5000),
        ..plain
    };
    assert_eq!(acquire(ACQUIRE, keep), format!("{usual} '' '' 0 0 0 0 5000"));
    let floor = AcquireArgs { floor: 1, ..ACQUIRE };
    assert_eq!(acquire(floor, plain), format!("{usual} '' '' 1"));
    let polls = AcquireArgs {
        polls: true,
        ..ACQUIRE
    };
    assert_eq!(acquire(polls, plain), format!("{usual} '' '' 0 3"));
    for (ahead, signed) in [(5, "+5"), (0, "+0"), (-5, "-5")] {
        let args = AcquireArgs {
            ahead: Some(ahead),
            ..ACQUIRE
        };
        assert_eq!(acquire(args, plain), format!("{usual} '' '' 0 0 {signed}"));
    }
}

#[test]
fn the_suffix_of_a_capacity_is_its_kind() {
    for (capacity, text) in [
        (Capacity::of(5), "5"),
        (Capacity::counted(5), "5c"),
        (Capacity::upgrade(5), "5u"),
    ] {
        let forced = said(&request::force(b"k", capacity, 300));
        assert_eq!(forced, format!("force 1 k {text} 300"));
    }
}

#[test]
fn requests_for_many_name_their_keys_and_then_as_many_ids() {
    let keys: [&[u8]; 2] = [b"a", b"b"];
    let ids = || ["i", "j"].into_iter();
    assert_eq!(
        said(&Args::Acquire(ACQUIRE).many(&keys, ids(), 7)),
        "acquire_many 2 a b i j 10000 20000 2 3 7 100"
    );
    let end = Args::End(EndArgs {
        capacity: Capacity::of(1),
        retention: 300,
        keep: 0,
    });
    assert_eq!(said(&end.many(&keys, ids(), 0)), "end_many 2 a b i j 1 300");
    let single = |not_after| said(&end.single(b"k", "id", not_after, CountedArgs::default()));
    assert_eq!(single(0), "end 1 k id 1 300", "no acquire is under way");
    assert_eq!(single(1), "end 1 k id 1 300 1");
    let kept = Args::End(EndArgs {
        capacity: Capacity::of(1),
        retention: 300,
        keep: 40,
    });
    let kept = said(&kept.single(b"k", "id", 0, CountedArgs::default()));
    assert_eq!(kept, "end 1 k id 1 300 0 40", "its place is the same");
    let into = CountedArgs {
        into: Some("whole"),
        ..CountedArgs::default()
    };
    let into = said(&end.single(b"k", "id", 1, into));
    assert_eq!(into, "end 1 k id 1 300 1 '' whole");
}

#[test]
fn a_tick_has_six_arguments_an_item() {
    let item = |key, op| TickArgs {
        key,
        id: "id",
        op,
        lease: 10,
        life: 20,
        capacity: Capacity::of(1),
    };
    let items = [
        item(b"a", TickOp::Renew { token: 7 }),
        item(b"b", TickOp::Extend { token: 8 }),
        item(b"c", TickOp::Refresh { polls: false }),
        item(b"d", TickOp::Refresh { polls: true }),
        item(b"e", TickOp::Secure { token: 9 }),
    ];
    assert_eq!(
        said(&request::tick(&items)),
        "tick 5 a b c d e h id 7 10 20 1 x id 8 10 20 1 w id 0 10 20 1 p id 0 10 20 1 d id 9 10 20 1"
    );
}

#[test]
fn requests_about_a_hold_name_both_attempts() {
    let take_over = |what| said(&request::take_over(what, b"k", "id", (10, 20), 7));
    assert_eq!(
        take_over(TakeOver::Adopt { old: "old", token: 5 }),
        "adopt 1 k id 10 20 old 5 7"
    );
    assert_eq!(
        take_over(TakeOver::Split { whole: "old" }),
        "split 1 k id 10 20 old 7"
    );
    let steal = TakeOver::Steal {
        capacity: Capacity::of(9),
        floor: 8,
    };
    assert_eq!(take_over(steal), "steal 1 k id 10 20 9 8 7");
    let downgrade = TakeOver::Downgrade {
        old: "old",
        token: 5,
        capacity: Capacity::of(9),
    };
    assert_eq!(take_over(downgrade), "downgrade 1 k id 10 20 old 5 9 7");
    assert_eq!(
        said(&request::merge(b"k", "id", (10, 20), "part", 7)),
        "merge 1 k id 10 20 part 7"
    );
    let resize = |what| {
        let request = request::resize(b"k", Capacity::counted(4), 20, 7, "pace", what);
        said(&request)
    };
    assert_eq!(resize(Setting::Capacity), "resize 1 k 4c 20 7 pace capacity");
    assert_eq!(resize(Setting::Pace), "resize 1 k 4c 20 7 pace pace");
    assert_eq!(said(&request::inspect(b"k", 50, None)), "inspect 1 k 50");
    assert_eq!(
        said(&request::inspect_from(b"k", 50, 100)),
        "inspect 1 k 50 0 '' 100"
    );
    assert_eq!(
        said(&request::inspect(b"k", 0, Some((1000, 7)))),
        "inspect 1 k 0 1000 7"
    );
}

#[test]
fn requests_to_latches_and_fences_end_with_their_last_unusual_argument() {
    let usual = LatchArgs {
        count: -1,
        room: 100,
        life: 20,
        memory: 30,
        until: 40,
        by: None,
        once: None,
        to: None,
        generation: 0,
        polls: false,
        adopts: false,
    };
    let latch = |args: &LatchArgs<'_>| said(&request::latch(b"k", "id", args));
    assert_eq!(latch(&usual), "latch 1 k id -1 100 20 30 40");
    let counts = LatchArgs { by: Some(2), ..usual };
    assert_eq!(latch(&counts), "latch 1 k id -1 100 20 30 40 2");
    let waits = LatchArgs {
        generation: 1,
        ..usual
    };
    assert_eq!(latch(&waits), "latch 1 k id -1 100 20 30 40 0 '' -1 1");
    let all = LatchArgs {
        once: Some(b"once"),
        to: Some(6),
        polls: true,
        ..usual
    };
    assert_eq!(latch(&all), "latch 1 k id -1 100 20 30 40 0 once 6 0 3");
    let adopts = LatchArgs {
        adopts: true,
        ..usual
    };
    assert_eq!(latch(&adopts), "latch 1 k id -1 100 20 30 40 0 '' -1 0 0 1");
    assert_eq!(
        said(&request::follow_up(b"k")),
        "latch 1 k '' -1 -1 0 0 0 0 '' -2"
    );
    assert_eq!(said(&request::peek(b"k", 50)), "peek 1 k 50");
    assert_eq!(said(&request::fence(b"f", 7, 60, None)), "fence 1 f 7 60");
    let write = request::fence(b"f", 7, 60, Some((b"r", b"value")));
    assert_eq!(said(&write), "fence 2 f r 7 60 value");
}

#[test]
fn requests_to_a_limiter_depend_on_its_algorithm() {
    let rate = Rate::per_second(NonZeroU32::new(7).expect("not zero"));
    let terms = |algorithm| Terms::new(rate, algorithm, false).expect("terms");
    let (gcra, window) = (terms(Algorithm::Gcra), terms(Algorithm::SlidingWindow));
    let reserve = |terms, most| said(&request::reserve(terms, b"k", 3, most, 11, 12));
    assert_eq!(
        reserve(&gcra, None),
        "gcra 1 k 1:g:7:1000000:1:0| -1 11 12 2000 7 428571 3 142857 1",
        "3 and 1 sevenths of a second"
    );
    let wait = Some(Duration::from_millis(250));
    assert_eq!(
        reserve(&window, wait),
        "window 1 k 1:w:7:1000000:1:0| 250000 11 12 2000 3 7 20000"
    );
    let theirs = gcra.clone().borrowed(&gcra);
    assert_eq!(
        reserve(&theirs, None),
        "gcra 1 k 1:g:7:1000000:1:0| -1 11 12 2000 7 428571 3 142857 1 1",
        "not to be made anew"
    );
    let theirs = window.clone().borrowed(&window);
    assert_eq!(
        reserve(&theirs, None),
        "window 1 k 1:w:7:1000000:1:0| -1 11 12 2000 3 7 20000 1"
    );
    let keep = Duration::from_secs(60);
    let set = gcra.clone().with(OnMismatch::Set { version: 7 }, keep, None);
    assert_eq!(
        said(&request::change(&set.expect("terms"), b"k", 12)),
        "gcra_change 1 k 1:g:7:1000000:1:0.7| 12 60000 7 1000000 1"
    );
    let of = || [(21, 20, 3), (22, 21, 7)].into_iter();
    assert_eq!(
        said(&request::refund(&gcra, b"k", of())),
        "gcra_refund 1 k 1:g:7:1000000:1:0| 21 20 428571 3 22 21 1000000 0"
    );
    assert_eq!(
        said(&request::refund(&window, b"k", of())),
        "window_refund 1 k 1:w:7:1000000:1:0| 21 20 3 22 21 7"
    );
    assert_eq!(
        said(&request::change(&gcra, b"k", 12)),
        "gcra_change 1 k 1:g:7:1000000:1:0| 12 2000 7 1000000 1"
    );
    assert_eq!(
        said(&request::change(&window, b"k", 12)),
        "window_change 1 k 1:w:7:1000000:1:0| 12 2000 20000"
    );
    assert_eq!(said(&request::forget(b"k", 12)), "limiter_reset 1 k 12");
}

#[test]
fn a_script_can_be_sent_as_text() {
    let request = request::inspect(b"k", 50, None);
    assert_eq!(
        words(&request.as_eval()),
        ["EVAL", script::INSPECT.source(), "1", "k", "50"]
    );
    assert_eq!(
        format!("{request:?}"),
        r#"Request { script: "inspect", keys: 1, .. }"#
    );
    assert_eq!(format!("{:?}", script::FENCE), r#"Script { name: "fence", .. }"#);
}

#[test]
fn the_hash_of_a_script_is_that_of_its_text() {
    assert_eq!(
        Script::digest("return 1"),
        "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
        "as the server has it"
    );
    for script in script::ALL {
        assert_eq!(script.hash(), Script::digest(script.source()), "{}", script.name);
    }
}

#[test]
fn a_guarded_script_keeps_its_line_numbers() {
    let user = "local a = 1\nreturn a -- one";
    let command = eval_guarded(b"f", 7, 60, user, &[b"a", b"b"], &[b"x"]);
    let words = words(&command);
    let (before, after) = words[1].split_once(user).expect("the user's text");
    assert!(
        before.starts_with("local fence, token, ttl = ") && before.ends_with("pcall(function() "),
        "{before}"
    );
    assert!(!before.contains('\n') && !before.contains("--"), "{before}");
    assert!(
        after.starts_with("\nend)\n"),
        "a comment at the end does not hide it: {after}"
    );
    assert_eq!(words[0], "EVAL");
    assert_eq!(words[2..], ["3", "f", "a", "b", "7", "60", "x"]);
}

#[test]
fn plain_commands() {
    assert_eq!(
        words(&plain::label_command("k", "host:1", 30)),
        ["SET", "k", "host:1", "PX", "30"]
    );
    assert_eq!(
        words(&plain::read_labels(&["a".to_owned(), "b".to_owned()])),
        ["MGET", "a", "b"]
    );
    assert_eq!(words(&plain::read_rank(b"k", "id")), ["ZRANK", "k", "id"]);
}

#[test]
fn a_band_begins_at_its_number() {
    let first = (f64::MIN, Band::Place, "below 0");
    let mut before = first.1;
    for (score, band, text) in [
        first,
        (0.0, Band::Small, "0 .. 10^11"),
        (1e11, Band::Once, "10^11 .. 10^12"),
        (1e12, Band::Holder, "10^12 .. 10^14"),
        (1e14, Band::Tomb, "10^14 .. 10^15"),
        (1e15, Band::Micros, "above 10^15"),
    ] {
        assert_eq!(Band::of(score.next_down()), before, "below {score}");
        assert_eq!(Band::of(score), band, "{score}");
        assert_eq!(band.text(), text);
        before = band;
    }
}
