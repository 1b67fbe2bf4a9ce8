//! The headers of the scripts and the enums say the same.

use std::collections::BTreeSet;

use redis::Value;

use super::super::*;
use crate::wire::script;

/// What reads the answers of some scripts: the name of the variant.
struct Contract {
    scripts: &'static [&'static str],
    read: fn(Reply) -> Result<&'static str>,
    variants: &'static [&'static str],
}

/// Names the variants of an enum: one that is left out does not compile, one that no header has fails the test.
macro_rules! contract {
    ($scripts:expr, $type:ident { $($name:ident),+ }, $read:expr) => {
        Contract {
            scripts: &$scripts,
            read: |reply| {
                let read: fn(Reply) -> Result<$type> = $read;
                Ok(match read(reply)? {
                    $($type::$name { .. } => stringify!($name)),+
                })
            },
            variants: &[$(stringify!($name)),+],
        }
    };
}

/// Scripts whose answers nobody reads, and those for many, whose parts are the answers of others.
const NOT_READ: [&str; 4] = ["gcra_refund", "window_refund", "acquire_many", "end_many"];

#[allow(clippy::too_many_lines, reason = "a table")]
fn contracts() -> Vec<Contract> {
    vec![
        contract!(
            ["acquire"],
            AcquireReply {
                Fresh,
                Granted,
                Queued,
                Busy,
                Late,
                Ended,
                QueueFull,
                FloorAhead,
                Foreign,
                OtherCapacity,
                TooLarge,
                BaseEnded,
                TooLate,
                OtherRate
            },
            |reply| Ok(AcquireReply::read(&reply)?.1)
        ),
        contract!(
            ["end"],
            Had {
                Nothing,
                Forced,
                Hold,
                Place,
                Foreign
            },
            |reply| Ok(EndReply::read(&reply)?.had)
        ),
        contract!(
            ["tick"],
            TickItem {
                Held,
                Granted,
                Queued,
                Gone,
                Lost,
                Foreign,
                Failed
            },
            |reply| TickItem::read(&reply)
        ),
        contract!(
            ["adopt", "split", "downgrade", "steal"],
            TakeOverReply {
                Done,
                Ended,
                Late,
                Gone,
                FloorAhead,
                Foreign
            },
            |reply| Ok(TakeOverReply::read(&reply)?.1)
        ),
        contract!(
            ["merge"],
            MergeReply {
                Done,
                Ended,
                Late,
                Foreign
            },
            |reply| Ok(MergeReply::read(&reply)?.1)
        ),
        contract!(["resize"], ResizeReply { Done, Late, Foreign }, |reply| Ok(
            ResizeReply::read(&reply)?.1
        )),
        contract!(
            ["force"],
            ForceReply {
                Nobody,
                Ended,
                Foreign
            },
            |reply| ForceReply::read(&reply)
        ),
        contract!(
            ["inspect"],
            InspectReply {
                Nothing,
                Record,
                Foreign
            },
            InspectReply::read
        ),
        contract!(
            ["latch"],
            LatchReply {
                Left,
                Passed,
                Queued,
                Unfinished,
                Late,
                Ended,
                QueueFull,
                Foreign,
                OtherCount,
                Missing,
                Reset
            },
            |reply| Ok(LatchReply::read(&reply)?.1)
        ),
        contract!(
            ["peek"],
            PeekReply {
                Missing,
                Latch,
                Foreign
            },
            PeekReply::read
        ),
        contract!(
            ["fence"],
            AdmitReply {
                Stale,
                Admitted,
                TooFarAhead,
                Foreign
            },
            |reply| AdmitReply::read(&reply)
        ),
        contract!(
            ["fence_pipeline"],
            PipelineReply {
                Stale,
                TooFarAhead,
                Ran,
                Foreign
            },
            PipelineReply::read
        ),
        contract!(
            ["gcra", "window"],
            ReserveReply {
                Reserved,
                Refused,
                Late,
                Foreign,
                Other,
                Gone
            },
            |reply| Ok(ReserveReply::read(reply)?.1)
        ),
        contract!(
            ["gcra_change", "window_change", "limiter_reset"],
            ChangeReply {
                Done,
                Late,
                Foreign,
                Other
            },
            |reply| Ok(ChangeReply::read(reply)?.1)
        ),
    ]
}

