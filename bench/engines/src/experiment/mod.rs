//! The experiments: which jobs, in which order, and what becomes of their figures.
//!
//! Engines take turns within each round. Before each job what the last one left dirty is written out, so that
//! none pays for another.

mod beyond_cap;
mod get;
mod kills;
mod put;
mod restart;

use std::fs;
use std::path::PathBuf;

use crate::engine::{Acknowledge, Failure, Name, Settings};
use crate::job::{Figures, Job, Task};
use crate::machine;
use crate::options::Sizes;
use crate::report::Report;

pub use self::beyond_cap::beyond_cap;
pub use self::get::get;
pub use self::kills::kills;
pub use self::put::put;
pub use self::restart::restart;

/// A cap that no run reaches unless it means to.
const CAP_BYTES: u64 = 16 << 30;

/// The names of experiments in the report.
pub const PUT_OS: &str = "put, acknowledged after the write";
pub const PUT_ALWAYS: &str = "put, acknowledged after fdatasync";
pub const GET_WARM: &str = "get, page cache warm";
pub const GET_COLD: &str = "get, page cache cold";
pub const FILL: &str = "fill";
pub const REOPEN: &str = "reopen";
pub const KILLS: &str = "kills";
pub const BEYOND_CAP: &str = "beyond the cap";

/// What every experiment needs.
pub struct Lab<'a> {
    pub sizes: &'a Sizes,
    pub report: &'a mut Report,
}

impl Lab<'_> {
    /// A directory for one engine's files, empty.
    fn empty_dir(&self, name: &str, engine: Name) -> Result<PathBuf, Failure> {
        let dir = self.dir(name, engine);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn dir(&self, name: &str, engine: Name) -> PathBuf {
        self.sizes.dir.join(format!("{name}-{engine:?}"))
    }

    /// Runs a job and adds what came of it to the report.
    fn measure(&mut self, experiment: &str, case: &str, job: &Job) {
        self.measure_with(experiment, case, job, Job::run);
    }

    /// The same, with the job run in this way. If it fails that is said, and the others go on.
    fn measure_with(
        &mut self,
        experiment: &str,
        case: &str,
        job: &Job,
        run: impl FnOnce(&Job) -> Result<Figures, Failure>,
    ) {
        machine::sync();
        let engine = job.settings.engine;
        match run(job) {
            Ok(figures) => self.add(experiment, case, engine, figures),
            Err(error) => self.failed(experiment, case, engine, &error),
        }
    }

    fn failed(&mut self, experiment: &str, case: &str, engine: Name, error: &Failure) {
        let failure = format!("{experiment}, {case}, {engine:?}: {error}");
        eprintln!("FAILED {failure}");
        self.report.failures.push(failure);
    }

    fn add(&mut self, experiment: &str, case: &str, engine: Name, figures: Figures) {
        let mut line = format!("{experiment} · {case} · {engine:?}:");
        for (name, figure) in &figures {
            line.push_str(&format!(" {name}={}", short(*figure)));
        }
        eprintln!("{line}");
        self.report.add(experiment, case, engine, figures);
    }
}

/// A figure in about four digits.
fn short(figure: f64) -> String {
    let digits = match figure.abs() {
        at_least if at_least >= 1_000.0 => 0,
        at_least if at_least >= 10.0 => 1,
        _ => 4,
    };
    format!("{figure:.digits$}")
}

/// Settings that most experiments share.
fn settings(engine: Name, dir: PathBuf) -> Settings {
    Settings {
        engine,
        dir,
        sync: Acknowledge::Os,
        cap_bytes: CAP_BYTES,
        beyond_cap: false,
        small_files: false,
        paced: false,
    }
}

fn job(settings: Settings, value_bytes: u64, tasks: u64, seed: u64, task: Task) -> Job {
    Job {
        settings,
        value_bytes: usize::try_from(value_bytes).expect("a value fits in memory"),
        tasks,
        seed,
        task,
    }
}

/// `1 KiB, 16 tasks`.
pub fn case(value_bytes: u64, tasks: u64) -> String {
    let size = if value_bytes.is_multiple_of(1 << 10) {
        format!("{} KiB", value_bytes >> 10)
    } else {
        format!("{value_bytes} B")
    };
    let plural = if tasks == 1 { "" } else { "s" };
    format!("{size}, {tasks} task{plural}")
}
