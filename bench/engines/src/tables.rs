//! The tables of docs/benchmarks.md, out of a report.

use std::fmt::Write;

use crate::engine::Name;
use crate::experiment::{BEYOND_CAP, FILL, GET_COLD, GET_WARM, KILLS, PUT_ALWAYS, PUT_OS, REOPEN};
use crate::report::{Report, Summary};
use crate::targets;

/// How a figure is written.
#[derive(Clone, Copy)]
enum Unit {
    /// Thousands a second, with the spread of the rounds.
    KiloPerSecond,
    Microseconds,
    Factor,
    Percent,
    Bytes,
    Mebibytes,
    Seconds,
    Count,
}

/// What is shown after another engine's figure: how Milena's compares with it.
#[derive(Clone, Copy, PartialEq)]
enum Ratio {
    None,
    /// More is better: Milena's figure divided by the other's.
    More,
    /// Less is better: the other's divided by Milena's.
    Less,
}

/// One table: what it is called, which figure it shows, and how.
type Shown = (&'static str, &'static str, Unit, Ratio);

const OF_PUTS: &[Shown] = &[
    ("k ops/s", "ops_per_s", Unit::KiloPerSecond, Ratio::More),
    ("MB/s of values", "mb_per_s", Unit::Count, Ratio::None),
    (
        "processor time a put",
        "processor_us",
        Unit::Microseconds,
        Ratio::Less,
    ),
    (
        "99th percentile of a put",
        "p99_us",
        Unit::Microseconds,
        Ratio::None,
    ),
    (ASKED, "asked_per_byte", Unit::Factor, Ratio::Less),
    (DIRTIED, "dirtied_per_byte", Unit::Factor, Ratio::Less),
    (ON_DISK, "disk_per_user_byte", Unit::Factor, Ratio::None),
    (
        "of what was put, found after reopening",
        "kept",
        Unit::Percent,
        Ratio::None,
    ),
];

const OF_GETS: &[Shown] = &[
    ("k ops/s", "ops_per_s", Unit::KiloPerSecond, Ratio::More),
    ("MB/s of values", "mb_per_s", Unit::Count, Ratio::None),
    (
        "processor time a get",
        "processor_us",
        Unit::Microseconds,
        Ratio::Less,
    ),
    (
        "99th percentile of a get",
        "p99_us",
        Unit::Microseconds,
        Ratio::None,
    ),
    (
        "bytes fetched from the medium a get",
        "fetched_per_get",
        Unit::Bytes,
        Ratio::None,
    ),
    (MISSED, "miss_part", Unit::Percent, Ratio::None),
];

const OF_REOPENING: &[Shown] = &[
    (
        "until everything is served",
        "open_seconds",
        Unit::Seconds,
        Ratio::Less,
    ),
    (
        "memory per object, once open",
        "memory_per_object",
        Unit::Bytes,
        Ratio::None,
    ),
    (MISSED, "miss_part", Unit::Percent, Ratio::None),
];

/// A row of a table with one case.
type Row = (&'static str, &'static str, Unit);

const OF_FILL: &[Row] = &[
    ("filled at, k ops/s", "ops_per_s", Unit::KiloPerSecond),
    ("memory per object", "memory_per_object", Unit::Bytes),
    ("most memory, MiB", "memory_peak_bytes", Unit::Mebibytes),
    (ASKED, "asked_per_byte", Unit::Factor),
    (DIRTIED, "dirtied_per_byte", Unit::Factor),
    (ON_DISK, "disk_per_user_byte", Unit::Factor),
];

const OF_KILLS: &[Row] = &[
    ("kills", "kills", Unit::Count),
    ("acknowledged puts and deletes", "acknowledged", Unit::Count),
    ("puts lost", "lost", Unit::Count),
    ("deletes resurrected", "resurrected", Unit::Count),
    ("older values served", "stale", Unit::Count),
    ("wrong bytes served", "wrong", Unit::Count),
];

const BEYOND: &[Row] = &[
    ("hot reads that hit", "hot_hit_part", Unit::Percent),
    ("hot keys there at the end", "hot_kept_part", Unit::Percent),
    (
        "highest bytes in files, of the cap",
        "highest_part_of_cap",
        Unit::Percent,
    ),
    (
        "highest bytes in files, MiB",
        "highest_bytes",
        Unit::Mebibytes,
    ),
    (
        "highest bytes in blocks, MiB",
        "highest_allocated",
        Unit::Mebibytes,
    ),
    (
        "highest in deleted but open files, MiB",
        "highest_deleted_but_open",
        Unit::Mebibytes,
    ),
    ("looks at the files", "looks", Unit::Count),
    (ASKED, "asked_per_byte", Unit::Factor),
    (DIRTIED, "dirtied_per_byte", Unit::Factor),
    (
        "puts (and as many gets), k ops/s",
        "puts_per_s",
        Unit::KiloPerSecond,
    ),
    (
        "99.9th percentile of a put and a get",
        "p999_us",
        Unit::Microseconds,
    ),
    ("slowest put and get", "max_us", Unit::Microseconds),
];

