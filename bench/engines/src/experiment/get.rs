//! Gets: one store of each engine for each size of value, read again and again.

use crate::engine::Failure;
use crate::job::{PageCache, Task};

use super::{GET_COLD, GET_WARM, Lab, case, job, settings};

const FILL_TASKS: u64 = 16;

pub fn get(lab: &mut Lab<'_>) -> Result<(), Failure> {
    for &value in &lab.sizes.values {
        of_size(lab, value)?;
    }
    Ok(())
}

fn of_size(lab: &mut Lab<'_>, value: u64) -> Result<(), Failure> {
    let sizes = lab.sizes;
    let objects = sizes.get_bytes / value;
    for &engine in &sizes.engines {
        let mut settings = settings(engine, lab.empty_dir("get", engine)?);
        settings.paced = true;
        let task = Task::Fill { objects };
        job(settings, value, FILL_TASKS, 0, task).run()?;
    }
    for &cache in &sizes.caches {
        let experiment = match cache {
            PageCache::Warm => GET_WARM,
            PageCache::Cold => GET_COLD,
        };
        for &tasks in &sizes.get_tasks {
            for round in 0..sizes.rounds {
                for &engine in &sizes.engines {
                    let settings = settings(engine, lab.dir("get", engine));
                    let task = Task::Get {
                        objects,
                        seconds: sizes.seconds,
                        cache,
                    };
                    let job = job(settings, value, tasks, round, task);
                    lab.measure(experiment, &case(value, tasks), &job);
                }
            }
        }
    }
    for &engine in &sizes.engines {
        std::fs::remove_dir_all(lab.dir("get", engine))?;
    }
    Ok(())
}
