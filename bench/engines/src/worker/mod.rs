//! The process that measures: does one job and prints what it found, in a line of JSON.

mod beyond_cap;
mod fill;
mod get;
mod kill;
pub use self::kill::lines as kill_lines;
mod put;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::{Builder, Runtime};

use crate::data::{KEY_BYTES, Values};
use crate::engine::{Engine, Failure};
use crate::job::{Figures, Job, Task};
use crate::load::{Measured, Plan};
use crate::with_engine;

/// The workers of the runtime that an engine which does not block runs on.
const RUNTIME_WORKERS: usize = 2;

/// An engine that stands still for so long will not go on.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// What every kind of work needs.
struct Bench {
    runtime: Runtime,
    job: Job,
    values: Values,
}

/// Does the job of this line of JSON.
pub fn run(job: &str) -> Result<(), Failure> {
    // What is measured by nobody is not to go on.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    std::thread::spawn(|| {
        std::thread::sleep(TIME_MAX);
        eprintln!("it takes too long");
        std::process::exit(1);
    });
    let job: Job = serde_json::from_str(job)?;
    let name = job.settings.engine;
    let bench = Bench {
        runtime: Builder::new_multi_thread()
            .worker_threads(RUNTIME_WORKERS)
            .enable_all()
            .build()?,
        job,
        values: Values::new(),
    };
    with_engine!(name, run_with(&bench))
}

fn run_with<E: Engine>(bench: &Bench) -> Result<(), Failure> {
    match bench.job.task.clone() {
        Task::Put { .. } => put::run::<E>(bench),
        Task::Fill { objects } => fill::run::<E>(bench, objects),
        Task::FillUntilKilled { objects } => fill::run_until_killed::<E>(bench, objects),
        Task::Get {
            objects,
            seconds,
            cache,
        } => get::run::<E>(bench, objects, seconds, cache),
        Task::Reopen { objects, then } => fill::reopen::<E>(bench, objects, then),
        Task::WriteUntilKilled { keys_per_task } => kill::write::<E>(bench, keys_per_task),
        Task::Check { keys_per_task } => kill::check::<E>(bench, keys_per_task),
        Task::BeyondCap { times } => beyond_cap::run::<E>(bench, times),
    }
}

impl Bench {
    fn open<E: Engine>(&self) -> Result<Arc<E>, Failure> {
        let opening = E::open(&self.job.settings);
        self.runtime.block_on(opening).map(Arc::new)
    }

    fn settle<E: Engine>(&self, engine: &E) -> Result<(), Failure> {
        self.runtime.block_on(engine.settle())
    }

    fn close<E: Engine>(&self, engine: Arc<E>) -> Result<(), Failure> {
        let engine = Arc::try_unwrap(engine).map_err(|_| "a task still has the engine")?;
        self.runtime.block_on(engine.close())
    }

    fn plan(&self, seconds: f64, operations: u64) -> Plan {
        Plan {
            tasks: self.job.tasks,
            seconds,
            operations,
            seed: self.job.seed,
        }
    }

    /// The bytes that a user stores with `objects` objects.
    fn user_bytes(&self, objects: u64) -> f64 {
        objects as f64 * (self.job.value_bytes + KEY_BYTES) as f64
    }
}

/// Prints figures for whoever started this process.
fn say(figures: &Figures) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(figures)?)?;
    Ok(output.flush()?)
}

/// Figures out of names and numbers.
fn figures<const N: usize>(all: [(&str, f64); N]) -> Figures {
    all.into_iter()
        .map(|(name, figure)| (name.to_owned(), figure))
        .collect()
}

/// That nothing failed and nothing was wrong; a benchmark of errors would be fast.
fn check_none_failed(measured: &Measured) -> Result<(), Failure> {
    if let Some(failure) = &measured.failure {
        return Err(format!("{} operations failed: {failure}", measured.failures).into());
    }
    if measured.wrong > 0 {
        return Err(format!("{} values were wrong", measured.wrong).into());
    }
    Ok(())
}
