//! What the disk store is to reach, and whether a report shows it.

use crate::engine::Name;
use crate::experiment::{BEYOND_CAP, FILL, GET_WARM, KILLS, PUT_ALWAYS, PUT_OS, REOPEN, case};
use crate::report::Report;

/// A figure of the report that has a limit.
struct Target {
    what: &'static str,
    measured: Option<f64>,
    limit: f64,
    is_least: bool,
}

/// The targets with what was measured of them.
pub fn table(report: &Report) -> String {
    let targets = targets(report);
    if targets.iter().all(|target| target.measured.is_none()) {
        return String::new();
    }
    let mut text = "\n**targets**\n\n| | to reach | measured | |\n|---|---:|---:|---|\n".to_owned();
    for Target {
        what,
        measured,
        limit,
        is_least,
    } in targets
    {
        let sign = if is_least { "≥" } else { "≤" };
        let row = match measured {
            None => format!("| {what} | {sign} {limit} | | not measured |\n"),
            Some(measured) => {
                let reached = if is_least {
                    measured >= limit
                } else {
                    measured <= limit
                };
                let verdict = if reached {
                    "reached"
                } else {
                    "**not reached**"
                };
                let digits = if measured >= 100.0 { 0 } else { 3 };
                format!("| {what} | {sign} {limit} | {measured:.digits$} | {verdict} |\n")
            }
        };
        text.push_str(&row);
    }
    text
}

fn targets(report: &Report) -> Vec<Target> {
    let small = 1 << 10;
    let large = 64 << 10;
    let ratio = |experiment, case: &str, other| {
        let of = |engine| report.summary(experiment, case, engine, "ops_per_s");
        Some(of(Name::Milena)?.median / of(other)?.median)
    };
    // Of an experiment with one case: the worst round.
    let only = |experiment, figure| {
        let cases = report.cases(experiment);
        report.summary(experiment, cases.first()?, Name::Milena, figure)
    };
    let median = |experiment, figure| only(experiment, figure).map(|it| it.median);
    // The larger of what it asked for and what that made dirty.
    let amplification = |experiment, case: Option<&str>| {
        let of = |figure| report.summary(experiment, case?, Name::Milena, figure);
        Some(
            of("asked_per_byte")?
                .median
                .max(of("dirtied_per_byte")?.median),
        )
    };
    let reopened = report.summary(REOPEN, "after kill -9", Name::Milena, "open_seconds");
    let at_least = |what, limit, measured| Target {
        what,
        measured,
        limit,
        is_least: true,
    };
    let at_most = |what, limit, measured| Target {
        what,
        measured,
        limit,
        is_least: false,
    };
    let (puts, durable) = (case(small, 16), case(small, 64));
    let (gets, large_gets) = (case(small, 16), case(large, 16));
    vec![
        at_least(
            "put 1 KiB, 16 tasks, times RocksDB",
            5.0,
            ratio(PUT_OS, &puts, Name::Rocksdb),
        ),
        at_least(
            "put 1 KiB, 16 tasks, times fjall",
            3.0,
            ratio(PUT_OS, &puts, Name::Fjall),
        ),
        at_least(
            "put 1 KiB after fdatasync, 64 tasks, times RocksDB",
            5.0,
            ratio(PUT_ALWAYS, &durable, Name::Rocksdb),
        ),
        at_least(
            "warm get 1 KiB, 16 tasks, times RocksDB",
            5.0,
            ratio(GET_WARM, &gets, Name::Rocksdb),
        ),
        at_least(
            "warm get 1 KiB, 16 tasks, times fjall",
            5.0,
            ratio(GET_WARM, &gets, Name::Fjall),
        ),
        at_least(
            "warm get 64 KiB, 16 tasks, times RocksDB",
            3.0,
            ratio(GET_WARM, &large_gets, Name::Rocksdb),
        ),
        at_least(
            "warm get 64 KiB, 16 tasks, times fjall",
            3.0,
            ratio(GET_WARM, &large_gets, Name::Fjall),
        ),
        at_most(
            "bytes written per byte put at 1 KiB, nothing reclaimed",
            1.10,
            amplification(PUT_OS, Some(&puts)),
        ),
        at_most(
            "the same beyond the cap",
            1.35,
            median(BEYOND_CAP, "dirtied_per_byte"),
        ),
        at_most(
            "bytes of memory per object",
            40.0,
            median(FILL, "memory_per_object"),
        ),
        at_most(
            "highest part of the cap in any round",
            1.0,
            only(BEYOND_CAP, "highest_part_of_cap").map(|it| it.most),
        ),
        at_least(
            "part of hot reads that hit",
            0.99,
            median(BEYOND_CAP, "hot_hit_part"),
        ),
        at_most(
            "seconds to open after kill -9",
            2.0,
            reopened.map(|it| it.median),
        ),
        at_most("puts lost", 0.0, median(KILLS, "lost")),
        at_most("deletes resurrected", 0.0, median(KILLS, "resurrected")),
    ]
}
