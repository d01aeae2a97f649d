//! Puts: how many a second, what they cost the medium, and whether they are there afterwards.

use std::sync::Arc;

use crate::data::{Key, Random, Values};
use crate::engine::{Acknowledge, Engine, Failure, Settings};
use crate::job::{Pattern, Task};
use crate::load::{self, Plan, Seen, Turn, Work};
use crate::machine;

use super::{Bench, check_none_failed, figures, say};

/// Where the numbers of what is put beforehand begin.
const PREFILL_AT: u64 = 1 << 40;

const FILL_TASKS: u64 = 16;

/// How many of what was put is looked for afterwards.
const LOOKED_FOR: u64 = 2_000;

/// Puts each number's value once, or those of numbers that are there.
pub(super) struct Put {
    pub(super) values: Values,
    pub(super) value_bytes: usize,
    pub(super) first: u64,
    /// Choose among so many, in no order.
    pub(super) among: Option<u64>,
}

impl<E: Engine> Work<E> for Put {
    async fn turn(&self, engine: &E, turn: Turn<'_>) -> Result<Seen, Failure> {
        let number = match self.among {
            Some(among) => turn.random.below(among),
            None => turn.number,
        };
        let number = self.first + number;
        let value = self.values.value(number, self.value_bytes);
        engine.put(Key::of(number), value).await?;
        Ok(Seen::Good)
    }
}

pub(super) fn run<E: Engine>(bench: &Bench) -> Result<(), Failure> {
    let Task::Put {
        pattern,
        seconds,
        operations,
        prefill,
    } = bench.job.task
    else {
        return Err("not a job of puts".into());
    };
    if prefill > 0 {
        fill_before::<E>(bench, prefill)?;
    }
    let engine = bench.open::<E>()?;
    let (first, among) = match pattern {
        Pattern::Overwrite => (PREFILL_AT, Some(prefill)),
        Pattern::New | Pattern::AtCap => (0, None),
    };
    let before = machine::written();
    let work = put(bench, first, among);
    let plan = bench.plan(seconds, operations);
    let measured = load::run(&bench.runtime, &engine, work, plan);
    check_none_failed(&measured)?;
    bench.settle(&*engine)?;
    let usage = machine::usage(&bench.job.settings.dir);
    bench.close(engine)?;
    let written = machine::written();
    let put = measured.total();
    let mut found = figures([
        ("ops_per_s", measured.per_second()),
        (
            "mb_per_s",
            measured.per_second() * bench.job.value_bytes as f64 / 1e6,
        ),
        ("operations", put as f64),
        ("processor_us", measured.processor_per_operation()),
        ("p50_us", measured.latency(0.5)),
        ("p99_us", measured.latency(0.99)),
        ("p999_us", measured.latency(0.999)),
        ("disk_bytes", usage.bytes as f64),
        ("disk_allocated", usage.allocated as f64),
        (
            "disk_per_user_byte",
            usage.allocated as f64 / bench.user_bytes(put),
        ),
    ]);
    found.extend(figures(written.per_byte(before, bench.user_bytes(put))));
    if pattern == Pattern::New {
        let kept = kept::<E>(bench, &measured.operations)?;
        found.insert("kept".to_owned(), kept);
    }
    say(&found)
}

/// Puts what is there beforehand, without waiting for the medium.
fn fill_before<E: Engine>(bench: &Bench, objects: u64) -> Result<(), Failure> {
    let settings = Settings {
        sync: Acknowledge::Os,
        paced: true,
        ..bench.job.settings.clone()
    };
    let engine = Arc::new(bench.runtime.block_on(E::open(&settings))?);
    let plan = Plan {
        tasks: FILL_TASKS,
        ..bench.plan(f64::from(u32::MAX), objects)
    };
    let measured = load::run(&bench.runtime, &engine, put(bench, PREFILL_AT, None), plan);
    check_none_failed(&measured)?;
    bench.settle(&*engine)?;
    bench.close(engine)?;
    machine::sync();
    Ok(())
}

pub(super) fn put(bench: &Bench, first: u64, among: Option<u64>) -> Put {
    Put {
        values: bench.values,
        value_bytes: bench.job.value_bytes,
        first,
        among,
    }
}

/// Which part of what each task put is there when the store is opened again.
fn kept<E: Engine>(bench: &Bench, operations: &[u64]) -> Result<f64, Failure> {
    let engine = bench.open::<E>()?;
    let mut random = Random::new(bench.job.seed);
    let tasks = operations.len() as u64;
    let mut kept = 0;
    let runtime = &bench.runtime;
    for _ in 0..LOOKED_FOR {
        let task = random.below(tasks);
        let turns = operations[usize::try_from(task)?];
        let number = task + tasks * random.below(turns.max(1));
        let is_value = |found: Option<&[u8]>| {
            found.map(|found| bench.values.is_value(number, bench.job.value_bytes, found))
        };
        match runtime.block_on(engine.get(Key::of(number), is_value))? {
            Some(true) => kept += 1,
            Some(false) => return Err("a value was wrong".into()),
            None => {}
        }
    }
    bench.close(engine)?;
    Ok(f64::from(kept) / LOOKED_FOR as f64)
}
