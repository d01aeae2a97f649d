//! Four times the cap written through, while this process keeps looking at the files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::Failure;
use crate::job::{Figures, Job, Task};
use crate::machine;

use super::{BEYOND_CAP, Lab, job, settings};

const TASKS: u64 = 16;
const TIMES: u64 = 4;
/// What is dirty is written out so often: a page that is changed again afterwards counts again, as it would in
/// a run so long that the system has to write it out by itself.
const SYNC_EVERY: Duration = Duration::from_millis(500);

const LOOK_EVERY: Duration = Duration::from_millis(3);

pub fn beyond_cap(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let sizes = lab.sizes;
    let Some(&value) = sizes.values.iter().min() else {
        return Ok(());
    };
    let case = format!(
        "{} KiB values, a cap of {} MiB",
        value >> 10,
        sizes.cap >> 20
    );
    for round in 0..sizes.rounds {
        for engine in sizes.engines_once() {
            let dir = lab.empty_dir("cap", engine)?;
            let mut settings = settings(engine, dir.clone());
            settings.cap_bytes = sizes.cap;
            settings.beyond_cap = true;
            settings.paced = true;
            let job = job(
                settings,
                value,
                TASKS,
                round,
                Task::BeyondCap { times: TIMES },
            );
            lab.measure_with(BEYOND_CAP, &case, &job, watched);
            std::fs::remove_dir_all(dir)?;
        }
    }
    Ok(())
}

/// The most that was seen.
#[derive(Default)]
struct Highest {
    looks: u64,
    bytes: u64,
    allocated: u64,
    deleted_but_open: u64,
}

fn watched(job: &Job) -> Result<Figures, Failure> {
    let mut running = job.start()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let (dir, pid) = (job.settings.dir.clone(), running.child.id());
    let looking = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || look(&dir, pid, &is_over))
    };
    let figures = running.figures();
    let ended = running.end();
    is_over.store(true, Ordering::Relaxed);
    let highest = looking.join().map_err(|_| "the watcher has panicked")?;
    let mut figures = figures?;
    ended?;
    for (name, figure) in [
        ("looks", highest.looks),
        ("highest_bytes", highest.bytes),
        ("highest_allocated", highest.allocated),
        ("highest_deleted_but_open", highest.deleted_but_open),
    ] {
        figures.insert(name.to_owned(), figure as f64);
    }
    let part = highest.bytes as f64 / job.settings.cap_bytes as f64;
    figures.insert("highest_part_of_cap".to_owned(), part);
    Ok(figures)
}

fn look(dir: &Path, pid: u32, is_over: &AtomicBool) -> Highest {
    let mut highest = Highest::default();
    let mut synced = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        if let Some(usage) = machine::usage_at_one_moment(dir) {
            highest.looks += 1;
            highest.bytes = highest.bytes.max(usage.bytes);
            highest.allocated = highest.allocated.max(usage.allocated);
        }
        let deleted = machine::deleted_but_open_bytes(pid);
        highest.deleted_but_open = highest.deleted_but_open.max(deleted);
        if synced.elapsed() > SYNC_EVERY {
            machine::sync_file_system(dir);
            synced = Instant::now();
        }
        thread::sleep(LOOK_EVERY);
    }
    highest
}