const ASKED: &str = "bytes written to files per byte put";
const DIRTIED: &str = "bytes of pages made dirty per byte put";
const ON_DISK: &str = "bytes on disk per byte put";
const MISSED: &str = "gets that missed";

/// All tables, in Markdown.
pub fn all(report: &Report) -> String {
    let mut text = format!("Machine: {}.\n", report.machine);
    if !report.has_fast_crc {
        text.push_str(
            "\n**RocksDB was compiled without checksum instructions and is at a disadvantage.**\n",
        );
    }
    for (experiment, shown) in [
        (PUT_OS, OF_PUTS),
        (PUT_ALWAYS, OF_PUTS),
        (GET_WARM, OF_GETS),
        (GET_COLD, OF_GETS),
        (REOPEN, OF_REOPENING),
    ] {
        for shown in shown {
            matrix(&mut text, report, experiment, *shown);
        }
    }
    list(&mut text, report, FILL, OF_FILL);
    list(&mut text, report, KILLS, OF_KILLS);
    list(&mut text, report, BEYOND_CAP, BEYOND);
    text.push_str(&targets::table(report));
    for failure in &report.failures {
        let _ = writeln!(text, "\n**Failed:** {failure}");
    }
    text
}

/// A row for each case, a column for each engine.
fn matrix(text: &mut String, report: &Report, experiment: &str, shown: Shown) {
    let (title, figure, unit, ratio) = shown;
    let engines = report.engines(experiment);
    let row = |case: &str| -> Vec<String> {
        let of = |engine| report.summary(experiment, case, engine, figure);
        let milena = of(Name::Milena);
        let cell = |engine: &Name| {
            let Some(summary) = of(*engine) else {
                return String::new();
            };
            let ratio = if *engine == Name::Milena {
                Ratio::None
            } else {
                ratio
            };
            unit.write(summary) + &compared(milena, summary, ratio)
        };
        engines.iter().map(cell).collect()
    };
    let cases = report.cases(experiment);
    let rows: Vec<_> = cases
        .into_iter()
        .map(|case| (case.to_owned(), row(case)))
        .collect();
    table(text, report, experiment, title, &engines, &rows);
}

/// A row for each figure, for an experiment with one case.
fn list(text: &mut String, report: &Report, experiment: &str, figures: &[Row]) {
    let engines = report.engines(experiment);
    for case in report.cases(experiment) {
        let row = |figure: &str, unit: Unit| -> Vec<String> {
            let of = |engine: &Name| report.summary(experiment, case, *engine, figure);
            let cell = |engine| of(engine).map_or(String::new(), |it| unit.write(it));
            engines.iter().map(cell).collect()
        };
        let rows: Vec<_> = figures
            .iter()
            .map(|(title, figure, unit)| ((*title).to_owned(), row(figure, *unit)))
            .collect();
        table(text, report, experiment, case, &engines, &rows);
    }
}

fn table(
    text: &mut String,
    report: &Report,
    experiment: &str,
    title: &str,
    engines: &[Name],
    rows: &[(String, Vec<String>)],
) {
    if rows.iter().all(|(_, row)| row.iter().all(String::is_empty)) {
        return;
    }
    let rounds = match report.rounds(experiment) {
        1 => "one round".to_owned(),
        rounds => format!("median of {rounds} rounds"),
    };
    let mut write = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    write(&format!("\n**{experiment}: {title}** ({rounds})\n"));
    let titles: Vec<_> = engines.iter().map(|engine| engine.title()).collect();
    write(&format!("| | {} |", titles.join(" | ")));
    write(&format!("|---{}|", "|---:".repeat(engines.len())));
    for (name, row) in rows
        .iter()
        .filter(|(_, row)| row.iter().any(|it| !it.is_empty()))
    {
        write(&format!("| {name} | {} |", row.join(" | ")));
    }
}

impl Unit {
    fn write(self, summary: Summary) -> String {
        let median = summary.median;
        match self {
            Self::KiloPerSecond => {
                let spread = (summary.most - summary.least) / 2.0 / median * 100.0;
                let mut text =
                    format!("{:.*}", if median < 10_000.0 { 2 } else { 0 }, median / 1e3);
                if spread >= 0.5 {
                    let _ = write!(text, " ±{spread:.0} %");
                }
                text
            }
            Self::Count => format!("{median:.0}"),
            Self::Microseconds if median >= 10_000.0 => format!("{:.0} ms", median / 1e3),
            Self::Microseconds if median >= 100.0 => format!("{median:.0} µs"),
            Self::Microseconds => format!("{median:.1} µs"),
            Self::Factor => format!("{median:.2}"),
            Self::Percent => format!("{:.1} %", median * 100.0),
            Self::Bytes => format!("{median:.0} B"),
            Self::Mebibytes => format!("{:.1}", median / f64::from(1 << 20)),
            Self::Seconds => format!("{median:.2} s"),
        }
    }
}

/// ` (5.1x)`.
fn compared(milena: Option<Summary>, other: Summary, ratio: Ratio) -> String {
    let Some(milena) = milena else {
        return String::new();
    };
    let factor = match ratio {
        Ratio::None => return String::new(),
        Ratio::More => milena.median / other.median,
        Ratio::Less => other.median / milena.median,
    };
    format!(" ({factor:.1}x)")
}
