//! What the disk store is to reach, and whether a report shows it.

use crate::engine::Name;
use crate::experiment::{BEYOND_CAP, FILL, GET_WARM, KILLS, PUT_ALWAYS, PUT_OS, REOPEN, case};
use crate::report::Report;

/// A figure of the report that has a limit.
struct Target {
    what: String,
    measured: Option<f64>,
    limit: f64,
    is_least: bool,
}

/// The targets with what was measured of them.
pub fn table(report: &Report) -> String {
    let measured = |target: &Target| target.measured.is_some();
    let targets: Vec<_> = targets(report).into_iter().filter(measured).collect();
    if targets.is_empty() {
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
        let measured = measured.expect("the others were left out");
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
        let row = format!("| {what} | {sign} {limit} | {measured:.3} | {verdict} |\n");
        text.push_str(&row);
    }
    text
}

fn targets(report: &Report) -> Vec<Target> {
    let mut targets = beside_others(report);
    targets.extend(by_itself(report));
    targets
}

/// So many times the operations a second of another engine. How a blocking engine is called makes much of the
/// difference, so it is shown both ways.
fn beside_others(report: &Report) -> Vec<Target> {
    let (small, large) = (1 << 10, 64 << 10);
    let limits = [
        (PUT_OS, "put 1 KiB, 16 tasks", case(small, 16), [5.0, 3.0]),
        (
            PUT_ALWAYS,
            "put 1 KiB after fdatasync, 64 tasks",
            case(small, 64),
            [5.0, 5.0],
        ),
        (
            GET_WARM,
            "warm get 1 KiB, 16 tasks",
            case(small, 16),
            [5.0, 5.0],
        ),
        (
            GET_WARM,
            "warm get 64 KiB, 16 tasks",
            case(large, 16),
            [3.0, 3.0],
        ),
    ];
    let mut targets = Vec::new();
    for (experiment, what, case, [rocksdb, fjall]) in limits {
        for (other, limit) in [
            (Name::Rocksdb, rocksdb),
            (Name::RocksdbTasks, rocksdb),
            (Name::Fjall, fjall),
            (Name::FjallTasks, fjall),
        ] {
            let of = |engine| report.summary(experiment, &case, engine, "ops_per_s");
            let times = of(Name::Milena).zip(of(other));
            targets.push(Target {
                what: format!("{what}: times {}", other.title()),
                measured: times.map(|(milena, other)| milena.median / other.median),
                limit,
                is_least: true,
            });
        }
    }
    targets
}

/// What Milena is to reach without a look at others.
fn by_itself(report: &Report) -> Vec<Target> {
    let only = |experiment, figure| {
        let cases = report.cases(experiment);
        report.summary(experiment, cases.first()?, Name::Milena, figure)
    };
    let median = |experiment, figure| only(experiment, figure).map(|it| it.median);
    let puts = case(1 << 10, 16);
    let put = |figure| report.summary(PUT_OS, &puts, Name::Milena, figure);
    // The larger of what was asked for and what that made dirty: nothing is written over here.
    let written = put("asked_per_byte").zip(put("dirtied_per_byte"));
    let written = written.map(|(asked, dirtied)| asked.median.max(dirtied.median));
    let reopened = report.summary(REOPEN, "after kill -9", Name::Milena, "open_seconds");
    let highest = only(BEYOND_CAP, "highest_part_of_cap").map(|it| it.most);
    let at_cap = median(BEYOND_CAP, "dirtied_per_byte");
    let limits = [
        ("bytes written per byte put, 1 KiB", 1.10, false, written),
        ("the same beyond the cap", 1.35, false, at_cap),
        (
            "bytes of memory per object",
            40.0,
            false,
            median(FILL, "memory_per_object"),
        ),
        ("highest part of the cap in any round", 1.0, false, highest),
        (
            "part of hot reads that hit",
            0.99,
            true,
            median(BEYOND_CAP, "hot_hit_part"),
        ),
        (
            "seconds to open after kill -9",
            2.0,
            false,
            reopened.map(|it| it.median),
        ),
        ("puts lost", 0.0, false, median(KILLS, "lost")),
        (
            "deletes resurrected",
            0.0,
            false,
            median(KILLS, "resurrected"),
        ),
    ];
    let target = |(what, limit, is_least, measured): (&str, f64, bool, Option<f64>)| Target {
        what: what.to_owned(),
        measured,
        limit,
        is_least,
    };
    limits.into_iter().map(target).collect()
}
