//! Many objects: what memory they take, and how long a store that holds them takes to open, killed or closed.

use std::thread;
use std::time::Duration;

use crate::data::KEY_BYTES;
use crate::engine::{Failure, Name};
use crate::job::{Figures, Job, Task, Then};

use super::{FILL, Lab, REOPEN, job, settings};

const TASKS: u64 = 16;

/// How long a store is written to before it is killed.
const BEFORE_KILL: Duration = Duration::from_millis(300);

pub fn restart(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let sizes = lab.sizes;
    let case = format!("{} objects of {} B", sizes.objects, sizes.object_bytes);
    for engine in sizes.engines_once() {
        lab.empty_dir("restart", engine)?;
        let task = Task::FillUntilKilled {
            objects: sizes.objects,
        };
        let job = restart_job(lab, engine, 1, task);
        lab.measure_with(FILL, &case, &job, run_and_kill);
    }
    for round in 0..sizes.rounds {
        for engine in sizes.engines_once() {
            let job = reopen(lab, engine, 2 + round, Then::WriteUntilKilled);
            lab.measure_with(REOPEN, "after kill -9", &job, run_and_kill);
        }
    }
    for engine in sizes.engines_once() {
        reopen(lab, engine, 0, Then::Close).run()?;
    }
    for _ in 0..sizes.rounds {
        for engine in sizes.engines_once() {
            let job = reopen(lab, engine, 0, Then::Close);
            lab.measure(REOPEN, "after a close", &job);
        }
    }
    for engine in sizes.engines_once() {
        std::fs::remove_dir_all(lab.dir("restart", engine))?;
    }
    Ok(())
}

fn reopen(lab: &Lab<'_>, engine: Name, seed: u64, then: Then) -> Job {
    let objects = lab.sizes.objects;
    restart_job(lab, engine, seed, Task::Reopen { objects, then })
}

fn restart_job(lab: &Lab<'_>, engine: Name, seed: u64, task: Task) -> Job {
    let mut settings = settings(engine, lab.dir("restart", engine));
    settings.paced = true;
    // Room for engines that round up, and for what is written until the kill.
    settings.cap_bytes = settings
        .cap_bytes
        .max(8 * lab.sizes.objects * lab.sizes.object_bytes);
    let value_bytes = lab.sizes.object_bytes - KEY_BYTES as u64;
    job(settings, value_bytes, TASKS, seed, task)
}

fn run_and_kill(job: &Job) -> Result<Figures, Failure> {
    let mut running = job.start()?;
    let figures = running.figures();
    thread::sleep(BEFORE_KILL);
    running.kill()?;
    figures
}