/// The shapes of the answers, as the header of the script documents them.
fn documented(name: &str) -> Vec<String> {
    let script = script::ALL.iter().find(|script| script.name == name);
    let source = script.expect("a script").source();
    let returns = source.lines().skip_while(|line| !line.starts_with("-- Returns"));
    let mut shapes = Vec::new();
    for line in returns {
        let text = line.get(12..).unwrap_or("");
        if !line.starts_with("-- Returns") && !line.starts_with("--          ") {
            break; // what stands below is about something else
        }
        if !text.is_empty() && !text.starts_with(' ') {
            shapes.push(text.split("  ").next().unwrap_or("").trim().to_owned());
        }
    }
    shapes
}

/// A value of a field, by its name.
fn sample(field: &str) -> Value {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    match field {
        "stamp_us" => Value::Int(1_700_000_000_000_000),
        "config" | "text" => text("1:g:1:1000:1:0|"),
        "holders" => Value::Array(vec![text("id"), text("5")]),
        "waiters" => Value::Array(vec![text("id")]),
        "replies" | "weights" | "claims" | "seen" => Value::Array(vec![Value::Int(1)]),
        number => Value::Int(number.parse().unwrap_or(1)),
    }
}

fn value_of(shape: &str) -> Value {
    match shape.strip_prefix('{').and_then(|rest| rest.split('}').next()) {
        Some(fields) => Value::Array(fields.split(',').map(|field| sample(field.trim())).collect()),
        None => sample(shape.split(' ').next().unwrap_or("")), // `0 or 1`: one of them
    }
}

fn shapes_of(script: &str) -> Vec<String> {
    let mut shapes = documented(script);
    // What a tick answers is a list of items; those are documented below it.
    shapes.retain(|shape| !shape.contains("..."));
    shapes
}

#[test]
fn every_documented_answer_is_read_and_every_variant_is_documented() {
    for contract in contracts() {
        let mut met = BTreeSet::new();
        for script in contract.scripts {
            let shapes = shapes_of(script);
            assert!(!shapes.is_empty(), "{script}: its header has no answers");
            for shape in shapes {
                let variant = (contract.read)(Reply(value_of(&shape)));
                met.insert(variant.unwrap_or_else(|error| panic!("{script}: {shape}: {error}")));
            }
        }
        for variant in contract.variants {
            assert!(
                met.contains(variant),
                "{:?}: no header has {variant}",
                contract.scripts
            );
        }
    }
}

#[test]
fn an_answer_that_no_header_has_is_an_error() {
    for contract in contracts() {
        let shapes: Vec<String> = contract
            .scripts
            .iter()
            .flat_map(|script| shapes_of(script))
            .collect();
        for code in -1..20 {
            let begins = [format!("{{{code}}}"), format!("{{{code},")];
            let known = shapes
                .iter()
                .any(|shape| begins.iter().any(|begin| shape.starts_with(begin.as_str())));
            let mut fields = vec![Value::Int(code)];
            fields.extend((0..8).map(|_| sample("stamp_us")));
            let read = (contract.read)(Reply(Value::Array(fields)));
            assert!(
                known || read.is_err(),
                "{:?}: {code} is read as {read:?}",
                contract.scripts
            );
        }
    }
}

#[test]
fn every_script_has_a_contract() {
    let contracts = contracts();
    let read: BTreeSet<&str> = contracts
        .iter()
        .flat_map(|contract| contract.scripts)
        .copied()
        .collect();
    for script in script::ALL {
        let times = usize::from(read.contains(script.name)) + usize::from(NOT_READ.contains(&script.name));
        assert_eq!(times, 1, "{}", script.name);
    }
}
