//! Numbers of the engine that the pages state are those of the code.

use crate::read;

const SAFETY: &str = "docs/safety.md";
const DESIGN: &str = "docs/design.md";
const OPERATIONS: &str = "docs/operations.md";
const README: &str = "README.md";
const PERFORMANCE: &str = "docs/performance.md";

/// A page and what it says; a file, by its way from `crates`, and what it has if that is so.
const FIGURES: [(&str, &str, &str, &str); 91] = [
    // What a step of a script does at most.
    (
        DESIGN,
        "removes at most 250 expired holds",
        "core/src/wire/record.rs",
        "(\"ENDS\", \"250\")",
    ),
    (
        DESIGN,
        "looks at 1 000 waiters at most",
        "core/src/wire/record.rs",
        "(\"SCAN\", \"1000\")",
    ),
    (
        DESIGN,
        "and grants to 100",
        "core/src/wire/record.rs",
        "(\"GRANTS\", \"100\")",
    ),
    (
        SAFETY,
        "more than 250 expired holds",
        "core/src/wire/record.rs",
        "(\"ENDS\", \"250\")",
    ),
    (
        SAFETY,
        "at most 250 expired holds are removed",
        "core/src/wire/record.rs",
        "(\"ENDS\", \"250\")",
    ),
    (
        SAFETY,
        "1000 waiters looked at",
        "core/src/wire/record.rs",
        "(\"SCAN\", \"1000\")",
    ),
    (
        SAFETY,
        "forced release of more than 100 holds",
        "core/src/wire/record.rs",
        "(\"GRANTS\", \"100\")",
    ),
    (
        SAFETY,
        "lets at most 1000 waiters go in a step",
        "core/src/wire/record.rs",
        "(\"PORTION\", \"1000\")",
    ),
    (
        DESIGN,
        "has a budget of 1000",
        "core/src/wire/record.rs",
        "(\"PORTION\", \"1000\")",
    ),
    (
        DESIGN,
        "notifying a client costs four more",
        "core/src/wire/record.rs",
        "(\"TELLING\", \"4\")",
    ),
    (
        DESIGN,
        "at most 500 by each",
        "core/src/wire/record.rs",
        "(\"MARKS\", \"500\")",
    ),
    (
        DESIGN,
        "units of 512 ms",
        "core/src/wire/record.rs",
        "(\"UNIT\", \"512\")",
    ),
    // Batches and requests under way.
    (
        DESIGN,
        "A batch has at most 64 requests",
        "core/src/runtime/batch.rs",
        "const MOST: usize = 64;",
    ),
    (
        DESIGN,
        "fewer than four of its verb",
        "core/src/runtime/batch.rs",
        "const DIRECT: usize = 4;",
    ),
    (
        DESIGN,
        "fewer than four of its batches",
        "core/src/runtime/batch.rs",
        "const BATCHES: usize = 4;",
    ),
    (
        DESIGN,
        "within a quarter of a second, up to 64",
        "core/src/base/limit.rs",
        "const BATCHES: usize = 64;",
    ),
    (
        DESIGN,
        "within a quarter of a second",
        "core/src/runtime/batch.rs",
        "SOON: Duration = Duration::from_millis(250);",
    ),
    (
        DESIGN,
        "with at most 100 items",
        "core/src/tasks/keeper/pace.rs",
        "const BATCH: usize = 100;",
    ),
    (
        DESIGN,
        "of places are under way: 8 and 4",
        "core/src/tasks/keeper/plan.rs",
        "const RENEWALS: usize = 8;",
    ),
    (
        DESIGN,
        "of places are under way: 8 and 4",
        "core/src/tasks/keeper/plan.rs",
        "const PLACES: usize = 4;",
    ),
    (
        DESIGN,
        "no more than 256 are under way",
        "core/src/tasks/keeper/mod.rs",
        "const TICKS: usize = 256;",
    ),
    (
        DESIGN,
        "256 ends that may be under way",
        "core/src/tasks/keeper/mod.rs",
        "const ENDS: usize = 256;",
    ),
    (
        DESIGN,
        "at most 128 at a time",
        "core/src/tasks/keeper/mod.rs",
        "const DEBTS: usize = 128;",
    ),
    (
        DESIGN,
        "at most 100 items and 16 at a time",
        "core/src/tasks/keeper/renew.rs",
        "const ALONE: usize = 16;",
    ),
    (
        DESIGN,
        "| 1024, in the driver",
        "core/src/connection/opening.rs",
        "const PIPELINE: usize = 1024;",
    ),
    // Pauses and times.
    (
        DESIGN,
        "from 10 ms to 500 ms after failures",
        "core/src/tasks/keeper/end.rs",
        "FAILED: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));",
    ),
    (
        DESIGN,
        "from 50 ms to 5 s after refusals",
        "core/src/tasks/keeper/end.rs",
        "REFUSED: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));",
    ),
    (
        DESIGN,
        "four leases and 47 s",
        "core/src/tasks/keeper/end.rs",
        "Duration::from_secs(31 + 8 + 8);",
    ),
    (
        DESIGN,
        "four leases and 47 s",
        "core/src/tasks/keeper/end.rs",
        "const LEASES: u32 = 4;",
    ),
    (
        DESIGN,
        "for 15 heartbeats",
        "core/src/runtime/shared.rs",
        "const IDLE: u32 = 15;",
    ),
    (
        SAFETY,
        "after 15 heartbeats",
        "core/src/runtime/shared.rs",
        "const IDLE: u32 = 15;",
    ),
    (
        DESIGN,
        "TCP keepalive (10 s)",
        "core/src/connection/endpoint.rs",
        ".with_time(Duration::from_secs(10))",
    ),
    (
        DESIGN,
        "has arrived for 5 ms",
        "core/src/connection/ready.rs",
        "FRESH: Duration = Duration::from_millis(5);",
    ),
    (
        SAFETY,
        "within 5 ms of the server's last answer",
        "core/src/connection/ready.rs",
        "FRESH: Duration = Duration::from_millis(5);",
    ),
    (
        DESIGN,
        "lasted for more than a second",
        "core/src/connection/node.rs",
        "GOOD: Duration = Duration::from_secs(1);",
    ),
    (
        DESIGN,
        "after three in vain",
        "core/src/tasks/inbox.rs",
        "const FOLLOWED: u32 = 3;",
    ),
    (
        DESIGN,
        "a rest of 1 µs for each attempt",
        "core/src/runtime/schedule.rs",
        "REST: Duration = Duration::from_micros(1);",
    ),
    (
        DESIGN,
        "at most 50 ms, in which",
        "core/src/runtime/schedule.rs",
        "REST_MOST: Duration = Duration::from_millis(50);",
    ),
    (
        DESIGN,
        "at least every 3 s",
        "core/src/runtime/schedule.rs",
        "TICK_MOST: Duration = Duration::from_secs(3);",
    ),
    (
        DESIGN,
        "overdue by 2 ms",
        "core/src/runtime/schedule.rs",
        "GRACE: Duration = Duration::from_millis(2);",
    ),
    (
        DESIGN,
        "within 100 ms after guards",
        "core/src/runtime/schedule.rs",
        "ROUND: Duration = Duration::from_millis(100);",
    ),
    (
        DESIGN,
        "at least four average round trips",
        "core/src/base/limit.rs",
        "const TRIPS: u32 = 4;",
    ),
    (
        DESIGN,
        "stamped more than a day ahead",
        "core/src/runtime/deliver.rs",
        "const FUTURE: u64 = 86_400_000_000;",
    ),
    (
        DESIGN,
        "pieces of a fiftieth of the window",
        "core/src/wire/terms.rs",
        "const PIECES: u64 = 50;",
    ),
    (
        README,
        "The tasks of the demo work for 12 s",
        "xtask/src/demo/mod.rs",
        "seconds: 12,",
    ),
    (
        README,
        "The demo starts four processes with eight tasks each",
        "xtask/src/demo/mod.rs",
        "workers: 4, tasks: 8,",
    ),
    // Shares and pauses that have no name of their own.
    (
        DESIGN,
        "at most a quarter of all that wait or are under way, though up to four",
        "core/src/runtime/batch.rs",
        ".sum::<usize>() .div_ceil(BATCHES) .clamp(DIRECT, MOST)",
    ),
    (
        DESIGN,
        "come too late to be used (two thirds of the lease)",
        "core/src/base/limit.rs",
        "(trip * TRIPS).clamp(third, lease * 2 / 3).min(timeout)",
    ),
    (
        DESIGN,
        "repeated after a sixth of the lease or half of the remaining time",
        "core/src/base/limit.rs",
        "(trip * TRIPS).clamp(lease / 6, lease / 3).min(left / 2)",
    ),
    (
        DESIGN,
        "(one and a half round trips)",
        "core/src/base/limit.rs",
        "let overdue = trip + trip / 2;",
    ),
    (
        DESIGN,
        "spread over two thirds of the pause between two rounds",
        "core/src/tasks/keeper/plan.rs",
        "let time = pause * 2 / 3; // for the whole round",
    ),
    (
        DESIGN,
        "are sent again after 250 ms, when the round is over",
        "core/src/tasks/keeper/plan.rs",
        "*from = now + POLL_MOST;",
    ),
    (
        DESIGN,
        "are sent again after 250 ms, when the round is over",
        "core/src/runtime/schedule.rs",
        "POLL_MOST: Duration = Duration::from_millis(250);",
    ),
    (
        DESIGN,
        "two thirds of the lease from the first copy, at most the operation timeout",
        "core/src/ops/held/take_over.rs",
        "start + shared.options.operation_timeout.min(spec.lease * 2 / 3)",
    ),
    (
        DESIGN,
        "for no longer than 250 ms, so sentinels",
        "core/src/connection/sentinel.rs",
        "GRACE: Duration = Duration::from_millis(250);",
    ),
    (
        DESIGN,
        "rewritten after a third of its life, which is the longest lease and the retention",
        "core/src/tasks/label.rs",
        "let life = longest + shared.options.retention;",
    ),
    (
        DESIGN,
        "rewritten after a third of its life, which",
        "core/src/tasks/label.rs",
        "written = Some(record); life / 3",
    ),
    // A third of these two together.
    (
        DESIGN,
        "every 103 s by default",
        "core/src/types/options.rs",
        "lease: Duration::from_secs(10),",
    ),
    (
        DESIGN,
        "every 103 s by default",
        "core/src/types/options.rs",
        "retention: Duration::from_secs(5 * 60),",
    ),
    (
        DESIGN,
        "(45 s by default)",
        "core/src/types/options.rs",
        "heartbeat: Duration::from_secs(3),",
    ),
    (
        DESIGN,
        "ends after at most 12 h",
        "core/src/ops/request.rs",
        "unavailable_after.min(KEEP / 2)",
    ),
    (
        OPERATIONS,
        "with pauses from a quarter of a second up to a minute",
        "core/src/tasks/supervisor.rs",
        "RENEWING: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));",
    ),
    (
        SAFETY,
        "two ticks and a second (7 s with the default lease)",
        "core/src/lua/let_in.lua",
        "local tick = math.min(3000, (most or 9000) / 3) silent = unseen * %UNIT% - 1000 > 2 * tick",
    ),
    (
        SAFETY,
        "claim window (5 s with the default lease)",
        "core/src/types/options.rs",
        "(lease / 2).clamp(Duration::from_secs(1), Duration::from_secs(10))",
    ),
    // What the benches measure, and their bars.
    (
        PERFORMANCE,
        "up to 64 acquires or releases in one request",
        "core/src/runtime/batch.rs",
        "const MOST: usize = 64;",
    ),
    (
        PERFORMANCE,
        "`server_us` of a free mutex 1.6 × that of bare scripts",
        "../benches/src/works/free.rs",
        "const MUTEX: f64 = 1.6;",
    ),
    (
        PERFORMANCE,
        "of a semaphore with a rate 1.5 × one without",
        "../benches/src/works/free.rs",
        "const WITH_RATE: f64 = 1.5;",
    ),
    (
        PERFORMANCE,
        "1.05 × for writers",
        "../benches/src/works/cost.rs",
        "\"rwlock-writers\" => 1.05,",
    ),
    (
        PERFORMANCE,
        "1.1 × for the fair mutex, one write in ten and one permit a turn",
        "../benches/src/works/cost.rs",
        "\"fair\" | \"rwlock-one-write-in-ten\" | \"semaphore-1-of-1\" | \"semaphore-1-of-3\" => 1.1,",
    ),
    (
        PERFORMANCE,
        "1.4 × for priorities, upgradable readers, owners and several permits",
        "../benches/src/works/cost.rs",
        "\"fair-two-priorities\" | \"rwlock-upgradable\" | \"reentrant\" | \"semaphore-1-to-3-of-5\" => 1.4,",
    ),
    (
        PERFORMANCE,
        "crowded 1.3 × its own turn with one task",
        "../benches/src/works/cost.rs",
        "Metric::Server => row.floor(floor).limit(1.3),",
    ),
    (
        PERFORMANCE,
        "the time of its scripts, 2.1 × floor",
        "../benches/src/works/lanes.rs",
        "const SERVER: f64 = 2.1;",
    ),
    (
        PERFORMANCE,
        "with 100 waiters 1.7 ×, with 5 000 waiters 1.2 × that with one",
        "../benches/src/works/deep_queue.rs",
        "(100, Some(1.7)), (1000, None), (5000, Some(1.2))",
    ),
    (
        PERFORMANCE,
        "8 clients of 8 tasks, empty section",
        "../benches/src/works/contended.rs",
        "const CLIENTS: usize = 8; const TASKS: usize = 8;",
    ),
    (
        PERFORMANCE,
        "1 000 waiters of 10 clients, on one lock and on 1 000, for 10 s",
        "../benches/src/works/waiting.rs",
        "const CLIENTS: usize = 10; const WAITERS: usize = 1000; const WINDOW: Duration = Duration::from_secs(10);",
    ),
    (
        PERFORMANCE,
        "10 000 guards of one client, for 3 rounds or more",
        "../benches/src/works/renewal.rs",
        "const GUARDS: usize = 10_000;",
    ),
    (
        PERFORMANCE,
        "the client's processor time in a round, 5 % of a core",
        "../benches/src/works/renewal.rs",
        "const SHARE: f64 = 0.05;",
    ),
    (
        PERFORMANCE,
        "1 000 readers at most 2 × one",
        "../benches/src/works/reads.rs",
        "const READERS: usize = 1000; const LIMIT: f64 = 2.0;",
    ),
    (
        PERFORMANCE,
        "acquire + release of one permit of ten",
        "../benches/src/works/pairs.rs",
        "const PERMITS: u32 = 10;",
    ),
    (
        PERFORMANCE,
        "`longest_ms`, the longest script, 5;",
        "../benches/src/works/size/scene.rs",
        "const LONGEST: f64 = 5.0;",
    ),
    (
        PERFORMANCE,
        "in waves of 1 000 requests",
        "../benches/src/works/size/crowd.rs",
        "const WAVE: usize = 1000;",
    ),
    (
        PERFORMANCE,
        "16 count-downs (`server_us` is for one)",
        "../benches/src/works/size/deep.rs",
        "const COUNTS: usize = 16;",
    ),
    (
        PERFORMANCE,
        "the operation is measured again, three times at most",
        "../benches/src/works/size/mod.rs",
        "const TRIES: usize = 3;",
    ),
    (
        PERFORMANCE,
        "which notes scripts of 0.5 ms or more",
        "../benches/src/stage.rs",
        "const SLOW: i64 = 500;",
    ),
    (
        PERFORMANCE,
        "does not end within a minute",
        "../benches/src/works/size/scene.rs",
        "LIMIT: Duration = Duration::from_secs(60);",
    ),
    (
        PERFORMANCE,
        "1 000 calls a second of all kinds, each with 20 ms",
        "../benches/src/works/outage.rs",
        "const RATE: u32 = 1000;",
    ),
    (
        PERFORMANCE,
        "1 000 calls a second of all kinds, each with 20 ms",
        "../benches/src/works/outage.rs",
        "PATIENCE: Duration = Duration::from_millis(20);",
    ),
    (
        PERFORMANCE,
        "on 100 names of each",
        "../benches/src/works/outage.rs",
        "const NAMES: u32 = 100;",
    ),
    (
        PERFORMANCE,
        "per `waiter` (of 5 000), per `permit` (of 1 000)",
        "../benches/src/works/memory.rs",
        "const WAITERS: usize = 5000; const PERMITS: u32 = 1000;",
    ),
    (
        PERFORMANCE,
        "the longest pause between two tries to connect, 1 s (`reconnect_backoff`)",
        "core/src/types/options.rs",
        "reconnect_backoff: (Duration::from_millis(20), Duration::from_secs(1)),",
    ),
    (
        PERFORMANCE,
        "for the retention (5 minutes)",
        "core/src/types/options.rs",
        "retention: Duration::from_secs(5 * 60),",
    ),
];

/// The same with every line break and indentation as one blank.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_pages_state_the_numbers_of_the_code() {
    for (page, says, file, has) in FIGURES {
        assert!(
            in_one_line(&read(page)).contains(says),
            "{page} does not say: {says}"
        );
        let code = in_one_line(&read(format!("crates/{file}")));
        assert!(
            code.contains(has),
            "{page} says: {says}; but crates/{file} has not: {has}"
        );
    }
}
