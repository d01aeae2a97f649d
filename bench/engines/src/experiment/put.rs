//! Puts: every size with every number of tasks; and overwrites and a full store for the case that matters most.

use crate::engine::{Acknowledge, Failure};
use crate::job::{Pattern, Task};

use super::{Lab, PUT_ALWAYS, PUT_OS, case, job, settings};

/// What is there before overwriting, at most, in bytes of values.
const OVERWRITTEN_BYTES: u64 = 128 << 20;

/// The cap of a store that is full.
const FULL_CAP_BYTES: u64 = 256 << 20;

pub fn put(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let sizes = lab.sizes;
    for &sync in &sizes.syncs {
        for &value in &sizes.values {
            for &tasks in &sizes.put_tasks {
                cell(lab, sync, value, tasks, Pattern::New)?;
            }
        }
        let Some(&value) = sizes.values.iter().min() else {
            continue;
        };
        let tasks = match sync {
            Acknowledge::Os => 16,
            Acknowledge::Always => 64,
        };
        if sizes.put_tasks.contains(&tasks) {
            cell(lab, sync, value, tasks, Pattern::Overwrite)?;
            cell(lab, sync, value, tasks, Pattern::AtCap)?;
        }
    }
    Ok(())
}

fn cell(
    lab: &mut Lab<'_>,
    sync: Acknowledge,
    value: u64,
    tasks: u64,
    pattern: Pattern,
) -> Result<(), Failure> {
    let sizes = lab.sizes;
    let experiment = match sync {
        Acknowledge::Os => PUT_OS,
        Acknowledge::Always => PUT_ALWAYS,
    };
    let mut case = case(value, tasks);
    if pattern != Pattern::New {
        case = format!("{case}, {}", pattern.title());
    }
    for round in 0..sizes.rounds {
        for &engine in &sizes.engines {
            let dir = lab.empty_dir("put", engine)?;
            let mut settings = settings(engine, dir.clone());
            settings.sync = sync;
            let prefill = match pattern {
                Pattern::New => 0,
                Pattern::Overwrite => OVERWRITTEN_BYTES / value,
                Pattern::AtCap => {
                    settings.cap_bytes = FULL_CAP_BYTES;
                    settings.beyond_cap = true;
                    FULL_CAP_BYTES / value * 5 / 4
                }
            };
            let task = Task::Put {
                pattern,
                seconds: sizes.seconds,
                operations: sizes.put_bytes / value,
                prefill,
            };
            lab.measure(experiment, &case, &job(settings, value, tasks, round, task));
            std::fs::remove_dir_all(dir)?;
        }
    }
    Ok(())
}
