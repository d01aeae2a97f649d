//! Measures Milena's disk store against RocksDB, fjall and foyer. What, how and why: docs/benchmarks.md.
//!
//! ```text
//!   options ─▶ experiment ─▶ job ─▶ worker (a process for each measurement) ─▶ load ─▶ engine
//!                  └─ figures ─▶ report ─▶ tables, targets
//! ```

mod data;
mod engine;
mod experiment;
mod job;
mod load;
mod machine;
mod options;
mod report;
mod tables;
mod targets;
mod worker;

use std::fs;
use std::path::PathBuf;

use clap::Parser;

use crate::engine::Failure;
use crate::experiment::Lab;
use crate::options::{Arguments, Command, Options};
use crate::report::Report;

type Experiment = fn(&mut Lab<'_>) -> Result<(), Failure>;

fn main() -> Result<(), Failure> {
    match Arguments::parse().command {
        Command::All(options) => measure(
            &options,
            &[
                experiment::put,
                experiment::get,
                experiment::beyond_cap,
                experiment::restart,
                experiment::kills,
            ],
        ),
        Command::Put(options) => measure(&options, &[experiment::put]),
        Command::Get(options) => measure(&options, &[experiment::get]),
        Command::Restart(options) => measure(&options, &[experiment::restart]),
        Command::Kills(options) => measure(&options, &[experiment::kills]),
        Command::BeyondCap(options) => measure(&options, &[experiment::beyond_cap]),
        Command::Tables { files } => print_tables(&files),
        Command::Worker { job } => worker::run(&job),
    }
}

fn measure(options: &Options, experiments: &[Experiment]) -> Result<(), Failure> {
    let sizes = options.sizes();
    fs::create_dir_all(&sizes.dir)?;
    let mut report = Report {
        machine: machine::description(&sizes.dir),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        has_fast_crc: cfg!(not(target_arch = "x86_64")) || cfg!(target_feature = "sse4.2"),
        ..Report::default()
    };
    for experiment in experiments {
        let (sizes, report) = (&sizes, &mut report);
        experiment(&mut Lab { sizes, report })?;
        if let Some(dir) = sizes.json.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&sizes.json, serde_json::to_string_pretty(report)?)?;
    }
    fs::remove_dir_all(&sizes.dir)?;
    println!("{}", tables::all(&report));
    if report.failures.is_empty() {
        return Ok(());
    }
    Err("not every measurement came to its end".into())
}

fn print_tables(files: &[PathBuf]) -> Result<(), Failure> {
    let mut all = Report::default();
    for file in files {
        let report: Report = serde_json::from_str(&fs::read_to_string(file)?)?;
        all.cells.extend(report.cells);
        all.failures.extend(report.failures);
        all.machine = report.machine;
        all.has_fast_crc = report.has_fast_crc;
    }
    println!("{}", tables::all(&all));
    Ok(())
}
